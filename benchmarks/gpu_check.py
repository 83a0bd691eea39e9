"""What only a GPU can tell, in at most 8 minutes: python benchmarks/gpu_check.py [output=table.md] [seconds=480].

Steps and a drawing of Wan2.1-VACE-1.3B's true layout with random weights: seconds, peak memory against the estimate,
and how far gradients are off those of the first row. Then a few steps of the other three types at each precision.
Without a GPU the same is done at toy size in float32 on the CPU, where seconds mean little. What would begin after
`seconds` is left out and named.
"""

import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler
from lightning import Callback, LightningModule, Trainer, seed_everything
from torch.autograd.graph import save_on_cpu

from facesmith.cli.composition import load_config
from facesmith.cli.train import train
from facesmith.config.schema import TrainConfig
from facesmith.files import write_text
from facesmith.methods.video_lora.base import Base
from facesmith.methods.video_lora.block_execution import AttentionBackend, choose_attention, compile_blocks
from facesmith.methods.video_lora.block_streaming import stream_blocks
from facesmith.methods.video_lora.latents import decode_latents, initial_noise, sample_latents
from facesmith.methods.video_lora.memory_estimate import (
    ClipShape,
    FrozenWeights,
    activation_bytes,
    training_step_bytes,
    vae_bytes,
    weights_bytes,
)
from facesmith.methods.video_lora.quantization import Storage, enable_storage_casting
from facesmith.training.run.log import silence_libraries
from wan_layouts import ADAPTER, TensorMemory, compute, random_inputs, random_transformer, write_base

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
DTYPE = torch.bfloat16 if GPU else torch.float32
SHAPES = (ClipShape(17, 480, 832), ClipShape(65, 480, 832)) if GPU else (ClipShape(5, 32, 32),)
STEPS = 3
OTHERS = {
    "identity": ["experiment=identity_demo", "data.max_frames=24"],
    "swap_lora": ["experiment=swap_lora_demo", "data.max_frames=24"],
    "occluder": ["experiment=occluder_demo", "data.max_frames=24", "data.workers=0"],
}
BASE = ["experiment=identity_demo", "data.max_frames=24", "callbacks.export=null"]  # what swap_lora is trained on


@dataclass(frozen=True)
class Case:
    """A way to take a step."""

    name: str
    checkpointing: bool = True
    storage: Storage = "as_computed"
    offloaded: bool = False
    streamed: bool = False
    compiled: bool = False
    attention: AttentionBackend = "auto"
    shapes: int = 1


CASES = (
    Case("checkpointing", shapes=2),
    Case("float8", storage="float8"),
    Case("activations offloaded", offloaded=True, shapes=2),
    Case("blocks streamed", streamed=True, shapes=2),
    Case("float8, streamed, offloaded", storage="float8", offloaded=True, streamed=True, shapes=2),
    *((Case("compiled", compiled=True), Case("attention: cudnn", attention="cudnn")) if GPU else ()),
    Case("attention: math" if not GPU else "attention: flash", attention="flash" if GPU else "math"),
    Case("all kept", checkpointing=False),
)


class Memory:
    """Bytes at the peak of a piece of work."""

    def __init__(self) -> None:
        self.peak = 0.0

    @contextmanager
    def watch(self, present: Sequence[torch.Tensor]) -> Iterator[None]:
        """Watch what is allocated; on the CPU tensors are counted, with those that are `present` already."""
        if GPU:
            torch.cuda.reset_peak_memory_stats()
            yield
            self.peak = float(torch.cuda.max_memory_allocated())
            return
        counted = TensorMemory(present)
        with counted:
            yield
        self.peak = float(counted.peak)


def take_steps(base: Base, shape: ClipShape, case: Case) -> tuple[float, float, torch.Tensor]:
    """Return seconds of a step, bytes at its peak, and the gradients of the first step."""
    torch.manual_seed(0)
    transformer = random_transformer(base, DTYPE, torch.device("cpu") if case.streamed else DEVICE)
    enable_storage_casting(transformer, case.storage, DTYPE)
    if case.checkpointing:
        transformer.enable_gradient_checkpointing()
    if case.streamed:
        stream_blocks(transformer)
        transformer.to(DEVICE)
    choose_attention(transformer, case.attention)
    if case.compiled:
        compile_blocks(transformer)
    inputs = random_inputs(base, shape, DTYPE, DEVICE)
    trained = [weight for weight in transformer.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, 1e-4)
    autocast: AbstractContextManager[Any] = torch.autocast("cuda", DTYPE) if GPU else nullcontext()
    times, memory = [], Memory()
    for step in range(1 + STEPS):
        started = now()
        with memory.watch([*transformer.parameters(), *transformer.buffers()]):
            with autocast, save_on_cpu(pin_memory=GPU) if case.offloaded else nullcontext():
                loss = compute(transformer, inputs).float().square().mean()
            loss.backward()
        times.append(now() - started)
        if not step:
            first = torch.cat([weight.grad.flatten().float().cpu() for weight in trained if weight.grad is not None])
        optimizer.step()
        optimizer.zero_grad()
    choose_attention(transformer, "auto")  # diffusers keeps the last choice for all transformers
    return statistics.median(times[1:]), memory.peak + (0 if GPU else 8 * sum(map(torch.numel, trained))), first


def draw(base: Base, shape: ClipShape) -> Iterator[tuple[str, float, float, float]]:
    """Sample two steps with guidance and decode; yield name, seconds, bytes at the peak, and estimated bytes."""
    torch.manual_seed(0)
    transformer = random_transformer(base, DTYPE, DEVICE).eval()
    noisy, control, text, _ = random_inputs(base, shape, DTYPE, DEVICE)
    memory, started = Memory(), now()
    with memory.watch([*transformer.parameters(), *transformer.buffers()]):
        latents = sample_latents(
            transformer,
            FlowMatchEulerDiscreteScheduler(shift=3.0),
            noise=initial_noise(noisy.shape, [0], DEVICE),
            control=control,
            text=text.detach(),
            negative=text.detach(),
            cfg_scale=5.0,
            steps=2,
        )
    frozen = FrozenWeights(DTYPE)
    said = weights_bytes(base, frozen) + activation_bytes(base, shape, frozen)
    yield "drawing, 2 sampler steps", now() - started, memory.peak, said
    del transformer
    vae: Any = AutoencoderKLWan.from_pretrained(base.folder / "vae").eval().to(DEVICE)
    started = now()
    with memory.watch([*vae.parameters()]):
        decode_latents(vae, latents)
    yield "drawing, decoding", now() - started, memory.peak, vae_bytes(base, shape, "decode")


class Watch(Callback):
    """Keeps the loss and the time of every step."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.times: list[float] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note a step."""
        self.losses.append(float(outputs["loss"]))
        self.times.append(now())


def fit(folder: Path, overrides: Sequence[str], precision: str) -> tuple[float, float, float]:
    """Return seconds of a step, and loss of the first and the last of eight."""
    given = [f"paths.face_sets={folder / 'face_sets'}", f"paths.runs={folder / 'runs'}", *overrides]
    config = load_config("train", TrainConfig, given, run=folder / "run")
    seed_everything(0, verbose=False)
    data: Any = config.data.build()
    module: Any = config.model.build()
    watch = Watch()
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(
        **quiet,
        devices=1,
        max_epochs=1,
        limit_train_batches=8,
        limit_val_batches=0,
        precision=precision,  # type: ignore[arg-type]
        callbacks=[watch],
        enable_model_summary=False,
    )
    trainer.fit(module, data)
    return statistics.median(b - a for a, b in zip(watch.times, watch.times[1:], strict=False)), *(
        watch.losses[place] for place in (0, -1)
    )


def now() -> float:
    """Return a time at which the GPU has done all."""
    if GPU:
        torch.cuda.synchronize()
    return time.perf_counter()


def measure(folder: Path, seconds: float) -> Iterator[str]:
    """Yield the lines of the table."""
    end = time.perf_counter() + seconds
    place = torch.cuda.get_device_name() if GPU else "CPU, toy size"
    yield f"| {place}, torch {torch.__version__} | frames | seconds | peak GB | estimate / peak | gradients off |"
    yield "|---|---|---|---|---|---|"
    base = write_base(folder / "base", "1.3B" if GPU else "toy")
    vae: Any = AutoencoderKLWan(base_dim=96 if GPU else 8)
    vae.save_pretrained(folder / "base" / "vae")
    del vae
    for number, shape in enumerate(SHAPES):
        expected: torch.Tensor | None = None
        for case in (case for case in CASES if case.shapes > number):

            def row(case: Case = case, shape: ClipShape = shape, expected: torch.Tensor | None = expected) -> Any:
                took, peak, found = take_steps(base, shape, case)
                said = training_step_bytes(
                    base,
                    shape,
                    ADAPTER,
                    FrozenWeights(DTYPE, case.storage, case.streamed),
                    checkpointing=case.checkpointing,
                    offloaded=case.offloaded,
                    optimizer="adamw",
                )
                off = "" if expected is None else f"{float((found - expected).norm() / expected.norm()):.1e}"
                return found, f"{took:.2f} | {peak / 1e9:.3g} | {said / peak:.2f} | {off}"

            made = attempt(row, end)
            if expected is None and not isinstance(made, str):
                expected = made[0]
            yield f"| step, {case.name} | {shape.frames} | {made if isinstance(made, str) else made[1]} |"
    for name, took, peak, said in draw(base, SHAPES[0]):
        yield f"| {name} | {SHAPES[0].frames} | {took:.2f} | {peak / 1e9:.3g} | {said / peak:.2f} | |"
    yield ""
    yield "| type | precision | seconds of a step | first loss | last of 8 |"
    yield "|---|---|---|---|---|"
    given = [f"paths.face_sets={folder / 'face_sets'}", f"paths.runs={folder / 'runs'}"]
    train(
        load_config("train", TrainConfig, [*BASE, *given], run=folder / "runs" / "identity_demo" / "smiling_man" / "1")
    )
    for kind, overrides in OTHERS.items():
        for precision in ("32-true", "bf16-mixed", *(["16-mixed"] if GPU else [])):

            def few(overrides: Sequence[str] = overrides, precision: str = precision) -> Any:
                took, first, last = fit(folder, overrides, precision)
                word = "" if math.isfinite(last) else " (not finite)"
                return f"{took:.3f} | {first:.4g} | {last:.4g}{word}"

            yield f"| {kind} | {precision} | {attempt(few, end)} |"


def attempt(work: Callable[[], Any], end: float) -> Any:
    """Do a piece of work if there is time; say so where there was not, or not enough memory."""
    if time.perf_counter() > end:
        return "no time left"
    try:
        return work()
    except torch.OutOfMemoryError:
        return "out of memory"
    finally:
        if GPU:
            torch.cuda.empty_cache()


def main() -> None:
    options = dict(argument.split("=", 1) for argument in sys.argv[1:])
    silence_libraries()
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for line in measure(Path(folder), float(options.get("seconds", 480))):
            print(line, flush=True)
            lines.append(line)
    if "output" in options:
        write_text(Path(options["output"]), "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
