"""What a training step of video_lora costs: python benchmarks/video_lora_step.py [steps=40] [only=trainer|memory].

Prints ratios, each of two things of this run, in CPU time of this process or in counted operations:
our trainer against a bare loop on the same cached tensors; a step that encodes its clips and prompts anew against one
that finds them cached, once with the toy transformer beside an autoencoder of Wan's architecture, by the clock, and
once for Wan2.1-VACE-1.3B, by the operations that its architecture takes; peak memory with gradient checkpointing
against without, of a random transformer whose activations are larger than its weights.
"""

import ctypes
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning
import torch
from diffusers import AutoencoderKLWan, WanVACETransformer3DModel
from torch.utils.flop_counter import FlopCounterMode
from transformers import UMT5Config, UMT5EncoderModel

from facesmith.methods.video_lora.base import cast_rope_to_float
from facesmith.methods.video_lora.latents import encode_video
from facesmith.methods.video_lora.lora import add_lora
from facesmith.training.run.log import silence_libraries
from video_lora_faces import fit, settings

_MMAP_THRESHOLD = -3  # of malloc.h
TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2"]
WAN = {  # Wan2.1-VACE-1.3B
    "patch_size": (1, 2, 2),
    "num_attention_heads": 12,
    "attention_head_dim": 128,
    "in_channels": 16,
    "out_channels": 16,
    "text_dim": 4096,
    "freq_dim": 256,
    "ffn_dim": 8960,
    "num_layers": 30,
    "vace_layers": list(range(0, 30, 2)),
    "vace_in_channels": 96,
}
WIDE = {  # random; activations dominate at 5 x 48 x 48 latents
    **WAN,
    "num_attention_heads": 6,
    "attention_head_dim": 64,
    "text_dim": 64,
    "ffn_dim": 1536,
    "num_layers": 8,
    "vace_layers": [0, 4],
}


class Clock(lightning.Callback):
    """CPU seconds of the steps after the first few."""

    def __init__(self, skipped: int) -> None:
        self.skipped, self.count = skipped, 0

    def on_train_batch_end(self, *_: Any) -> None:
        """Count, and look at the clock."""
        self.count += 1
        if self.count == self.skipped:
            self.begun = time.process_time()
        self.ended = time.process_time()

    @property
    def seconds(self) -> float:
        """Return them, of one step."""
        return (self.ended - self.begun) / (self.count - self.skipped)


def prepared(folder: Path, *overrides: str) -> tuple[Any, Any, Any]:
    config = settings(folder, [f"paths.face_sets={folder}", "data.progress=false", *overrides])
    lightning.seed_everything(0, verbose=False)
    return config, config.data.build(), config.model.build()


def through_trainer(folder: Path, steps: int, *overrides: str) -> float:
    config, data, module = prepared(folder, *overrides)
    clock = Clock(5)
    fit(module, data, config, max_steps=steps + 5, callbacks=[clock])
    return clock.seconds


def bare(folder: Path, steps: int) -> float:
    _, data, module = prepared(folder)
    data.prepare_data()
    data.setup("fit")
    module.configure_model()
    module.log = lambda *_, **__: None
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, 1e-3)
    batches = [data.on_after_batch_transfer(batch, 0) for batch in data.train_dataloader()]
    module.train()
    for step in range(steps + 5):
        if step == 5:
            begun = time.process_time()
        loss = module.training_step(batches[step % len(batches)], step)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
    return (time.process_time() - begun) / steps


def encoding(batch_size: int) -> float:
    """CPU seconds that Wan's VAE takes for the clips and poses of a batch."""
    codec = AutoencoderKLWan().eval()
    frames = torch.randint(0, 255, (9, 64, 64, 3), dtype=torch.uint8).numpy()
    encode_video(codec, frames)
    begun = time.process_time()
    encode_video(codec, frames)
    return (time.process_time() - begun) * 2 * batch_size


def operations_of_wan(frames: int, height: int, width: int) -> tuple[float, float]:
    """Count the operations of a training step of Wan2.1-VACE-1.3B, and those of encoding what it sees; nothing is run.

    The step is forward, forward again because of checkpointing, and backward to the activations, which costs as much as
    forward; encoded are the dance, its poses, an empty video and the prompt.
    """
    times, rows, columns = (frames - 1) // 4 + 1, height // 8, width // 8
    with torch.device("meta"), torch.no_grad():
        transformer = WanVACETransformer3DModel(**WAN).eval()
        with FlopCounterMode(display=False) as forward:
            transformer(
                hidden_states=torch.zeros(1, 16, times, rows, columns),
                timestep=torch.zeros(1),
                encoder_hidden_states=torch.zeros(1, 512, 4096),
                control_hidden_states=torch.zeros(1, 96, times, rows, columns),
                control_hidden_states_scale=torch.ones(15),
                return_dict=False,
            )
        codec = AutoencoderKLWan().eval()
        with FlopCounterMode(display=False) as video:
            codec.encode(torch.zeros(1, 3, frames, height, width))
        sizes = {"d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64, "vocab_size": 256384}
        encoder = UMT5EncoderModel(UMT5Config(**sizes, feed_forward_proj="gated-gelu")).eval()
        with FlopCounterMode(display=False) as text:
            encoder(torch.zeros(1, 512, dtype=torch.long))
    return 3 * forward.get_total_flops(), 3 * video.get_total_flops() + text.get_total_flops()


def peak(checkpointing: bool) -> tuple[int, int]:
    """Return bytes of a process at its peak, and before the step, for one step of the wide transformer with a LoRA."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        ctypes.CDLL(None).mallopt(
            _MMAP_THRESHOLD, 1 << 16
        )  # what is freed is given back at once, and no longer counted
        torch.manual_seed(0)
        transformer = cast_rope_to_float(WanVACETransformer3DModel(**WIDE)).requires_grad_(False).train()
        add_lora(transformer, rank=16, alpha=16, dropout=0.0, targets=TARGETS, vace_blocks=False)
        if checkpointing:
            transformer.enable_gradient_checkpointing()
        one_step(transformer, 4)  # so that libraries are in memory, too
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew
        before = resident("VmRSS")
        one_step(transformer, 48)
        os.write(writing, f"{resident('VmHWM')} {before}".encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        highest, before = map(int, told.read().split())
    os.waitpid(child, 0)
    return highest, before


def one_step(transformer: Any, side: int) -> None:
    """Go forward and backward with a clip of 5 x side x side latents."""
    found = transformer(
        hidden_states=torch.randn(1, 16, 5, side, side),
        timestep=torch.tensor([500.0]),
        encoder_hidden_states=torch.randn(1, 64, 64),
        control_hidden_states=torch.randn(1, 96, 5, side, side),
        return_dict=False,
    )[0]
    found.square().mean().backward()


def resident(key: str) -> int:
    """Return bytes of this process's memory, now (VmRSS) or at most (VmHWM)."""
    (line,) = [one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith(f"{key}:")]
    return int(line.split()[1]) * 1024


def compare_trainer(steps: int, folder: Path) -> float:
    """Print our trainer against a bare loop; give seconds of a step."""
    loop, ours = [], []
    for _ in range(2):
        loop.append(bare(folder, steps))
        ours.append(through_trainer(folder, steps))
    print(f"trainer / bare loop: {min(ours) / min(loop):.3f} ({min(ours):.3f} and {min(loop):.3f} CPU s a step)")
    return min(ours)


def compare_cache(step: float) -> None:
    """Print what the cache saves."""
    encoded = encoding(8)
    print(
        f"uncached / cached, toy transformer with Wan's autoencoder: {(encoded + step) / step:.0f} "
        f"({encoded:.1f} CPU s for a batch of 8 clips and their poses, {step:.3f} for the step)"
    )
    for frames, height, width in ((17, 256, 256), (65, 480, 832)):
        step_of_wan, encoding_of_wan = operations_of_wan(frames, height, width)
        print(
            f"uncached / cached, Wan2.1-VACE-1.3B, {frames} frames at {height}x{width}, by operations: "
            f"{(step_of_wan + encoding_of_wan) / step_of_wan:.2f} ({step_of_wan / 1e12:.0f} T a step, "
            f"{encoding_of_wan / 1e12:.0f} T to encode)"
        )


def compare_memory() -> None:
    """Print what checkpointing saves."""
    with_it, bare_too = peak(True), peak(False)
    print(
        f"peak memory of the process, checkpointing / not: {with_it[0] / bare_too[0]:.2f} "
        f"({with_it[0] / 1e9:.2f} and {bare_too[0] / 1e9:.2f} GB, of which {bare_too[1] / 1e9:.2f} before the step); "
        f"of what the step adds: {(with_it[0] - with_it[1]) / (bare_too[0] - bare_too[1]):.2f}"
    )


def main(arguments: list[str]) -> None:
    """Read key=value arguments: steps, only."""
    given = {"steps": "40", "only": "", **dict(argument.split("=", 1) for argument in arguments)}
    silence_libraries()
    torch.set_num_threads(1)
    if given["only"] in ("", "memory"):
        compare_memory()
    if given["only"] != "memory":
        with tempfile.TemporaryDirectory() as name:
            step = compare_trainer(int(given["steps"]), Path(name))
        if given["only"] in ("", "cache"):
            compare_cache(step)


if __name__ == "__main__":
    main(sys.argv[1:])
