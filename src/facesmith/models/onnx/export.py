"""What is to be exported, and what came of it."""

import contextlib
import copy
import io
import logging
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, Protocol, runtime_checkable

import onnx
import torch
from torch import Tensor, nn

from facesmith.files import write_bytes, write_text
from facesmith.models.onnx.card import swapper_card
from facesmith.models.onnx.fp16 import halved
from facesmith.models.onnx.info import MASK
from facesmith.models.onnx.parity import parity

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

    inputs: each (1, ...), in the order of `module.forward`. metadata: of `SwapperContract.metadata()`, or any
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


__all__ = ["ExportError", "ExportReport", "ExportSpec", "crc32", "export"]

_NOISY_LOGGERS = ("torch.onnx", "torch.export", "torch.fx", "onnxscript", "onnx_ir", "onnxruntime.transformers")


def export(
    spec: ExportSpec,
    path: Path,
    *,
    opset: int = 18,
    precision: Precision = "fp32",
    tolerance: float | None = None,
    dynamic_batch: bool = True,
    hashed: bool = True,
    card_path: Path | None = None,
) -> ExportReport:
    """Write the graph, its model card (`<stem>.md`) and, if `hashed`, `<stem>.hash`, held against torch first.

    Nothing is written unless the graph is valid and within `tolerance` (of `TOLERANCES` by precision) of torch on
    every test batch. fp16 computes in float16 with float32 inputs and outputs.

    Raises:
        ExportError: the graph differs from the module by more than `tolerance`; says by how much and where.
        UserError: the folder cannot be written, or spec.metadata is no swapper contract.
    """
    started = time.perf_counter()
    card = spec.card or swapper_card(spec.metadata, path)
    tolerance = TOLERANCES[precision] if tolerance is None else tolerance
    # Training may go on with the original, on its device and in its mode.
    module = copy.deepcopy(spec.module).cpu().eval().requires_grad_(False)
    inputs = {name: value.detach().cpu() for name, value in spec.inputs.items()}
    spec = replace(spec, module=module, inputs=inputs)
    model = _trace(spec, opset, dynamic_batch)
    if precision == "fp16":
        model = halved(model)
    # Older clients refuse a newer format than the operators need.
    model.ir_version = onnx.helper.find_min_ir_version_for(model.opset_import)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {**spec.metadata, **_adaptable(module), "precision": precision})
    onnx.checker.check_model(model, full_check=True)
    data = model.SerializeToString(deterministic=True)
    found = parity(spec, data, tolerance, batches=(1, 2, 3) if dynamic_batch else (1,))

    hash_path = path.with_suffix(".hash")
    report = ExportReport(
        path=path,
        hash_path=hash_path if hashed else None,
        card_path=card_path or path.with_suffix(".md"),
        bytes=len(data),
        parity=found.worst,
        tolerance=tolerance,
        cases=found.cases,
        covered=found.covered,
        precision=precision,
        opset=opset,
        batch="N" if dynamic_batch else "1",
        seconds=time.perf_counter() - started,
    )
    # The hash goes last: whoever finds one beside a model finds them matching.
    hash_path.unlink(missing_ok=True)
    write_bytes(path, data)
    write_text(report.card_path, card(report))
    if hashed:
        write_text(hash_path, crc32(data))
    return report


def crc32(data: bytes) -> str:
    """CRC32 as 8 lower-case hex digits without a newline: clients compare the raw text."""
    return format(zlib.crc32(data), "08x")


def _adaptable(module: torch.nn.Module) -> dict[str, str]:
    """What of the network an adapter changes unless told: the file's layers keep their names."""
    found: list[Sequence[str] | None] = [getattr(each, "adaptable", None) for each in module.modules()]
    named = [names for names in found if names]
    return {"adaptable": ",".join(named[0])} if named else {}


def _trace(spec: ExportSpec, opset: int, dynamic_batch: bool) -> onnx.ModelProto:
    inputs, shapes = spec.inputs, None
    if dynamic_batch:
        # torch.export takes a batch of 1 for a constant, so the example needs two.
        inputs = {name: torch.cat([value, value.flip(-1)]) for name, value in inputs.items()}
        batch = torch.export.Dim("batch")
        shapes = tuple({0: batch} for _ in inputs)
    with _quiet(), torch.no_grad():
        # Captured here and not by torch.onnx: where a capture fails, that falls back to others, which fix the
        # batch without a word.
        try:
            captured = torch.export.export(spec.module, tuple(inputs.values()), dynamic_shapes=shapes, strict=False)
        except torch._dynamo.exc.UserError as error:
            raise ExportError(
                f"torch cannot capture the module: {error} (a batch is fixed by len(x); write x.shape[0])"
            ) from error
        program = torch.onnx.export(
            captured,
            dynamo=True,
            input_names=list(inputs),
            output_names=spec.outputs,
            opset_version=opset,
            optimize=True,
            verbose=False,
        )
    if program is None:
        raise ExportError("torch gave no graph")
    model = program.model_proto
    found = next(entry.version for entry in model.opset_import if entry.domain == "")
    if found != opset:
        raise ExportError(f"the graph came out in opset {found}, not {opset}")
    _strip(model.graph)
    for function in model.functions:
        _strip(function)
    return model


def _strip(graph: onnx.GraphProto | onnx.FunctionProto) -> None:
    """Drop stack traces and the like: they hold paths of this machine and a good part of the bytes."""
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _strip(attribute.g)
    if isinstance(graph, onnx.GraphProto):
        for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
            value.doc_string = ""
            del value.metadata_props[:]
        del graph.metadata_props[:]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress notes and deprecation notices off the console; errors still pass."""
    loggers = [logging.getLogger(name) for name in _NOISY_LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
