"""Finding and removing everything that was made of a person's face."""
