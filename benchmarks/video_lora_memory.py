"""Memory of video_lora's steps, estimated and measured: python benchmarks/video_lora_memory.py [cells=<words>].

Every line is a cell; `cells="14B, 17 frames"` takes those whose line contains the words. All tensors of a step are
counted as they are made and freed. They are torch's fake tensors, with sizes but no content, so neither a GPU nor the
memory is needed; norms are those of a GPU where the base is in bfloat16. For the small layout a step in float32 is also
taken in a process of its own, whose peak is read, and which gives freed memory back as a training on a CPU does.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import AutoencoderKLWan
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional

from facesmith.methods.video_lora.base import Base
from facesmith.methods.video_lora.block_streaming import stream_blocks
from facesmith.methods.video_lora.lora import without_lora
from facesmith.methods.video_lora.memory_check import process_overhead, return_freed_memory
from facesmith.methods.video_lora.memory_estimate import (
    AdapterSize,
    ClipShape,
    FrozenWeights,
    activation_bytes,
    count_weights,
    sequence_length,
    training_step_bytes,
    vae_bytes,
    weights_bytes,
)
from facesmith.methods.video_lora.quantization import enable_storage_casting
from facesmith.training.run.log import silence_libraries
from facesmith.training.run.record import PeakMemory
from wan_layouts import ADAPTER, TensorMemory, compute, random_inputs, random_transformer, write_base

CPU = torch.device("cpu")
BF16, FP32 = FrozenWeights(torch.bfloat16), FrozenWeights(torch.float32)


@dataclass(frozen=True)
class Way:
    """How a step is taken, or a clip sampled.

    Attributes:
        learns: Whether it is a training step.
        checkpointing: Whether blocks are recomputed in the backward pass.
        offloaded: Whether activations for the backward pass are moved elsewhere.
        frozen: How the base's weights are kept.
        adapter: What is trained.
    """

    learns: bool = True
    checkpointing: bool = True
    offloaded: bool = False
    frozen: FrozenWeights = BF16
    adapter: AdapterSize = ADAPTER


ALL_KEPT: Final = Way(checkpointing=False)
SAMPLING: Final = Way(learns=False, checkpointing=False)
STREAMED: Final = Way(frozen=replace(BF16, streamed=True))
WAYS: Final = {
    "step, checkpointing": Way(),
    "step, streamed": STREAMED,
    "step, all kept": ALL_KEPT,
    "sampling": SAMPLING,
}
SHAPES: Final = {
    "1.3B": (ClipShape(17, 480, 832), ClipShape(65, 480, 832)),
    "14B": (ClipShape(17, 480, 832), ClipShape(33, 480, 832)),
    "small": (ClipShape(9, 256, 256), ClipShape(17, 384, 384)),
}
DETACHED: Final = replace(ADAPTER, pose_gradients=False)
DECOUPLED: Final = replace(ADAPTER, decoupled=True)
BRANCH: Final = replace(ADAPTER, vace_blocks=True)
SETTINGS: Final = {  # of the 1.3B, 17 frames
    "activations offloaded": Way(offloaded=True),
    "pose_branch_gradients=false": Way(adapter=DETACHED),
    "pose_branch_gradients=false, all kept": replace(ALL_KEPT, adapter=DETACHED),
    "decoupled": Way(adapter=DECOUPLED),
    "decoupled, all kept": replace(ALL_KEPT, adapter=DECOUPLED),
    "LoRA on the pose branch": Way(adapter=BRANCH),
    "LoRA on the pose branch, all kept": replace(ALL_KEPT, adapter=BRANCH),
    "rank 8": Way(adapter=replace(ADAPTER, rank=8)),
    "rank 8, all kept": replace(ALL_KEPT, adapter=replace(ADAPTER, rank=8)),
}
FLOAT8: Final = FrozenWeights(torch.float32, "float8")
OFFLOADED: Final = Way(offloaded=True, frozen=STREAMED.frozen)


@contextmanager
def norms_of_a_gpu() -> Iterator[None]:
    """Compute RMS norms by the kernel that GPUs have, which keeps less for the backward pass."""
    own = functional.rms_norm

    def fused(values: torch.Tensor, shape: Any, weight: Any = None, eps: float | None = None) -> torch.Tensor:
        found: torch.Tensor = torch.ops.aten._fused_rms_norm(values, list(shape), weight, eps)[0]
        return found

    functional.rms_norm = fused  # type: ignore[assignment]
    try:
        yield
    finally:
        functional.rms_norm = own


def elsewhere() -> saved_tensors_hooks:
    """Keep what the backward pass needs outside of the memory that is counted."""

    def bring(kept: tuple[torch.Size, torch.dtype]) -> torch.Tensor:
        return torch.empty(kept[0], dtype=kept[1])

    return saved_tensors_hooks(lambda tensor: (tensor.shape, tensor.dtype), bring)


def count(base: Base, shape: ClipShape, way: Way) -> float:
    """Return the bytes of a step, Adam's moments added; in bfloat16 under autocast, as a GPU takes it.

    Like a training step it asks the base for its answer while what the backward pass needs is kept.
    """
    dtype = way.frozen.dtype
    half = dtype == torch.bfloat16
    real = way.frozen.storage == "float8"  # fake weights cannot be cast in place
    with (
        nullcontext() if real else FakeTensorMode(allow_non_fake_inputs=True),
        norms_of_a_gpu() if half else nullcontext(),
    ):
        transformer = random_transformer(base, dtype, CPU, adapter=way.adapter)
        enable_storage_casting(transformer, way.frozen.storage, dtype)
        if way.checkpointing:
            transformer.enable_gradient_checkpointing()
        waiting: list[torch.Tensor] = []
        if way.frozen.streamed:
            waiting = [weight for rows in stream_blocks(transformer)._waiting for weight in rows]
        inputs = random_inputs(base, shape, dtype, CPU, way.adapter)
        given = [tensor for tensor in inputs if tensor is not None]
        present = [*transformer.parameters(), *transformer.buffers(), *given]
        memory = TensorMemory(present, waiting)
        del present
        with memory, torch.autocast("cpu", torch.bfloat16, enabled=half and way.learns):
            with torch.set_grad_enabled(way.learns), elsewhere() if way.offloaded else nullcontext():
                answer = compute(transformer, inputs)
            if way.learns:
                with torch.no_grad(), without_lora(transformer):
                    own = compute(transformer, inputs._replace(face=None))
                loss = (answer.float() - own.float()).square().mean()
                del own
        if way.learns:
            with memory:
                loss.backward()
    trained = sum(weight.numel() for weight in transformer.parameters() if weight.requires_grad)
    return float(memory.peak + (8 * trained if way.learns else 0))


def count_vae(base: Base, shape: ClipShape, what: str) -> float:
    """Return the bytes of the VAE's work on a clip in float32, without its weights."""
    with FakeTensorMode(), torch.no_grad():
        vae: Any = AutoencoderKLWan(**{key: value for key, value in base.vae_config.items() if key[0] != "_"})
        memory = TensorMemory(elsewhere=[*vae.parameters(), *vae.buffers()])
        with memory:
            if what == "encode":
                vae.encode(torch.zeros(1, 3, shape.frames, shape.height, shape.width)).latent_dist.mode()
            else:
                vae.decode(torch.zeros(1, 16, (shape.frames - 1) // 4 + 1, shape.height // 8, shape.width // 8))
    return float(memory.peak)


def take(base: Base, shape: ClipShape, way: Way) -> float:
    """Return the bytes that a step in float32 adds to this process at its peak."""
    before = resident()
    peak = PeakMemory()
    transformer = random_transformer(base, torch.float32, CPU)
    trained = [parameter for parameter in transformer.parameters() if parameter.requires_grad]
    if way.learns:
        optimizer = torch.optim.AdamW(trained, 1e-4)
        for parameter in trained:
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()  # its moments are there from the second step on
        optimizer.zero_grad()
    if way.checkpointing:
        transformer.enable_gradient_checkpointing()
    inputs = random_inputs(base, shape, torch.float32, CPU)
    with torch.set_grad_enabled(way.learns):
        answer = compute(transformer, inputs)
    if way.learns:
        with torch.no_grad(), without_lora(transformer):
            own = compute(transformer, inputs)
        (answer - own).square().mean().backward()
        optimizer.step()
    return peak.megabytes()[0] * 2**20 - before


def resident() -> float:
    """Return the bytes that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def take_alone(base: Base, shape: ClipShape, way: Way, *, allocator: Callable[[], None] = return_freed_memory) -> float:
    """Take the step in a process of its own, in which a tiny one has loaded what libraries load when first used."""
    reader, writer = os.pipe()
    if not (child := os.fork()):
        allocator()
        with tempfile.TemporaryDirectory() as folder:
            take(write_base(Path(folder) / "toy", "toy"), ClipShape(5, 32, 32), way)
        os.write(writer, json.dumps(take(base, shape, way)).encode())
        os._exit(0)
    os.close(writer)
    found = json.loads(os.read(reader, 1024))
    os.waitpid(child, 0)
    return float(found)


def estimate(base: Base, shape: ClipShape, way: Way) -> float:
    """Return what facesmith says that it takes."""
    if not way.learns:
        lora = 4.0 * count_weights(base, way.adapter)[1]
        return weights_bytes(base, way.frozen) + lora + activation_bytes(base, shape, way.frozen)
    return training_step_bytes(
        base,
        shape,
        way.adapter,
        way.frozen,
        checkpointing=way.checkpointing,
        offloaded=way.offloaded,
        optimizer="adamw",
    )


Cell = tuple[str, Base, ClipShape, Callable[[], float], Callable[[], float]]


def list_cells(folder: Path) -> Iterator[Cell]:
    """Yield what each cell is, and how it is estimated and measured; processes first: none forks after autograd ran."""
    bases = {layout: write_base(folder / layout, layout) for layout in SHAPES}
    small, true = bases["small"], bases["1.3B"]

    def cell(base: Base, shape: ClipShape, name: str, way: Way) -> Cell:
        return name, base, shape, lambda: estimate(base, shape, way), lambda: count(base, shape, way)

    def alone(shape: ClipShape, name: str, way: Way, allocator: Callable[[], None]) -> Cell:
        def said() -> float:
            return estimate(small, shape, way) + process_overhead(small, shape)

        return name, small, shape, said, lambda: take_alone(small, shape, way, allocator=allocator)

    plain = {name: way for name, way in WAYS.items() if way is not STREAMED}
    for shape in SHAPES["small"]:
        for name, way in plain.items():
            way = replace(way, frozen=FP32)
            yield alone(shape, f"{name}, a process in float32", way, return_freed_memory)
    for layout, shapes in SHAPES.items():
        for shape in shapes:
            for name, way in WAYS.items():
                yield cell(bases[layout], shape, name, way)
    for shape, base in [*((shape, small) for shape in SHAPES["small"]), (SHAPES["1.3B"][0], true)]:
        for name, way in plain.items():
            yield cell(base, shape, f"{name}, float32", replace(way, frozen=FP32))
    shape = SHAPES["1.3B"][0]
    for name, way in SETTINGS.items():
        yield cell(true, shape, name, way)
    for name, changed in {"3 photos": {"photos": 3}, "batch of 2": {"batch": 2}}.items():
        for kind, way in plain.items():
            yield cell(true, replace(shape, **changed), f"{name}, {kind}", way)
    yield cell(true, replace(shape, batch=3), "validation videos at 3 face scales", SAMPLING)
    yield cell(bases["14B"], SHAPES["14B"][1], "streamed, activations offloaded", OFFLOADED)
    for name, way in {**plain, "step, streamed": STREAMED, "step, streamed, activations offloaded": OFFLOADED}.items():
        frozen = replace(FLOAT8, streamed=way.frozen.streamed)
        yield cell(small, SHAPES["small"][0], f"{name}, float8 over float32", replace(way, frozen=frozen))
    for what in ("encode", "decode"):
        for clip in SHAPES["1.3B"]:
            yield (
                f"the VAE, {what}",
                true,
                clip,
                lambda clip=clip, what=what: vae_bytes(true, clip, what),
                lambda clip=clip, what=what: count_vae(true, clip, what),
            )


def main() -> None:
    silence_libraries()
    torch.set_num_threads(1)
    wanted = next((part.removeprefix("cells=") for part in sys.argv[1:] if part.startswith("cells=")), "")
    with tempfile.TemporaryDirectory() as folder:
        cells = [(describe(cell), cell) for cell in list_cells(Path(folder))]
        chosen = [(line, cell) for line, cell in cells if wanted in line]
        if not chosen:
            sys.exit(f"cells={wanted}: there is no such cell; they are:\n" + "\n".join(line for line, _ in cells))
        for number, (line, (_, _, _, said, measured)) in enumerate(chosen, 1):
            told, found = said(), measured()
            print(
                f"{number} of {len(chosen)}: {line}: estimate / measured {told / found:.2f} "
                f"({told / 1e9:.2f} and {found / 1e9:.2f} GB)",
                flush=True,
            )


def describe(cell: Cell) -> str:
    """Return a cell's layout, clip and way."""
    name, base, shape, *_ = cell
    return f"{base.name}, {shape.frames} frames ({sequence_length(base, shape)} tokens), {name}"


if __name__ == "__main__":
    main()
