"""Mapper and transformer as ONNX: python -m facesmith.video_lora.export_onnx model=<run>/exports output=<folder>.

base=<folder> says where the base lies now; transformer=false leaves it out. Each file is held against torch at sizes it
was not traced with, and the largest difference is printed.
"""

import contextlib
import io
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from facesmith.atomic import replacing
from facesmith.errors import UserError
from facesmith.video_lora.adapter import NAME
from facesmith.video_lora.base import open_base
from facesmith.video_lora.generation import put_on
from facesmith.video_lora.networks import FaceMapper
from facesmith.video_lora.person import Person, load_person

_TOLERANCE: Final = 1e-3
_OPSET: Final = 18
_LARGEST: Final = 1.0e9  # bytes of half-precision weights, twice as many as float32


class _Plain(nn.Module):
    """The transformer with its inputs in order."""

    def __init__(self, transformer: Any) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, latents: Tensor, timestep: Tensor, text: Tensor, control: Tensor) -> Tensor:
        """(N,C,F,h,w), (N,), (N,L,W), (N,2C+64,F,h,w) to a velocity (N,C,F,h,w)."""
        found: Tensor = self.transformer(
            hidden_states=latents,
            timestep=timestep,
            encoder_hidden_states=text,
            control_hidden_states=control,
            return_dict=False,
        )[0]
        return found


def export_mapper(mapper: FaceMapper, path: Path) -> float:
    """Write the mapper, `embedding` (N,E) to `tokens` (N,K,W), and give the largest difference to torch."""
    examples = [torch.nn.functional.normalize(torch.randn(count, mapper.embedding_size), dim=1) for count in (2, 5)]
    return _export(
        mapper.eval(),
        [(example,) for example in examples],
        ["embedding"],
        ["tokens"],
        [{0: torch.export.Dim("n")}],
        path,
    )


def export_transformer(person: Person, base_name: str, path: Path) -> float:
    """Write the base's transformer with the person's LoRA merged in, all sizes free, and give the largest difference.

    Raises:
        UserError: the base is too large for one ONNX file, or not what the graph computes.
    """
    base = open_base(base_name)
    size = sum(file.stat().st_size for file in (base.folder / "transformer").glob("*.safetensors"))
    if size > _LARGEST:
        raise UserError(
            f"model.base={base.name}: its transformer has {size / 1e9:.1f} GB, one ONNX file holds 2; "
            "use transformer=false"
        )
    transformer = base.transformer(torch.float32)
    put_on(transformer, person)
    transformer.fuse_lora(adapter_names=[NAME])
    transformer.unload_lora()
    length = int(person.facts["text_length"])

    def example(count: int, frames: int, rows: int, columns: int) -> tuple[Tensor, ...]:
        size = (frames, rows, columns)
        return (
            torch.randn(count, base.channels, *size),
            torch.linspace(900, 100, count),
            torch.randn(count, length, base.text_width),
            torch.randn(count, int(base.transformer_config["vace_in_channels"]), *size),
        )

    auto = torch.export.Dim.AUTO
    free = {0: auto, 2: auto, 3: auto, 4: auto}
    # torch.export takes a size of 1 for a constant, so the example has two of everything
    examples = [example(2, 3, 8, 12), example(1, 2, 6, 4)]
    names = ["latents", "timestep", "text", "control"]
    return _export(_Plain(transformer).eval(), examples, names, ["velocity"], [free, {0: auto}, {0: auto}, free], path)


def _export(
    module: nn.Module,
    examples: Sequence[tuple[Tensor, ...]],
    inputs: list[str],
    outputs: list[str],
    shapes: list[dict[int, Any]],
    path: Path,
) -> float:
    module.requires_grad_(False)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        captured = torch.export.export(module, examples[0], dynamic_shapes=tuple(shapes), strict=False)
        program = torch.onnx.export(
            captured, dynamo=True, input_names=inputs, output_names=outputs, opset_version=_OPSET, verbose=False
        )
    assert program is not None
    with replacing(path) as temporary:
        program.save(str(temporary))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(temporary.read_bytes(), options, providers=["CPUExecutionProvider"])
        worst = 0.0
        for example in examples:
            with torch.no_grad():
                expected = module(*example).numpy()
            feed = {name: value.numpy() for name, value in zip(inputs, example, strict=True)}
            worst = max(worst, float(np.abs(session.run(outputs, feed)[0] - expected).max()))
        if not worst <= _TOLERANCE:
            raise UserError(f"{path}: the graph differs from torch by {worst:.1e}; nothing was written")
    return worst


def main(arguments: list[str]) -> None:
    """Read key=value arguments and export."""
    given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    wrong = sorted(set(given) - {"model", "output", "base", "transformer"})
    if wrong or "model" not in given or "output" not in given:
        raise UserError(
            f"{', '.join(wrong) or 'arguments'}: give model=<exports/> output=<folder>, base=, transformer="
        )
    person, folder = load_person(Path(given["model"])), Path(given["output"])
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{folder / 'mapper.onnx'}: within {export_mapper(person.mapper, folder / 'mapper.onnx'):.1e} of torch")
    if given.get("transformer", "true") == "true":
        path = folder / "transformer.onnx"
        worst = export_transformer(person, given.get("base") or str(person.facts["base"]), path)
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, within {worst:.1e} of torch, all sizes free")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))
