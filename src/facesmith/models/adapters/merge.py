"""Merge adapters into the weights of a model: of a network, of an export, of an ONNX file."""

import copy
import time
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeVar

import onnx
import torch
from torch import nn

from facesmith.config.adapters import LoraSettings
from facesmith.errors import UserError
from facesmith.models.adapters.card import AdapterCard
from facesmith.models.adapters.lora import add_lora, base_hash, load_lora_state, merge_lora
from facesmith.models.adapters.spec import AdapterSpec
from facesmith.models.adapters.store import State, load_adapter
from facesmith.models.checkpoint import load_module
from facesmith.models.onnx.card import swapper_card
from facesmith.models.onnx.export import crc32, write_model
from facesmith.models.onnx.export_spec import TOLERANCES, ExportReport, ExportSpec, Precision
from facesmith.models.onnx.info import CONTRACT, DFM_INPUT, MASK
from facesmith.models.onnx.parity import parity
from facesmith.models.onnx.to_torch.module import OnnxModule
from facesmith.models.onnx.to_torch.reading import read
from facesmith.models.onnx.to_torch.write_back import write_back
from facesmith.models.swapper.generator import ExportWrapper

M = TypeVar("M", bound=nn.Module)

_FREE_SIDE: Final = 256  # px, where a file leaves the size of its pictures free

_CARD: Final = """\
# {name}

The face swapper `{base}` of another project, with an adapter for **{identity}** merged into its weights:
{adapter}. It is used as that file is.

> **Synthetic media.** Pictures made with this model are synthetic media; mark them as such wherever they are shown.

Consent: `{consent}`{note}. The licence of `{base}` still applies. CRC32 `{crc}`, {megabytes:.1f} MB.
Parity with torch: largest difference {parity:.1e} over {cases} batches (allowed {tolerance:.0e}).
"""


class MergedFile(NamedTuple):
    """An ONNX model with adapters merged into it, and the torch module whose weights it has."""

    model: onnx.ModelProto
    module: OnnxModule


def load_network(path: Path) -> nn.Module:
    """Load the network that adapters fit, its layers under the names that adapters know.

    Args:
        path: A swapper's checkpoint, .onnx or .dfm.

    Returns:
        The generator of a checkpoint; of a file, its graph as `OnnxGenerator` names the layers.

    Raises:
        UserError: The file is missing or damaged, or holds no swapper.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a model's checkpoint, .onnx or .dfm")
    if path.suffix == ".ckpt":
        module = load_module(path)
        generator = getattr(module, "generator", None)
        if not isinstance(generator, nn.Module):
            raise UserError(f"{path}: holds a {type(module).__name__}, not a swapper; give a swapper's checkpoint")
        return generator
    try:
        model = onnx.load(str(path))
    except Exception as error:  # protobuf's and onnx's errors share no base class
        why = " ".join(str(error).split())[:120]
        raise UserError(f"{path}: is no ONNX file, or a damaged one ({why}); export or download it again") from None
    return nn.ModuleDict({"graph": OnnxModule(read(model), f"model={path}")})


def merge_adapters(generator: M, adapters: AdapterSpec, path: Path) -> M:
    """Merge adapters into a copy of their base.

    Several adapters add up, each times its weight: what peft's `add_weighted_adapter(combination_type="cat")` gives,
    but for convolutions and DoRA as well.

    Args:
        generator: The base; it is not changed.
        adapters: What to merge.
        path: File of the base, for errors.

    Raises:
        UserError: An adapter was trained on another base, or its folder is damaged.
    """
    adapters.require_base(base_hash(generator), path)
    parts = [load_adapter(folder) for folder in adapters.folders]
    if adapters.weights == (1.0,):
        return _merge_one(generator, *parts[0], adapters.scale, adapters.folders[0])
    merged = copy.deepcopy(generator)
    for (state, card), weight, folder in zip(parts, adapters.weights, adapters.folders, strict=True):
        tuned = _merge_one(generator, state, card, adapters.scale, folder)
        with torch.no_grad():
            for target in card.targets:
                total, after, before = (_weight(module, target) for module in (merged, tuned, generator))
                total += weight * (after - before)
    return merged


def _merge_one(generator: M, state: State, card: AdapterCard, scale: float, folder: Path) -> M:
    tuned = copy.deepcopy(generator)
    settings = LoraSettings(
        rank=card.rank,
        alpha=card.alpha,
        dropout=0.0,
        rslora=card.rslora,
        dora=card.dora,
        targets=list(card.targets),
    )
    try:
        add_lora(tuned, settings)
        load_lora_state(tuned, state)
    except UserError as error:
        raise UserError(f"adapter={folder}: does not fit {card.base.path}: {error}") from None
    return merge_lora(tuned, scale)


def _weight(module: nn.Module, name: str) -> torch.Tensor:
    weight = module.get_submodule(name).weight
    assert isinstance(weight, torch.Tensor)
    return weight


def merge_into_export(spec: ExportSpec, adapters: AdapterSpec, path: Path) -> ExportSpec:
    """Return the export of a swapper with adapters merged into its generator.

    Args:
        spec: What the checkpoint's module exports.
        adapters: What to merge.
        path: The checkpoint, for errors.

    Raises:
        UserError: The module exports no swapper, or an adapter was trained on another base.
    """
    if not isinstance(spec.module, ExportWrapper):
        raise UserError(f"adapter={adapters.folders[0]}: {path} holds no swapper; give the adapter's own base")
    generator = merge_adapters(spec.module.generator, adapters, path)
    return replace(spec, module=ExportWrapper(generator).eval(), metadata={**spec.metadata, **adapters.metadata})


def merge_into_file(path: Path, adapters: AdapterSpec) -> MergedFile:
    """Merge adapters into the weights of an ONNX file; everything else of the model stays as it is.

    Raises:
        UserError: An adapter was trained on another base.
    """
    base = load_network(path)
    before, after = (each.get_submodule("graph") for each in (base, merge_adapters(base, adapters, path)))
    assert isinstance(before, OnnxModule)
    assert isinstance(after, OnnxModule)
    return MergedFile(write_back(path, before, after, adapters.metadata), after)


def write_merged(path: Path, adapters: AdapterSpec, output: Path) -> ExportReport:
    """Write an ONNX file with adapters merged into it, its card and, except for a .dfm, its hash.

    A file of facesmith gets the scenes' names in its own; any other keeps its name, by which clients know it, in a
    folder that is named after the scenes.

    Args:
        path: The base, .onnx or .dfm.
        adapters: What to merge.
        output: Folder to write to.

    Raises:
        UserError: An adapter was trained on another base, or the output is the base's own folder.
        ExportError: The graph does not compute what torch does; nothing is written then.
    """
    started = time.perf_counter()
    model, module = merge_into_file(path, adapters)
    onnx.checker.check_model(model)
    data = model.SerializeToString(deterministic=True)
    metadata = {each.key: each.value for each in model.metadata_props}
    half = any(each.data_type == onnx.TensorProto.FLOAT16 for each in model.graph.initializer)
    precision: Precision = "fp16" if half else "fp32"
    spec, fixed_batch = _parity_spec(model, module)
    found = parity(spec, data, TOLERANCES[precision], (1,) if fixed_batch else (1, 2))
    own = metadata.get("contract") == CONTRACT
    target = output / f"{path.stem}_{adapters.slug}{path.suffix}" if own else output / adapters.slug / path.name
    if target.resolve() == path.resolve():
        raise UserError(f"output={output}: contains {path} itself; give another folder")
    hashed = path.suffix != ".dfm"
    report = ExportReport(
        path=target,
        hash_path=target.with_suffix(".hash") if hashed else None,
        card_path=target.with_suffix(".md") if hashed else target.with_name(f"__{target.stem}.md"),
        bytes=len(data),
        parity=found.worst,
        tolerance=TOLERANCES[precision],
        cases=found.cases,
        covered=found.covered,
        precision=precision,
        opset=next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")),
        batch="1" if fixed_batch else "N",
        seconds=time.perf_counter() - started,
    )
    own_card = "contract" in metadata
    card = swapper_card(metadata, target)(report) if own_card else _foreign_card(report, adapters, path, data)
    write_model(report, data, card)
    return report


def _parity_spec(model: onnx.ModelProto, module: OnnxModule) -> tuple[ExportSpec, bool]:
    """Return what to compare, on inputs of the file's own sizes, and whether the batch size is fixed to 1."""
    shapes = {
        value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in model.graph.input
        if value.name in module.inputs
    }
    inputs = {}
    for name in module.inputs:
        sizes = [size or _FREE_SIDE for size in shapes[name][1:]]
        inputs[name] = torch.rand(1, *sizes) if sizes else torch.ones(1)
    outputs = list(module.outputs)
    pictures: Literal["rgb", "bgr"] = "bgr" if DFM_INPUT in module.inputs else "rgb"
    spec = ExportSpec(module, inputs, outputs, {}, pictures, MASK if MASK in outputs else outputs[0])
    return spec, 1 in (sizes[0] for sizes in shapes.values())


def _foreign_card(report: ExportReport, adapters: AdapterSpec, path: Path, data: bytes) -> str:
    """Return the model card of another project's file with adapters merged into it."""
    card = adapters.cards[0]
    return _CARD.format(
        name=report.path.stem,
        base=path.name,
        identity=card.identity,
        adapter=adapters.name,
        consent=card.consent.kind,
        note=f": {card.consent.note}" if card.consent.note else "",
        crc=crc32(data),
        megabytes=report.bytes / 1e6,
        parity=report.parity,
        cases=report.cases,
        tolerance=report.tolerance,
    )
