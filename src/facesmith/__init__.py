"""Train models of a consenting person's face, and put them to work."""

__version__ = "0.1.0"
