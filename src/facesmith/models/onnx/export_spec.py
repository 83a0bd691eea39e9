"""Specification and report of an ONNX export."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Protocol, runtime_checkable

from torch import Tensor, nn

from facesmith.errors import UserError
from facesmith.models.onnx.info import MASK

Precision = Literal["fp32", "fp16"]
# Largest difference to torch that is allowed, in pictures and masks alike; .02 of -1..1 is 2.5 of 255 levels.
TOLERANCES: Final[dict[Precision, float]] = {"fp32": 1e-3, "fp16": 0.02}


class ExportError(UserError):
    """The exported graph is not what the module computes; the run's log has the traceback."""


@dataclass(frozen=True)
class ExportReport:
    """Files written by an export, and their parity with torch.

    Attributes:
        path: The model.
        hash_path: Its hash, None where the client wants none.
        card_path: Its model card.
        bytes: Size of the model.
        parity: Largest absolute difference to torch.
        tolerance: Largest difference that was allowed.
        cases: Number of batches compared.
        covered: Mean of their masks, 0..1; at 0 the model swaps nothing, and parity is hardly tested.
        precision: Of its arithmetic.
        opset: Of the graph.
        batch: "N" where the batch size is free, else "1".
        seconds: How long the export took.
    """

    path: Path
    hash_path: Path | None
    card_path: Path
    bytes: int
    parity: float
    tolerance: float
    cases: int
    covered: float
    precision: Precision
    opset: int
    batch: str
    seconds: float


@dataclass(frozen=True)
class ExportSpec:
    """A module and its inputs for an ONNX export.

    Attributes:
        module: In eval mode.
        inputs: Examples by name, each (1,...), in the order of `module.forward`; the picture first.
        outputs: Names of the outputs.
        metadata: The file's metadata_props: those of `SwapperInfo.metadata`, or any other where `card` is given.
        pictures: Layout of picture inputs: `rgb` (N,3,S,S) -1..1, `bgr` (N,S,S,3) 0..1.
        optional: Examples of inputs that need not be fed, by name, each (1,...): landmarks for a
            module that finds them by itself otherwise (`FindsLandmarks`).
        mask: Name of the output with the mask of changed or visible pixels.
        card: Writes the model card; None for a swapper's.
    """

    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: list[str]
    metadata: dict[str, str]
    pictures: Literal["rgb", "bgr"] = "rgb"
    mask: str = MASK
    optional: dict[str, Tensor] = field(default_factory=dict)
    card: Callable[[ExportReport], str] | None = None

    @property
    def picture(self) -> str:
        """Name of the input that landmarks are found in: the first one."""
        return next(iter(self.inputs))


@runtime_checkable
class Exports(Protocol):
    """A module that can be written as ONNX."""

    def export_spec(self) -> ExportSpec:
        """Return what to export."""
        ...
