"""Memory of a training step, said and measured: python benchmarks/video_lora_memory.py.

A random transformer of 120 million weights takes one step at two sizes, with gradient checkpointing and without, each
in a process of its own; prints measured / said. The C library's allocator is told to give freed memory back at once,
or its fragments would count for twice the activations.
"""

import ctypes
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from diffusers import WanVACETransformer3DModel

from facesmith.methods.video_lora.base import Base, cast_rope_to_float
from facesmith.methods.video_lora.lora import add_lora
from facesmith.methods.video_lora.memory_estimate import (
    AdapterSize,
    ClipShape,
    activation_bytes,
    tokens,
    training_step_bytes,
    weights_bytes,
)
from facesmith.training.run.log import silence_libraries
from facesmith.training.run.record import PeakMemory

TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2")
M_MMAP_THRESHOLD = -3


def random_base(folder: Path) -> Base:
    """Write configurations alone."""
    with torch.device("meta"):
        transformer = WanVACETransformer3DModel(
            num_attention_heads=12,
            attention_head_dim=64,
            text_dim=64,
            freq_dim=64,
            ffn_dim=3072,
            num_layers=10,
            vace_layers=[0, 5],
        )
    (folder / "transformer").mkdir()
    (folder / "vae").mkdir()
    transformer.save_config(folder / "transformer")
    (folder / "vae" / "config.json").write_text("{}")
    return Base("random", folder)


def step(base: Base, shape: ClipShape, checkpointing: bool, learns: bool) -> float:
    """Bytes that a step adds to this process at its peak."""
    before = resident()
    peak = PeakMemory()
    config = {name: value for name, value in base.transformer_config.items() if not name.startswith("_")}
    transformer: Any = WanVACETransformer3DModel.from_config(config).requires_grad_(False)
    cast_rope_to_float(transformer)
    add_lora(transformer, rank=16, alpha=16, dropout=0.0, targets=TARGETS, vace_blocks=False)
    trained = [parameter for parameter in transformer.parameters() if parameter.requires_grad]
    if learns:
        optimizer = torch.optim.AdamW(trained, 1e-4)
        for parameter in trained:
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()  # its moments are there from the second step on
        optimizer.zero_grad()
    if checkpointing:
        transformer.enable_gradient_checkpointing()
    size = (
        (shape.frames - 1) // base.temporal_compression + 1,
        shape.height // base.spatial_compression,
        shape.width // base.spatial_compression,
    )
    with torch.set_grad_enabled(learns):
        answer = transformer(
            hidden_states=torch.randn(1, 16, *size),
            timestep=torch.tensor([500.0]),
            encoder_hidden_states=torch.randn(1, 16, 64),
            control_hidden_states=torch.randn(1, 96, *size),
            return_dict=False,
        )[0]
    if learns:
        answer.square().mean().backward()
        optimizer.step()
    return peak.megabytes()[0] * 2**20 - before


def resident() -> float:
    """Bytes this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def alone(base: Base, shape: ClipShape, checkpointing: bool, learns: bool) -> float:
    """Take the step in a process of its own."""
    reader, writer = os.pipe()
    if not (child := os.fork()):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 1 << 16)
        os.write(writer, json.dumps(step(base, shape, checkpointing, learns)).encode())
        os._exit(0)
    os.close(writer)
    found = json.loads(os.read(reader, 1024))
    os.waitpid(child, 0)
    return float(found)


def main() -> None:
    silence_libraries()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        base = random_base(Path(name))
        adapter = AdapterSize(16, TARGETS, vace_blocks=False, decoupled=False, mapper_weights=0)
        for what, checkpointing, learns in (
            ("step, checkpointing", True, True),
            ("step, all kept", False, True),
            ("drawing", False, False),
        ):
            for shape in (ClipShape(5, 192, 192), ClipShape(9, 256, 256)):
                measured = alone(base, shape, checkpointing, learns)
                if learns:
                    said = training_step_bytes(
                        base,
                        shape,
                        adapter,
                        dtype=torch.float32,
                        storage="as_computed",
                        checkpointing=checkpointing,
                        offloaded=False,
                        optimizer="adamw",
                    )
                else:
                    said = weights_bytes(base, dtype=torch.float32, storage="as_computed")
                    said += activation_bytes(base, shape, dtype=torch.float32)
                print(
                    f"{what}, {tokens(base, shape)} tokens: measured / said {measured / said:.2f} "
                    f"({measured / 1e6:.0f} and {said / 1e6:.0f} MB)"
                )


if __name__ == "__main__":
    sys.exit(main())
