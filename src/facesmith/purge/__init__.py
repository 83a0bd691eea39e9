"""Find and remove everything made from a person's face."""
