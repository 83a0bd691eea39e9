"""Settings common to all face-swapper trainings: faces, pairs, and the mix of a batch."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from facesmith.config.settings import Chosen, Component, ModuleConfig, Settings
from facesmith.faces.face_set.config import ExtractionConfig
from facesmith.training.config import Betas, OptimizerConfig

Share = Annotated[float, Field(ge=0)]


class PseudoTruthConfig(Settings):
    """How much pseudo ground truth is made: arguments of `facesmith.faces.pseudo_labels.pseudo_truth.build`."""

    frames: int = Field(ge=1)
    """At most so many of the person's frames, chosen for variety, are paired."""
    donors: int = Field(ge=1, le=16)
    """Targets whose face each of these frames wears in turn."""
    variants: int = Field(ge=0)
    """Re-posed copies of the targets, in all."""


class AugmentConfig(Component):
    """Settings of `Augment`."""

    size: int | None = Field(ge=32)
    """Side in px of the training pictures; None: the data module's."""
    degrees: float = Field(ge=0, le=90)
    """Largest rotation."""
    scale: float = Field(ge=0, lt=1)
    """Largest change of size, natural log."""
    shift: float = Field(ge=0, lt=1)
    """Largest move, in halves of the side."""
    elastic: float = Field(ge=0, lt=1)
    """Standard deviation of a 5x5 field of displacements, in halves of the side."""
    colour: float = Field(ge=0, le=2)
    """Strength of changes of gain, contrast and brightness."""
    grey: float = Field(ge=0, le=1)
    """Probability that a pair loses its colour."""
    relight: float = Field(ge=0, le=1)
    """Strength of a smooth light on target and truth."""
    camera: float = Field(ge=0, le=1)
    """Strength of blur, sharpening and noise on the target alone."""


class SwapDataConfig(ExtractionConfig):
    """Settings of `SwapDataModule`: a person's faces and scenes to put them into."""

    min_faces: int = Field(ge=1)
    """Usable faces of the person below which training is refused."""
    batch_size: int = Field(ge=1)
    """Pairs in a batch, over all processes."""
    shares: dict[Literal["target", "reposed", "reversed", "self"], Share]
    """Weight in a batch of each kind of pair, see `TrainingItems`."""
    workers: int = Field(ge=0)
    """Processes of the loader; 0 loads in the training's own."""
    augment: Chosen[AugmentConfig] | None
    """Random changes of a batch; None for none."""
    validation_faces: int = Field(ge=1)
    """At most so many faces of each role are validated."""
    pseudo_truth: PseudoTruthConfig

    @field_validator("shares")
    @classmethod
    def _require_a_share(cls, shares: dict[str, float]) -> dict[str, float]:
        if not sum(shares.values()) > 0:
            raise ValueError("one share at least must be above 0: nothing would be trained on")
        return shares


class SwapOptimizerConfig(OptimizerConfig):
    """Settings of the optimiser of a swapper."""

    betas: Betas
    """Decay rates of the moments."""


class SwapModuleConfig(ModuleConfig):
    """Settings of `SwapModule`: what every training of a swapper has, whichever network it trains."""

    optimizer: SwapOptimizerConfig
    gradient_checkpointing: bool
    """Compute activations again in the backward pass: less memory, a third more time."""

    def metric_names(self) -> frozenset[str]:
        """Return the figures of the quality gate, and those of held-out frames."""
        from facesmith.metrics.swap_metrics import figure_names

        return figure_names() | {"ssim", "unsteadiness"}
