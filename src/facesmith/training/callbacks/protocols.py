"""Protocols between callbacks and modules or data modules, besides Lightning's own hooks."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from lightning import Trainer
from numpy.typing import NDArray
from torch import Tensor, nn

if TYPE_CHECKING:
    from facesmith.faces.face_set.face_set import FaceSet
    from facesmith.faces.profiles.profile import IdentityProfile
    from facesmith.metrics.swap_metrics import SwapMetrics
    from facesmith.models.onnx.export_spec import ExportReport


def get_datamodule(trainer: Trainer) -> object:
    """Return the trainer's data module, which Lightning sets without declaring it; None when there is none."""
    return getattr(trainer, "datamodule", None)


@runtime_checkable
class Renders(Protocol):
    """A module that can show what it has learnt."""

    def render(self, batch: dict[str, Tensor]) -> NDArray[np.uint8]:
        """Return one image (H,W,3) RGB uint8 of what the module makes of a validation batch."""
        ...


@runtime_checkable
class HasProvenance(Protocol):
    """A module with the provenance of the face it is trained on."""

    provenance: dict[str, Any]
    """Among others `identity`, a slug, and `consent`, its kind; empty before training."""


@runtime_checkable
class WritesOnnx(Protocol):
    """A module that may be another model file with other weights, which is not traced."""

    def write_onnx(self, folder: Path) -> "ExportReport | None":
        """Write that file into a folder; return None when `export_spec` is to be traced instead."""
        ...


@runtime_checkable
class HasProfile(Protocol):
    """A data module with an identity profile."""

    def profile(self) -> "IdentityProfile":
        """Return the identity's profile with the last metrics of the quality gate."""
        ...


@runtime_checkable
class Previews(Protocol):
    """A data module that can show what is trained on."""

    def preview(self) -> NDArray[np.uint8]:
        """Return one image (H,W,3) RGB uint8, before the first step."""
        ...

    def provenance(self) -> dict[str, Any]:
        """Return among others `identity`, a slug, and `consent`, its kind."""
        ...


@runtime_checkable
class HasGateResults(Protocol):
    """A data module that holds the results of the quality gate."""

    quality: "dict[str, SwapMetrics]"
    """The last results: `before`, `val`, `val_holdout`."""


@runtime_checkable
class TimesEvaluation(Protocol):
    """A data module that measures what a validation shows."""

    def time_evaluation(self) -> tuple[float, float]:
        """Try it, and return the seconds it takes at each validation, and how many more at the first."""
        ...


@runtime_checkable
class HasFaceSets(Protocol):
    """A data module that learns from face sets."""

    @property
    def face_sets(self) -> "Sequence[FaceSet]":
        """Return those it learns from, the person's first."""
        ...


@runtime_checkable
class SuggestsCommands(Protocol):
    """A module that knows what one does with it next."""

    def next_commands(self, run: str) -> list[str]:
        """Return command lines, the most likely first.

        Args:
            run: The run's folder, as one would type it.
        """
        ...


@runtime_checkable
class SuggestsFixes(Protocol):
    """A module that knows what its metrics mean and which settings mend them."""

    def suggest_fixes(self, metrics: Mapping[str, float]) -> list[str]:
        """Return a line for each thing that is wrong, the gravest first: metric, limit, cause, key to change."""
        ...


@runtime_checkable
class HasLossParts(Protocol):
    """A module whose loss has parts."""

    loss_parts: Mapping[str, Tensor]
    """The parts of the last step's loss, detached scalars by metric name."""


@runtime_checkable
class HasPhases(Protocol):
    """A module whose loss has terms that come in later."""

    def at_progress(self, progress: float) -> AbstractContextManager[None]:
        """Compute the loss as it is when so much of the training, 0..1, is done."""
        ...


@runtime_checkable
class GeneratesVideos(Protocol):
    """A module that generates videos when it is validated."""

    provenance: dict[str, Any]
    """As of `HasProvenance`."""

    def pop_videos(self) -> Sequence[tuple[str, NDArray[np.uint8]]]:
        """Return name and frames (T,H,W,3) RGB uint8 of each video generated since the last call."""
        ...

    def overview(self) -> NDArray[np.uint8]:
        """Return one image (H,W,3) RGB uint8 of some of their frames."""
        ...


@runtime_checkable
class SavesAdapter(Protocol):
    """A module that learns an adapter to something larger."""

    def save_adapter(self, folder: Path) -> list[Path]:
        """Write the adapter's files and return their paths."""
        ...


@runtime_checkable
class HasMapper(Protocol):
    """A module with a mapper."""

    mapper: nn.Module
    """Maps identity embeddings to conditions."""
