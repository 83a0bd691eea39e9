"""Mapper and transformer as ONNX, each held against torch at sizes it was not traced with."""

import contextlib
import io
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from facesmith.errors import UserError
from facesmith.methods.video_lora.adapter_bundle import Person, load_person
from facesmith.methods.video_lora.base import Base, open_base
from facesmith.methods.video_lora.generation import put_on
from facesmith.methods.video_lora.lora import NAME, PREFIX, Tensors, load_lora, save_comfy, save_lora
from facesmith.methods.video_lora.memory_check import free_memory, gigabytes, tell_room
from facesmith.methods.video_lora.memory_estimate import counted
from facesmith.methods.video_lora.networks import SCALE, TOKENS, FaceTransformer

_TOLERANCE: Final = 1e-3
_WHOLE: Final = 1.5e9  # bytes of weights in the file itself; a protobuf holds 2 GB
_ROOM: Final = 3.0  # times the weights: torch's, the graph's, and those of the session that checks it


@dataclass(frozen=True)
class Exported:
    """A file that was written. data: the weights beside it, where they are too many for one file."""

    path: Path
    data: Path | None
    difference: float

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(path.stat().st_size for path in (self.path, self.data) if path is not None)


class _Plain(nn.Module):
    """The transformer with its inputs in order."""

    def __init__(self, transformer: Any) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, latents: Tensor, timestep: Tensor, text: Tensor, control: Tensor, *face: Tensor) -> Tensor:
        """(N,C,F,h,w), (N,), (N,L,W), (N,2C+64,F,h,w) to (N,C,F,h,w); decoupled also (N,K,W) tokens, (N,) scales."""
        found: Tensor = self.transformer(
            hidden_states=latents,
            timestep=timestep,
            encoder_hidden_states=text,
            control_hidden_states=control,
            attention_kwargs={TOKENS: face[0], SCALE: face[1]} if face else None,
            return_dict=False,
        )[0]
        return found


def export_mapper(person: Person, path: Path, opset: int) -> Exported:
    """Write the mapper, `embedding` (N,E) to `tokens` (N,K,W)."""
    mapper = person.mapper
    examples = [torch.nn.functional.normalize(torch.randn(count, mapper.embedding_size), dim=1) for count in (2, 5)]
    free = [{0: torch.export.Dim("n")}]
    said = _said(person)
    return _export(mapper.eval(), [(one,) for one in examples], ["embedding"], ["tokens"], free, path, opset, said)


def export_transformer(person: Person, base_name: str, path: Path, opset: int, whole: float = _WHOLE) -> Exported:
    """Write the base's transformer with the person's LoRA merged in, all sizes free.

    whole: bytes of weights up to which they lie in the file itself; more lie beside it.

    Raises:
        UserError: memory or disk do not suffice, or the graph is not what torch computes.
    """
    base = open_base(base_name)
    weights = 4.0 * counted(base, None)[0]
    if weights * _ROOM > free_memory():
        raise UserError(
            f"to=onnx: the transformer of {base.name} needs about {gigabytes(weights * _ROOM)} of memory, you have "
            f"{gigabytes(free_memory())}; export on a larger computer, or the mapper alone with to=onnx_mapper"
        )
    tell_room(path.parent, weights, "the graph's weights", "output")
    transformer = base.transformer(torch.float32, FaceTransformer if person.attention is not None else None)
    put_on(transformer, person)
    transformer.fuse_lora(adapter_names=[NAME])
    transformer.unload_lora()
    length, channels = int(person.facts["text_length"]), int(base.transformer_config["vace_in_channels"])

    def example(count: int, frames: int, rows: int, columns: int) -> tuple[Tensor, ...]:
        size = (frames, rows, columns)
        given = (
            torch.randn(count, base.channels, *size),
            torch.linspace(900, 100, count),
            torch.randn(count, length, base.text_width),
            torch.randn(count, channels, *size),
        )
        if person.attention is None:
            return given
        return (*given, torch.randn(count, person.mapper.tokens, base.text_width), torch.linspace(1, 0.5, count))

    auto = torch.export.Dim.AUTO
    free = {0: auto, 2: auto, 3: auto, 4: auto}
    shapes: list[Any] = [free, {0: auto}, {0: auto}, free]
    names = ["latents", "timestep", "text", "control"]
    if person.attention is not None:
        shapes.append(({0: auto}, {0: auto}))
        names += [TOKENS, SCALE]
    # torch.export takes a size of 1 for a constant, so the example has two of everything
    examples = [example(2, 3, 8, 12), example(1, 2, 6, 4)]
    said = _said(person)
    return _export(_Plain(transformer).eval(), examples, names, ["velocity"], shapes, path, opset, said, whole)


def _said(person: Person) -> dict[str, str]:
    """What a file says of itself: whose face, by whose consent, for which base."""
    known = ("identity", "consent", "consent_note", "expires", "encoder", "base", "base_hash", "injection")
    return {key: str(person.facts[key]) for key in known if person.facts.get(key)}


def _export(
    module: nn.Module,
    examples: Sequence[tuple[Tensor, ...]],
    inputs: list[str],
    outputs: list[str],
    shapes: Sequence[Any],
    path: Path,
    opset: int,
    said: dict[str, str],
    whole: float = _WHOLE,
) -> Exported:
    module.requires_grad_(False)
    beside = sum(value.numel() * value.element_size() for value in module.parameters()) > whole
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        captured = torch.export.export(module, examples[0], dynamic_shapes=tuple(shapes), strict=False)
        program = torch.onnx.export(
            captured, dynamo=True, input_names=inputs, output_names=outputs, opset_version=opset, verbose=False
        )
    assert program is not None
    program.model.metadata_props.update(said)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = path.with_name(f"{path.name}.data")
    with TemporaryDirectory(dir=path.parent, prefix=".onnx-") as folder:
        written = Path(folder, path.name)  # a graph names its weights' file: both must keep their names
        program.save(str(written), external_data=beside)
        worst = _worst(module, examples, inputs, outputs, written)
        if not worst <= _TOLERANCE:
            raise UserError(f"{path}: the graph differs from torch by {worst:.1e}; nothing was written")
        if beside:
            shutil.move(written.with_name(data.name), data)
        shutil.move(written, path)
    if not beside:
        data.unlink(missing_ok=True)
    return Exported(path, data if beside else None, worst)


def _worst(
    module: nn.Module, examples: Sequence[tuple[Tensor, ...]], inputs: list[str], outputs: list[str], path: Path
) -> float:
    """Return the largest difference between the graph and torch."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    worst = 0.0
    for example in examples:
        with torch.no_grad():
            expected = module(*example).numpy()
        feed = {name: value.numpy() for name, value in zip(inputs, example, strict=True)}
        worst = max(worst, float(np.abs(session.run(outputs, feed)[0] - expected).max()))
    return worst


_NAMINGS: Final[dict[str, Callable[..., None]]] = {"diffusers": save_lora, "comfyui": save_comfy}


def convert_lora(source: Path, to: str, output: Path, base: str | None) -> str:
    """Write a LoRA in the naming of diffusers or ComfyUI, and say what was written.

    source: a file of either naming, the exports/ of a run, or a checkpoint. base: what it must fit; None: not checked.

    Raises:
        UserError: it is no LoRA of Wan, or of another base.
    """
    tensors, config, facts = _lora(source)
    if base is not None:
        refuse_other_base(tensors, facts, open_base(base), f"ckpt_path={source}")
    name = facts.get("identity") or source.stem
    path = output / f"{name}_{to}.safetensors"
    if path.resolve() == source.resolve():
        raise UserError(f"output={output}: would write over {source}; give another folder")
    _NAMINGS[to](path, tensors, config, facts)
    layers = {key.rsplit(".lora_", 1)[0] for key in tensors}
    vace = sum("vace_blocks." in layer for layer in layers)
    alphas = ", ".join(f"{value:g}" for value in _alphas(config))
    return f"{path}: {len(layers)} layers, {vace} of them in VACE blocks; rank {config['r']}, alpha {alphas}"


def refuse_other_base(tensors: Tensors, facts: dict[str, Any], base: Base, setting: str) -> None:
    """Make sure that a LoRA belongs to a base: by the base's fingerprint where it is told, and by every layer's size.

    Raises:
        UserError: it does not.
    """
    if facts.get("base_hash", base.fingerprint) != base.fingerprint:
        raise UserError(
            f"{setting}: was trained on {facts['base']} ({facts['base_hash']}), not on {base.name} "
            f"({base.fingerprint}); give that base"
        )
    layers = dict(base.bare_transformer().named_modules())
    for name, value in sorted(tensors.items()):
        layer, half = name.removeprefix(PREFIX).rsplit(".lora_", 1)
        found: Any = layers.get(layer)
        if not isinstance(found, torch.nn.Linear):
            raise UserError(f"{setting}: changes {layer}, which {base.name} does not have; give a LoRA of that base")
        wanted, side = (found.in_features, 1) if half.startswith("A") else (found.out_features, 0)
        if value.shape[side] != wanted:
            raise UserError(
                f"{setting}: is for a base with {value.shape[side]} numbers at {layer}, {base.name} has {wanted}; give "
                "a LoRA of that base"
            )


def export_graphs(source: Path, to: str, output: Path, base: str | None, opset: int) -> list[str]:
    """Write mapper and transformer (to=onnx), or the mapper alone (onnx_mapper), and say what was written.

    source: the exports/ of a run, or a checkpoint. base: where the base lies now; None: where it lay in training.

    Raises:
        UserError: it is neither, or the base is another one or too large for this computer.
    """
    person = load_person(source)
    written = [export_mapper(person, output / "mapper.onnx", opset)]
    if to == "onnx":
        opened = open_base(base or str(person.facts["base"]))
        refuse_other_base(person.lora, person.facts, opened, f"ckpt_path={source}")
        written.append(export_transformer(person, opened.name, output / "transformer.onnx", opset))
    return [
        f"{one.path}{f' and {one.data.name}' if one.data else ''}: {one.size / 1e6:.1f} MB, within "
        f"{one.difference:.1e} of torch, all sizes free"
        for one in written
    ]


def _lora(source: Path) -> tuple[Tensors, dict[str, Any], dict[str, Any]]:
    if source.suffix == ".safetensors":
        if not source.is_file():
            raise UserError(
                f"ckpt_path={source}: there is no such file; give a LoRA, an exports/ folder or a checkpoint"
            )
        return load_lora(source)
    person = load_person(source)
    return person.lora, person.lora_config, person.facts


def _alphas(config: dict[str, Any]) -> list[float]:
    return sorted({float(config["lora_alpha"]), *map(float, (config.get("alpha_pattern") or {}).values())})
