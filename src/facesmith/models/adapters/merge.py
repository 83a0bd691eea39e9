"""The network of a base, whatever file it lies in, by the names that adapters know its layers by."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import onnx
import torch
from torch import nn

from facesmith.errors import UserError
from facesmith.files import write_bytes, write_text
from facesmith.models.adapters.spec import Choice, mixed
from facesmith.models.checkpoint import load_module
from facesmith.models.onnx.card import swapper_card
from facesmith.models.onnx.export import TOLERANCES, ExportReport, ExportSpec, Precision, crc32
from facesmith.models.onnx.info import DFM_INPUT
from facesmith.models.onnx.parity import parity
from facesmith.models.onnx.to_torch.merging import written_back
from facesmith.models.onnx.to_torch.module import OnnxModule, read
from facesmith.models.swapper.wrappers import Shown


def base_of(path: Path) -> nn.Module:
    """Return the network of a checkpoint, or of an .onnx or .dfm file as `OnnxBase` names its layers.

    Raises:
        UserError: missing, damaged, or nothing that an adapter fits.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a model's checkpoint, .onnx or .dfm")
    if path.suffix == ".ckpt":
        module: Any = load_module(path)
        generator = getattr(module, "generator", None)
        if not isinstance(generator, nn.Module):
            raise UserError(f"{path}: holds a {type(module).__name__}, not a swapper; give a swapper's checkpoint")
        return generator
    return nn.ModuleDict({"graph": OnnxModule(read(onnx.load(str(path))), f"model={path}")})


def said_of(choice: Choice) -> Mapping[str, str]:
    """Return what a merged file says of its adapters, as ONNX metadata_props."""
    return {"adapter": choice.name, "adapter_base": choice.cards[0].base.sha256}


def adapted(spec: ExportSpec, choice: Choice, path: Path) -> ExportSpec:
    """Return what a checkpoint's module exports, with adapters merged into its generator.

    Raises:
        UserError: it exports no swapper, or an adapter was made for another base.
    """
    if not isinstance(spec.module, Shown):
        raise UserError(f"adapter={choice.folders[0]}: {path} holds no swapper; give the adapter's own base")
    generator = mixed(spec.module.generator, choice, path)
    return replace(spec, module=Shown(generator).eval(), metadata={**spec.metadata, **said_of(choice)})


_SIDE = 256  # px, where a file leaves the size free

_CARD: Final = """\
# {name}

The face swapper `{base}` of another project, with what facesmith learnt of **{identity}** merged into its weights:
{adapter}. It is used as that file is.

> **Synthetic media.** Pictures made with this model are synthetic media; mark them as such wherever they are shown.

Consent: `{consent}`{note}. The licence of `{base}` goes on to hold. CRC32 `{crc}`, {megabytes:.1f} MB.
Parity with torch: largest difference {parity:.1e} over {cases} batches (allowed {tolerance:.0e}).
"""


class Merged(NamedTuple):
    """The model, and the module that it was written from."""

    model: onnx.ModelProto
    module: OnnxModule


def merged_file(path: Path, choice: Choice) -> Merged:
    """Merge adapters into the weights of an ONNX file; everything else of it stays as it is.

    Raises:
        UserError: an adapter was made for another base.
    """
    base = base_of(path)
    before, after = (whole.get_submodule("graph") for whole in (base, mixed(base, choice, path)))
    assert isinstance(before, OnnxModule)
    assert isinstance(after, OnnxModule)
    return Merged(written_back(path, before, after, said_of(choice)), after)


def write_merged(path: Path, choice: Choice, output: Path) -> ExportReport:
    """Write the merged file, its card and, but for a .dfm, its hash, held against torch first.

    A file of facesmith is called by its scenes, any other as it was, in a folder of theirs: clients know it by name.

    Raises:
        UserError: an adapter was made for another base.
        ExportError: the graph is not what torch computes.
    """
    started = time.perf_counter()
    model, module = merged_file(path, choice)
    onnx.checker.check_model(model)
    data = model.SerializeToString(deterministic=True)
    said = {each.key: each.value for each in model.metadata_props}
    half = any(each.data_type == onnx.TensorProto.FLOAT16 for each in model.graph.initializer)
    precision: Precision = "fp16" if half else "fp32"
    spec, fixed = _spec(model, module)
    found = parity(spec, data, TOLERANCES[precision], (1,) if fixed else (1, 2))
    own = said.get("contract") == "facesmith/swapper/1"
    place = output / f"{path.stem}_{choice.slug}{path.suffix}" if own else output / choice.slug / path.name
    hashed = path.suffix != ".dfm"
    report = ExportReport(
        path=place,
        hash_path=place.with_suffix(".hash") if hashed else None,
        card_path=place.with_suffix(".md") if hashed else place.with_name(f"__{place.stem}.md"),
        bytes=len(data),
        parity=found.worst,
        tolerance=TOLERANCES[precision],
        cases=found.cases,
        covered=found.covered,
        precision=precision,
        opset=next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")),
        batch="1" if fixed else "N",
        seconds=time.perf_counter() - started,
    )
    if place.resolve() == path.resolve():
        raise UserError(f"output={output}: is where {path} itself lies; give another folder")
    place.with_suffix(".hash").unlink(missing_ok=True)
    write_bytes(place, data)
    write_text(
        report.card_path, swapper_card(said, place)(report) if "contract" in said else _card(report, choice, path, data)
    )
    if report.hash_path is not None:
        write_text(report.hash_path, crc32(data))
    return report


def _spec(model: onnx.ModelProto, module: OnnxModule) -> tuple[ExportSpec, bool]:
    """What to compare, on inputs of the file's own sizes, and whether its batch is fixed."""
    shapes: Mapping[str, list[int]] = {
        value.name: [step.dim_value or _SIDE for step in value.type.tensor_type.shape.dim]
        for value in model.graph.input
    }
    firsts = [
        value.type.tensor_type.shape.dim[0].dim_value for value in model.graph.input if value.name in module.inputs
    ]
    inputs = {
        name: torch.rand(1, *shapes[name][1:]) if len(shapes[name]) > 1 else torch.ones(1) for name in module.inputs
    }
    outputs = list(module.outputs)
    mask = "mask" if "mask" in outputs else outputs[0]
    pictures = "bgr" if DFM_INPUT in module.inputs else "rgb"
    return ExportSpec(module, inputs, outputs, {}, "bgr" if pictures == "bgr" else "rgb", mask), 1 in firsts


def _card(report: ExportReport, choice: Choice, path: Path, data: bytes) -> str:
    card = choice.cards[0]
    return _CARD.format(
        name=report.path.stem,
        base=path.name,
        identity=card.identity,
        adapter=choice.name,
        consent=card.consent.kind,
        note=f": {card.consent.note}" if card.consent.note else "",
        crc=crc32(data),
        megabytes=report.bytes / 1e6,
        parity=report.parity,
        cases=report.cases,
        tolerance=report.tolerance,
    )
