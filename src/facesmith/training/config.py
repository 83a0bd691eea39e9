"""Settings that every training has, whatever it trains."""

from pydantic import Field

from facesmith.config.settings import Settings


class OptimizerConfig(Settings):
    """AdamW with a linear warm-up and a cosine, counted in optimiser steps; a method adds what is its own."""

    lr: float = Field(gt=0)
    """Peak learning rate."""
    weight_decay: float = Field(ge=0)
    """Decoupled weight decay."""
    warmup: float = Field(ge=0, lt=1)
    """Share of all steps in which the learning rate rises from 0."""
    final: float = Field(ge=0, le=1)
    """Learning rate of the last step, as a share of the peak."""
