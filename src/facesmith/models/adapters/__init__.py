"""Small changes to a frozen model: what they are, where they lie, and how they are laid on."""
