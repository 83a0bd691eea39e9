"""What callbacks ask of modules and data: all they know of them besides Lightning's own hooks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.metrics.swap import SwapMetrics
from facesmith.models.onnx.export_spec import ExportReport


@runtime_checkable
class Renders(Protocol):
    """A module that can show what it has learnt."""

    def render(self, batch: dict[str, Tensor]) -> NDArray[np.uint8]:
        """Return one picture (H,W,3) RGB uint8 of what the module makes of a validation batch."""
        ...


@runtime_checkable
class KnowsPerson(Protocol):
    """A module that knows whose face it learns."""

    provenance: dict[str, Any]
    """Among others `identity`, a slug, and `consent`, its kind; empty before training."""


@runtime_checkable
class WritesOnnx(Protocol):
    """A module that may be another model file with other weights, which is not traced."""

    def write_onnx(self, folder: Path) -> ExportReport | None:
        """Write that file into a folder; None when `export_spec` says what to trace."""
        ...


@runtime_checkable
class Profiles(Protocol):
    """A data module that knows whose face it holds."""

    def profile(self) -> IdentityProfile:
        """Return the identity's profile with the last figures of the quality gate."""
        ...


@runtime_checkable
class Previews(Protocol):
    """Data that can show what is trained on."""

    def preview(self) -> NDArray[np.uint8]:
        """Return one picture (H,W,3) RGB uint8, before the first step."""
        ...

    def provenance(self) -> dict[str, Any]:
        """Among others `identity`, a slug, and `consent`, its kind."""
        ...


@runtime_checkable
class Judges(Protocol):
    """Data that hold results against the quality gate."""

    quality: dict[str, SwapMetrics]
    """The last verdicts: `before`, `val`, `val_holdout`."""


@runtime_checkable
class Advises(Protocol):
    """A module that knows what its figures mean and which settings mend them."""

    def advise(self, figures: Mapping[str, float]) -> list[str]:
        """Return a line for each thing that is wrong, the gravest first: figure, limit, cause, key to change."""
        ...


@runtime_checkable
class KeepsLossParts(Protocol):
    """A module whose loss has parts."""

    loss_parts: Mapping[str, Tensor]
    """The parts of the last step's loss, detached, by metric name."""


@runtime_checkable
class DrawsVideos(Protocol):
    """A module that draws videos when it is validated."""

    provenance: dict[str, Any]

    def drawn(self) -> Sequence[tuple[str, NDArray[np.uint8]]]:
        """Return name and frames (T,H,W,3) RGB uint8 of each video drawn since the last time."""
        ...

    def overview(self) -> NDArray[np.uint8]:
        """Return one picture (H,W,3) RGB uint8 of some frames of them."""
        ...


@runtime_checkable
class SavesAdapter(Protocol):
    """A module that learns an adapter to something larger."""

    def save_adapter(self, folder: Path) -> list[Path]:
        """Write the adapter's files and name them."""
        ...


@runtime_checkable
class HasMapper(Protocol):
    """A module whose conditions come through a mapper of their own."""

    mapper: nn.Module
