"""Memory of video_lora's steps, estimated and measured: python benchmarks/video_lora_memory.py [layouts].

For Wan's true layouts all tensors of a step are counted as they are made and freed. They are torch's fake tensors, with
sizes but no content, so neither a GPU nor the memory is needed; norms are those of a GPU. For the small layout a
step is also taken in a process of its own, whose peak is read; the C library's allocator is told to give freed memory
back at once, or its fragments would count for twice the activations.
"""

import ctypes
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from facesmith.methods.video_lora.base import Base
from facesmith.methods.video_lora.block_streaming import stream_blocks
from facesmith.methods.video_lora.memory_estimate import (
    ClipShape,
    FrozenWeights,
    activation_bytes,
    count_weights,
    sequence_length,
    training_step_bytes,
    weights_bytes,
)
from facesmith.training.run.log import silence_libraries
from facesmith.training.run.record import PeakMemory
from wan_layouts import ADAPTER, TensorMemory, compute, random_inputs, random_transformer, write_base

CASES = {  # layout: shapes
    "1.3B": (ClipShape(17, 480, 832), ClipShape(65, 480, 832)),
    "14B": (ClipShape(17, 480, 832), ClipShape(33, 480, 832)),
    "small": (ClipShape(9, 256, 256), ClipShape(17, 384, 384)),
}
WAYS = {
    "step, checkpointing": {"checkpointing": True, "learns": True},
    "step, all kept": {"checkpointing": False, "learns": True},
    "answer": {"checkpointing": False, "learns": False},
}
CPU = torch.device("cpu")
M_MMAP_THRESHOLD = -3


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


def count(base: Base, shape: ClipShape, *, checkpointing: bool, learns: bool, streamed: bool = False) -> float:
    """Return the bytes of a step in bfloat16 under autocast, as a GPU takes it; Adam's moments are added."""
    with FakeTensorMode(allow_non_fake_inputs=True), norms_of_a_gpu():
        transformer = random_transformer(base, torch.bfloat16, CPU)
        if checkpointing:
            transformer.enable_gradient_checkpointing()
        waiting = [weight for rows in stream_blocks(transformer)._waiting for weight in rows] if streamed else []
        inputs = random_inputs(base, shape, torch.bfloat16, CPU)
        present = [*transformer.parameters(), *transformer.buffers()]
        memory = TensorMemory([*present, *waiting])
        with memory:
            with torch.autocast("cpu", torch.bfloat16, enabled=learns), torch.set_grad_enabled(learns):
                answer = compute(transformer, inputs)
                loss = answer.float().square().mean()
            if learns:
                loss.backward()
    trained = sum(weight.numel() for weight in transformer.parameters() if weight.requires_grad)
    return sum(tensor.nbytes for tensor in present) + memory.peak + (8 * trained if learns else 0)


def take(base: Base, shape: ClipShape, *, checkpointing: bool, learns: bool) -> float:
    """Return the bytes that a step in float32 adds to this process at its peak."""
    before = resident()
    peak = PeakMemory()
    transformer = random_transformer(base, torch.float32, CPU)
    trained = [parameter for parameter in transformer.parameters() if parameter.requires_grad]
    if learns:
        optimizer = torch.optim.AdamW(trained, 1e-4)
        for parameter in trained:
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()  # its moments are there from the second step on
        optimizer.zero_grad()
    if checkpointing:
        transformer.enable_gradient_checkpointing()
    with nullcontext() if learns else torch.no_grad():
        answer = compute(transformer, random_inputs(base, shape, torch.float32, CPU))
    if learns:
        answer.square().mean().backward()
        optimizer.step()
    return peak.megabytes()[0] * 2**20 - before


def resident() -> float:
    """Return the bytes that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def take_alone(base: Base, shape: ClipShape, *, checkpointing: bool, learns: bool) -> float:
    """Take the step in a process of its own, in which a tiny one has loaded what libraries load when first used."""
    reader, writer = os.pipe()
    if not (child := os.fork()):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 1 << 16)
        with tempfile.TemporaryDirectory() as folder:
            warm = write_base(Path(folder) / "toy", "toy")
            take(warm, ClipShape(5, 32, 32), checkpointing=checkpointing, learns=learns)
        os.write(writer, json.dumps(take(base, shape, checkpointing=checkpointing, learns=learns)).encode())
        os._exit(0)
    os.close(writer)
    found = json.loads(os.read(reader, 1024))
    os.waitpid(child, 0)
    return float(found)


def estimate(base: Base, shape: ClipShape, frozen: FrozenWeights, *, checkpointing: bool, learns: bool) -> float:
    """Return what facesmith says that a step takes."""
    if not learns:
        lora = 4.0 * count_weights(base, ADAPTER)[1]
        return weights_bytes(base, frozen) + lora + activation_bytes(base, shape, dtype=frozen.dtype)
    return training_step_bytes(
        base, shape, ADAPTER, frozen, checkpointing=checkpointing, offloaded=False, optimizer="adamw"
    )


def main() -> None:
    silence_libraries()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        bases = {layout: write_base(Path(folder) / layout, layout) for layout in sys.argv[1:] or CASES}
        if "small" in bases:  # before anything else: no process can be forked once autograd has threads
            for shape in CASES["small"]:
                for name, how in WAYS.items():
                    said = estimate(bases["small"], shape, FrozenWeights(torch.float32), **how)
                    report(bases["small"], shape, f"{name}, process", said, take_alone(bases["small"], shape, **how))
        for layout, base in bases.items():
            for shape in CASES[layout]:
                for name, how in WAYS.items():
                    said = estimate(base, shape, FrozenWeights(torch.bfloat16), **how)
                    report(base, shape, f"{name}, counted", said, count(base, shape, **how))
                how = WAYS["step, checkpointing"]
                said = estimate(base, shape, FrozenWeights(torch.bfloat16, streamed=True), **how)
                report(base, shape, "step, streamed, counted", said, count(base, shape, **how, streamed=True))


def report(base: Base, shape: ClipShape, what: str, said: float, measured: float) -> None:
    print(
        f"{base.name}, {shape.frames} frames, {sequence_length(base, shape)} tokens, {what}: estimate / measured "
        f"{said / measured:.2f} ({said / 1e9:.2f} and {measured / 1e9:.2f} GB)",
        flush=True,
    )


if __name__ == "__main__":
    main()
