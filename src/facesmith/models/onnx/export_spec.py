"""What is to be exported as ONNX, and what came of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol, runtime_checkable

from torch import Tensor, nn

from facesmith.models.onnx.info import MASK

Precision = Literal["fp32", "fp16"]
# Largest difference to torch that is allowed, in pictures and masks alike; .02 of -1..1 is 2.5 of 255 levels.
TOLERANCES: Final[dict[Precision, float]] = {"fp32": 1e-4, "fp16": 0.02}


class ExportError(Exception):
    """The exported graph is not what the module computes."""


@dataclass(frozen=True)
class ExportReport:
    """What was written and how true it is.

    hash_path: None where the client wants none. parity: largest absolute difference to torch over `cases`
    batches, at most `tolerance`. covered: mean of their masks, 0..1; at 0 the model swaps nothing, not even a
    portrait, and parity says little. batch: "N" when its size is free, else "1".
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
    """What to trace: a module in eval mode, example inputs by name, names of its outputs, metadata_props.

    inputs: each (1, ...), in the order of `module.forward`. metadata: of `SwapperInfo.metadata()`, or any
    other where `card` writes the model card. pictures: `rgb` inputs are (N,3,S,S) in -1..1, `bgr` ones (N,S,S,3)
    in 0..1. mask: the output that says what of the picture is meant.
    """

    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: list[str]
    metadata: dict[str, str]
    pictures: Literal["rgb", "bgr"] = "rgb"
    mask: str = MASK
    card: Callable[[ExportReport], str] | None = None


@runtime_checkable
class Exports(Protocol):
    """A module that can be written as ONNX."""

    def export_spec(self) -> ExportSpec:
        """Say what to trace, with which inputs and outputs, and what the file says of itself."""
        ...
