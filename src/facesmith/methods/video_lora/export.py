"""Exports: LoRAs renamed for other programs, mapper and transformer as ONNX, each compared with torch."""

import contextlib
import io
import logging
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
from facesmith.methods.video_lora.adapter_bundle import AdapterBundle, load_bundle
from facesmith.methods.video_lora.base import open_base
from facesmith.methods.video_lora.comfyui_export import write_comfyui_files
from facesmith.methods.video_lora.generation import load_adapter
from facesmith.methods.video_lora.lora import NAME, check_lora_fits_base, load_lora, save_comfy, save_lora
from facesmith.methods.video_lora.memory_check import check_disk_space, format_bytes, free_memory
from facesmith.methods.video_lora.memory_estimate import count_weights
from facesmith.methods.video_lora.networks import SCALE, TOKENS, FaceTransformer, Tensors

log = logging.getLogger(__name__)

_TOLERANCE: Final = 1e-3
_MOST_INSIDE: Final = 1.5e9  # bytes of weights in the file itself; a protobuf holds 2 GB
_MEMORY: Final = 3.0  # times the weights: torch's, the graph's, and those of the session that checks it
_WRITERS: Final[dict[str, Callable[..., None]]] = {"diffusers": save_lora, "comfyui": save_comfy}
_METADATA: Final = ("identity", "consent", "consent_note", "expires", "encoder", "base", "base_hash", "injection")


def convert_lora(source: Path, to: str, output: Path, base: str | None) -> list[str]:
    """Write a LoRA in the names of diffusers or ComfyUI; for ComfyUI all else it needs of the person, too.

    Args:
        source: A LoRA in either names, the exports/ of a run, or a checkpoint.
        to: `diffusers` or `comfyui`.
        output: Folder.
        base: That it must fit; None: not checked.

    Returns:
        A sentence for each file.

    Raises:
        UserError: it is no LoRA of Wan, or of another base.
    """
    loaded = _load(source)
    tensors, config, facts = loaded if isinstance(loaded, tuple) else (loaded.lora, loaded.lora_config, loaded.facts)
    if base is not None:
        check_lora_fits_base(tensors, facts, open_base(base, "base"), f"ckpt_path={source}")
    name = facts.get("identity") or source.stem
    path = output / f"{name}_{to}.safetensors"
    if path.resolve() == source.resolve():
        raise UserError(f"output={output}: would write over {source}; give another folder")
    _WRITERS[to](path, tensors, config, facts)
    layers = {key.rsplit(".lora_", 1)[0] for key in tensors}
    vace = sum("vace_blocks." in layer for layer in layers)
    alphas = {float(config["lora_alpha"]), *map(float, (config.get("alpha_pattern") or {}).values())}
    stated = ", ".join(f"{value:g}" for value in sorted(alphas))
    lines = [f"{path}: layers: {len(layers)}, {vace} of them in VACE blocks; rank {config['r']}, alpha {stated}"]
    if isinstance(loaded, AdapterBundle):
        if loaded.attention is not None:
            log.warning("%s: has face attention as well, which only facesmith infer task=generate can load", source)
        elif to == "comfyui":
            lines += write_comfyui_files(loaded, output, path.name)
    return lines


def export_graphs(source: Path, to: str, output: Path, base: str | None, opset: int) -> list[str]:
    """Write mapper and transformer as ONNX, or the mapper alone.

    Args:
        source: The exports/ of a run, or a checkpoint.
        to: `onnx`, or `onnx_mapper` for the mapper alone.
        output: Folder.
        base: Where the base is now; None: where it was in training.
        opset: Of ONNX.

    Returns:
        A sentence for each file.

    Raises:
        UserError: the source is neither, or the base is another one or too large for this computer.
    """
    bundle = load_bundle(source)
    written = [export_mapper(bundle, output / "mapper.onnx", opset)]
    if to == "onnx":
        opened = open_base(base or str(bundle.facts["base"]), "base")
        check_lora_fits_base(bundle.lora, bundle.facts, opened, f"ckpt_path={source}")
        written.append(export_transformer(bundle, opened.name, output / "transformer.onnx", opset))
    return [
        f"{one.path}{f' and {one.data.name}' if one.data else ''}: {one.size / 1e6:.1f} MB, within "
        f"{one.difference:.1e} of torch, all sizes free"
        for one in written
    ]


@dataclass(frozen=True)
class ExportedGraph:
    """A graph that was written.

    Attributes:
        path: Of the graph.
        data: Of the weights beside it, where they are too many for one file.
        difference: The largest from torch.
    """

    path: Path
    data: Path | None
    difference: float

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(path.stat().st_size for path in (self.path, self.data) if path is not None)


def export_mapper(bundle: AdapterBundle, path: Path, opset: int) -> ExportedGraph:
    """Write the mapper: `embedding` (N,E) to `tokens` (N,K,W).

    Args:
        bundle: Whose mapper.
        path: File to write.
        opset: Of ONNX.

    Raises:
        UserError: the graph does not compute what torch computes.
    """
    mapper = bundle.mapper
    examples = [nn.functional.normalize(torch.randn(count, mapper.embedding_size), dim=1) for count in (2, 5)]
    graph = _Graph(
        mapper.eval(),
        examples=[(one,) for one in examples],
        inputs=["embedding"],
        outputs=["tokens"],
        dynamic_shapes=({0: torch.export.Dim("n")},),
        metadata=_metadata(bundle),
    )
    return _export(graph, path, opset)


def export_transformer(
    bundle: AdapterBundle, base_name: str, path: Path, opset: int, most_inside: float = _MOST_INSIDE
) -> ExportedGraph:
    """Write the base's transformer with the person's LoRA merged in, all sizes free.

    Args:
        bundle: What was learnt of the person.
        base_name: Of the base.
        path: File to write.
        opset: Of ONNX.
        most_inside: Bytes of weights up to which they lie in the file itself; more lie beside it.

    Raises:
        UserError: memory or disk do not suffice, or the graph does not compute what torch computes.
    """
    base = open_base(base_name, "base")
    weights = 4.0 * count_weights(base, None)[0]
    if weights * _MEMORY > free_memory():
        raise UserError(
            f"to=onnx: the transformer of {base.name} needs about {format_bytes(weights * _MEMORY)} of memory, you "
            f"have {format_bytes(free_memory())}; export on a larger computer, or the mapper alone with to=onnx_mapper"
        )
    check_disk_space(path.parent, weights, "the graph's weights", "output")
    transformer = base.load_transformer(torch.float32, FaceTransformer if bundle.attention is not None else None)
    load_adapter(transformer, bundle)
    transformer.fuse_lora(adapter_names=[NAME])
    transformer.unload_lora()
    length, channels = int(bundle.facts["text_length"]), int(base.transformer_config["vace_in_channels"])

    def example(count: int, frames: int, rows: int, columns: int) -> tuple[Tensor, ...]:
        size = (frames, rows, columns)
        given = (
            torch.randn(count, base.latent_channels, *size),
            torch.linspace(900, 100, count),
            torch.randn(count, length, base.text_width),
            torch.randn(count, channels, *size),
        )
        if bundle.attention is None:
            return given
        return (*given, torch.randn(count, bundle.mapper.tokens, base.text_width), torch.linspace(1, 0.5, count))

    auto = torch.export.Dim.AUTO
    free = {0: auto, 2: auto, 3: auto, 4: auto}
    shapes: list[Any] = [free, {0: auto}, {0: auto}, free]
    inputs = ["latents", "timestep", "text", "control"]
    if bundle.attention is not None:
        shapes.append(({0: auto}, {0: auto}))
        inputs += [TOKENS, SCALE]
    graph = _Graph(
        _PositionalTransformer(transformer).eval(),
        # torch.export takes a size of 1 for a constant, so the example has two of everything
        examples=[example(2, 3, 8, 12), example(1, 2, 6, 4)],
        inputs=inputs,
        outputs=["velocity"],
        dynamic_shapes=tuple(shapes),
        metadata=_metadata(bundle),
    )
    return _export(graph, path, opset, most_inside)


class _PositionalTransformer(nn.Module):
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


@dataclass(frozen=True)
class _Graph:
    """A module to be exported: traced with the first example, compared with torch on all."""

    module: nn.Module
    examples: Sequence[tuple[Tensor, ...]]
    inputs: list[str]
    outputs: list[str]
    dynamic_shapes: tuple[Any, ...]
    metadata: dict[str, str]


def _export(graph: _Graph, path: Path, opset: int, most_inside: float = _MOST_INSIDE) -> ExportedGraph:
    module = graph.module.requires_grad_(False)
    beside = sum(value.numel() * value.element_size() for value in module.parameters()) > most_inside
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        exported = torch.export.export(module, graph.examples[0], dynamic_shapes=graph.dynamic_shapes, strict=False)
        program = torch.onnx.export(
            exported,
            dynamo=True,
            input_names=graph.inputs,
            output_names=graph.outputs,
            opset_version=opset,
            verbose=False,
        )
    assert program is not None
    program.model.metadata_props.update(graph.metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = path.with_name(f"{path.name}.data")
    with TemporaryDirectory(dir=path.parent, prefix=".onnx-") as folder:
        written = Path(folder, path.name)  # a graph names its weights' file: both must keep their names
        program.save(str(written), external_data=beside)
        difference = _compare(graph, written)
        if not difference <= _TOLERANCE:
            raise UserError(f"{path}: the graph differs from torch by {difference:.1e}; nothing was written")
        if beside:
            shutil.move(written.with_name(data.name), data)
        shutil.move(written, path)
    if not beside:
        data.unlink(missing_ok=True)
    return ExportedGraph(path, data if beside else None, difference)


def _compare(graph: _Graph, path: Path) -> float:
    """Return the largest difference between the file and torch."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    worst = 0.0
    for example in graph.examples:
        with torch.no_grad():
            expected = graph.module(*example).numpy()
        feed = {name: value.numpy() for name, value in zip(graph.inputs, example, strict=True)}
        worst = max(worst, float(np.abs(session.run(graph.outputs, feed)[0] - expected).max()))
    return worst


def _metadata(bundle: AdapterBundle) -> dict[str, str]:
    """Return the metadata of a graph: identity, consent and base."""
    return {key: str(bundle.facts[key]) for key in _METADATA if bundle.facts.get(key)}


def _load(source: Path) -> AdapterBundle | tuple[Tensors, dict[str, Any], dict[str, Any]]:
    """Return a bundle, or a LoRA file's tensors in diffusers' names, peft config and facts."""
    if source.suffix in (".safetensors", ".pth", ".pt", ".bin"):
        if not source.is_file():
            raise UserError(
                f"ckpt_path={source}: there is no such file; give a LoRA, an exports/ folder or a checkpoint"
            )
        return load_lora(source)
    return load_bundle(source)
