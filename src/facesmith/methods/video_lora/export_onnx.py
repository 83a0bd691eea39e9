"""Mapper and transformer as ONNX, each held against torch at sizes it was not traced with."""

import contextlib
import io
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from facesmith.errors import UserError
from facesmith.methods.video_lora.adapter import NAME
from facesmith.methods.video_lora.base import open_base
from facesmith.methods.video_lora.face_attention import SCALE, TOKENS, FaceTransformer
from facesmith.methods.video_lora.generation import put_on
from facesmith.methods.video_lora.memory import free_memory, gigabytes, tell_room
from facesmith.methods.video_lora.needs import counted
from facesmith.methods.video_lora.person import Person

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
    """Give the largest difference between the graph and torch."""
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
