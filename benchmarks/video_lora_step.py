"""What a training step of video_lora costs: python benchmarks/video_lora_step.py [steps=40].

Prints three ratios, each of two things measured in this run, in CPU time of this process: our trainer against a bare
loop on the same cached tensors; a step that encodes its clips anew with the architecture of Wan's VAE against one that
finds them cached; memory of activations with gradient checkpointing against without.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning
import torch
from diffusers import AutoencoderKLWan
from torch.autograd.graph import saved_tensors_hooks

sys.path.insert(0, str(Path(__file__).parent))
from facesmith.quiet import quiet_libraries
from facesmith.video_lora.cache import encoded_video
from video_lora_faces import settings


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
        """Give them, of one step."""
        return (self.ended - self.begun) / (self.count - self.skipped)


def prepared(folder: Path, *overrides: str) -> tuple[Any, Any, Any]:
    config = settings(folder, [f"paths.face_sets={folder}", "data.progress=false", *overrides])
    lightning.seed_everything(0, verbose=False)
    return config, config.data.build(), config.model.build()


def through_trainer(folder: Path, steps: int, *overrides: str) -> float:
    config, data, module = prepared(folder, *overrides)
    clock = Clock(5)
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_steps=steps + 5,
        gradient_clip_val=config.trainer.gradient_clip_val,
        callbacks=[clock],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    trainer.fit(module, data)
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
    encoded_video(codec, frames)
    begun = time.process_time()
    encoded_video(codec, frames)
    return (time.process_time() - begun) * 2 * batch_size


def saved_bytes(folder: Path, checkpointing: bool) -> int:
    """Bytes that the forward pass keeps for the backward pass."""
    _, data, module = prepared(folder, f"model.gradient_checkpointing={str(checkpointing).lower()}", "data.prior=null")
    data.prepare_data()
    data.setup("fit")
    module.configure_model()
    module.log = lambda *_, **__: None
    module.train()
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    kept: dict[int, int] = {}
    own = {p.data_ptr() for p in module.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        module.training_step(batch, 0)
    return sum(kept.values())


def main(arguments: list[str]) -> None:
    steps = int(dict(argument.split("=") for argument in arguments).get("steps", 40))
    quiet_libraries()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        loop, ours = [], []
        for _ in range(2):
            loop.append(bare(folder, steps))
            ours.append(through_trainer(folder, steps))
        print(f"trainer / bare loop: {min(ours) / min(loop):.3f} ({min(ours):.3f} and {min(loop):.3f} CPU s a step)")
        encoded = encoding(8)
        print(
            f"uncached / cached: {(encoded + min(ours)) / min(ours):.1f} (Wan's VAE: {encoded:.1f} CPU s a batch of 8)"
        )
        with_it, without = saved_bytes(folder, True), saved_bytes(folder, False)
        print(
            f"kept for the backward pass, checkpointing / not: {with_it / without:.2f} ({without / 1e6:.0f} MB without)"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
