"""Settings that every training has, whatever it trains."""

from typing import Annotated

from pydantic import Field

from facesmith.config.settings import Component, Settings

Betas = Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=2, max_length=2)]
"""Decay rates of AdamW's moments."""


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


class FullyShardedStrategyConfig(Component):
    """Settings of `FullyShardedStrategy`: none."""
