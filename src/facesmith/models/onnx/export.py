"""Write a module as ONNX: trace it, compare it with torch, and put model card and hash beside it."""

import contextlib
import copy
import io
import logging
import time
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import onnx
import torch

from facesmith.files import write_bytes, write_text
from facesmith.models.onnx.card import swapper_card
from facesmith.models.onnx.export_spec import TOLERANCES, ExportError, ExportReport, ExportSpec, Precision
from facesmith.models.onnx.fp16 import store_exact_halves, to_fp16
from facesmith.models.onnx.info import LANDMARKS
from facesmith.models.onnx.landmark_input import PRESENCE, LandmarkFinder, make_optional
from facesmith.models.onnx.parity import parity
from facesmith.models.onnx.trace_cache import load_or_translate

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
    """Write a module as ONNX, with its model card and hash.

    Nothing is written unless the graph is valid and agrees with torch on every test batch.

    Args:
        spec: What to export; the module is not changed.
        path: The model's file.
        opset: Of the graph.
        precision: fp16 computes in float16, with float32 inputs and outputs.
        tolerance: Largest difference to torch that is allowed; None for that of `TOLERANCES`.
        dynamic_batch: Whether the batch size is free; else it is 1.
        hashed: Whether to write `<stem>.hash`.
        card_path: The model card; None for `<stem>.md`.

    Raises:
        ExportError: The graph differs from the module; the error states by how much and where.
        UserError: The folder cannot be written, or the metadata are no contract of a swapper.
    """
    started = time.perf_counter()
    card = spec.card or swapper_card(spec.metadata, path)
    tolerance = TOLERANCES[precision] if tolerance is None else tolerance
    # Training may continue with the original, on its device and in its mode.
    module = copy.deepcopy(spec.module).cpu().eval().requires_grad_(False)
    inputs = {name: value.detach().cpu() for name, value in spec.inputs.items()}
    spec = replace(spec, module=module, inputs=inputs)
    model = _trace_spec(spec, opset, dynamic_batch)
    if precision == "fp16":
        model = to_fp16(model)
    # Older clients refuse a newer format than the operators need.
    model.ir_version = onnx.helper.find_min_ir_version_for(model.opset_import)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {**spec.metadata, **_adaptable(module), "precision": precision})
    onnx.checker.check_model(model, full_check=True)
    data = model.SerializeToString(deterministic=True)
    found = parity(spec, data, tolerance, batches=(1, 2, 3) if dynamic_batch else (1,))

    report = ExportReport(
        path=path,
        hash_path=path.with_suffix(".hash") if hashed else None,
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
    write_model(report, data, card(report))
    return report


def write_model(report: ExportReport, data: bytes, card: str) -> None:
    """Write an ONNX model, its card and its hash to the paths of a report.

    Args:
        report: Where to write; no hash is written where `hash_path` is None, and an older one is removed.
        data: The serialised model.
        card: The model card, Markdown.

    Raises:
        UserError: The folder cannot be written.
    """
    # The hash is written last: a hash beside a model always matches it.
    report.path.with_suffix(".hash").unlink(missing_ok=True)
    write_bytes(report.path, data)
    write_text(report.card_path, card)
    if report.hash_path is not None:
        write_text(report.hash_path, crc32(data))


def crc32(data: bytes) -> str:
    """Return the CRC32 as 8 lower-case hex digits without a newline: clients compare the raw text."""
    return format(zlib.crc32(data), "08x")


def _adaptable(module: torch.nn.Module) -> dict[str, str]:
    """Return the metadata that name the layers an adapter changes by default: layers keep their names in the file."""
    found: list[Sequence[str] | None] = [getattr(each, "adaptable", None) for each in module.modules()]
    named = [names for names in found if names]
    return {"adaptable": ",".join(named[0])} if named else {}


def _trace_spec(spec: ExportSpec, opset: int, dynamic_batch: bool) -> onnx.ModelProto:
    if not spec.optional:
        return _trace(spec.module, spec.inputs, {}, spec.outputs, opset, dynamic_batch)
    presence = torch.ones(1)
    fed = {**spec.optional, PRESENCE: presence}
    swapper = _trace(spec.module, spec.inputs, fed, spec.outputs, opset, dynamic_batch)
    picture = spec.picture
    target = {picture: spec.inputs[picture]}
    finder = _trace(LandmarkFinder(spec.module), target, {}, [LANDMARKS, PRESENCE], opset, dynamic_batch, keep=True)
    return make_optional(swapper, finder, picture)


def _trace(
    module: torch.nn.Module,
    positional: dict[str, torch.Tensor],
    by_name: dict[str, torch.Tensor],
    outputs: list[str],
    opset: int,
    dynamic_batch: bool,
    keep: bool = False,
) -> onnx.ModelProto:
    """Trace a module.

    Args:
        module: What to trace.
        positional: Examples (1,...) of its first inputs, in order.
        by_name: Examples of inputs that are passed by their name.
        outputs: Names of the outputs.
        opset: Of the graph.
        dynamic_batch: Whether the batch size is free; else it is 1.
        keep: Whether to keep the graph for later exports; not where it holds a person's data.
    """
    inputs, shapes = {**positional, **by_name}, None
    if dynamic_batch:
        # torch.export takes a batch of 1 for a constant, so the example needs two.
        inputs = {name: torch.cat([value, value.flip(-1)]) for name, value in inputs.items()}
        batch = {0: torch.export.Dim("batch")}
        shapes = tuple(batch for _ in inputs)
    with _quiet(), torch.no_grad():
        # Captured here and not by torch.onnx: where a capture fails, that falls back to others, which fix the
        # batch without a word.
        try:
            captured = torch.export.export(
                module,
                tuple(inputs[name] for name in positional),
                {name: inputs[name] for name in by_name},
                dynamic_shapes=shapes,
                strict=False,
            )
        except torch._dynamo.exc.UserError as error:
            raise ExportError(
                f"torch cannot capture the module: {error} (a batch is fixed by len(x); write x.shape[0])"
            ) from error

        def translate() -> onnx.ModelProto:
            program = torch.onnx.export(
                captured,
                dynamo=True,
                input_names=list(inputs),
                output_names=outputs,
                opset_version=opset,
                optimize=True,
                verbose=False,
            )
            if program is None:
                raise ExportError("torch returned no graph")
            made: onnx.ModelProto = program.model_proto
            _strip_model(made)
            return made

        model = load_or_translate(captured, f"{list(inputs)} {outputs} {opset}", translate) if keep else translate()
    found = next(entry.version for entry in model.opset_import if entry.domain == "")
    if found != opset:
        raise ExportError(f"the graph came out in opset {found}, not {opset}")
    store_exact_halves(model.graph)
    return model


def _strip_model(model: onnx.ModelProto) -> None:
    _strip(model.graph)
    for function in model.functions:
        _strip(function)


def _strip(graph: onnx.GraphProto | onnx.FunctionProto) -> None:
    """Remove stack traces and the like: they hold paths of this machine and a good part of the bytes."""
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
