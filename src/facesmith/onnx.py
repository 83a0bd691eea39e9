"""Turn a trained module into an ONNX file that is proven to compute the same."""

import contextlib
import copy
import io
import logging
import time
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from skimage import data as pictures
from torch import Tensor, nn

import facesmith
from facesmith.atomic import write_bytes, write_text
from facesmith.model_card import model_card
from facesmith.swapper_contract import MASK, SwapperContract

_NOISY_LOGGERS = ("torch.onnx", "torch.export", "torch.fx", "onnxscript", "onnx_ir")


class ExportError(Exception):
    """The exported graph is not what the module computes."""


@dataclass(frozen=True)
class ExportSpec:
    """What to trace: a module in eval mode, example inputs by name, names of its outputs, metadata_props.

    inputs: each (1, ...), in the order of `module.forward`. metadata: of `SwapperContract.metadata()`.
    """

    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: list[str]
    metadata: dict[str, str]


@dataclass(frozen=True)
class ExportReport:
    """What was written and how true it is.

    parity: largest absolute difference to torch over `cases` batches. covered: mean of their masks, 0..1; at
    0 the model swaps nothing, not even a portrait, and parity says little. batch: "N" when its size is free,
    else "1".
    """

    path: Path
    hash_path: Path
    card_path: Path
    bytes: int
    parity: float
    cases: int
    covered: float
    opset: int
    batch: str
    seconds: float


def export(
    spec: ExportSpec, path: Path, *, opset: int = 18, tolerance: float = 1e-4, dynamic_batch: bool = True
) -> ExportReport:
    """Write `path` (.onnx), `<stem>.hash` and `<stem>.md`, after holding the graph against torch.

    Nothing is written unless the graph is valid and within `tolerance` of torch on every test batch.

    Raises:
        ExportError: the graph differs from the module by more than `tolerance`; says by how much and where.
        UserError: the folder cannot be written, or spec.metadata is no swapper contract.
    """
    started = time.perf_counter()
    contract = SwapperContract.read(spec.metadata, path)
    # Training may go on with the original, on its device and in its mode.
    module = copy.deepcopy(spec.module).cpu().eval().requires_grad_(False)
    inputs = {name: value.detach().cpu() for name, value in spec.inputs.items()}
    spec = replace(spec, module=module, inputs=inputs)
    model = _trace(spec, opset, dynamic_batch)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, spec.metadata)
    onnx.checker.check_model(model, full_check=True)
    data = model.SerializeToString(deterministic=True)
    parity, cases, covered = _parity(spec, data, tolerance, batches=(1, 2, 3) if dynamic_batch else (1,))

    hash_path, card_path = path.with_suffix(".hash"), path.with_suffix(".md")
    batch = "N" if dynamic_batch else "1"
    card = model_card(
        path,
        contract,
        version=facesmith.__version__,
        notice=spec.metadata["notice"],
        opset=opset,
        batch=batch,
        parity=parity,
        cases=cases,
        tolerance=tolerance,
        size_bytes=len(data),
        hash_name=hash_path.name,
    )
    # The hash goes last: whoever finds one beside a model finds them matching.
    hash_path.unlink(missing_ok=True)
    write_bytes(path, data)
    write_text(card_path, card)
    write_text(hash_path, crc32(data))
    return ExportReport(
        path,
        hash_path,
        card_path,
        len(data),
        parity,
        cases,
        covered,
        opset,
        batch,
        time.perf_counter() - started,
    )


def crc32(data: bytes) -> str:
    """CRC32 as 8 lower-case hex digits without a newline: clients compare the raw text."""
    return format(zlib.crc32(data), "08x")


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


def _parity(spec: ExportSpec, data: bytes, tolerance: float, batches: tuple[int, ...]) -> tuple[float, int, float]:
    """Largest difference to torch over pictures real and unreal; ExportError when above `tolerance`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    worst, cases, covered = 0.0, 0, 0.0
    for batch in batches:
        for kind, feed in _feeds(spec.inputs, batch):
            with torch.no_grad():
                expected = spec.module(*feed.values())
            given = session.run(spec.outputs, {name: value.numpy() for name, value in feed.items()})
            for name, ours, theirs in zip(spec.outputs, given, expected, strict=True):
                difference = float(np.abs(ours - theirs.numpy()).max())
                if not difference <= tolerance:
                    raise ExportError(
                        f"output {name!r} of the graph differs from torch by {difference:.1e} "
                        f"(allowed {tolerance:.0e}) on {batch} x {kind}"
                    )
                worst = max(worst, difference)
            covered += float(given[spec.outputs.index(MASK)].mean())
            cases += 1
    return worst, cases, covered / cases


def _feeds(examples: dict[str, Tensor], batch: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Inputs to compare on: the examples, a portrait under several lights, a soft gradient, noise."""
    generator = torch.Generator().manual_seed(batch)
    kinds = ("the example", "a portrait", "a gradient", "noise")
    for kind in kinds:
        feed = {}
        for name, example in examples.items():
            shape = (batch, *example.shape[1:])
            if kind == "the example":
                value = example.expand(shape)
            elif len(shape) != 4:
                value = torch.nn.functional.normalize(torch.randn(shape, generator=generator), dim=-1)
            elif kind == "a portrait":
                light = torch.rand((batch, 1, 1, 1), generator=generator) * 0.8 + 0.2
                value = (_portrait(shape[-1]) + 1) * light - 1
            elif kind == "a gradient":
                coarse = torch.rand((batch, shape[1], 4, 4), generator=generator) * 2 - 1
                value = torch.nn.functional.interpolate(coarse, size=shape[-2:], mode="bilinear")
            else:
                value = torch.rand(shape, generator=generator) * 2 - 1
            feed[name] = value.contiguous()
        yield kind, feed


def _portrait(size: int) -> Tensor:
    """A real face (1,3,S,S) in -1..1: the public-domain portrait that comes with scikit-image."""
    pixels: np.ndarray = pictures.astronaut()  # type: ignore[no-untyped-call]
    face = torch.from_numpy(pixels[0:240, 100:340].copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    return torch.nn.functional.interpolate(face, size=(size, size), mode="bilinear", antialias=True)


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
