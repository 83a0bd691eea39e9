"""The tiny sweeps as a fixture."""

from .tiny_sweeps import sweep

__all__ = ["sweep"]
