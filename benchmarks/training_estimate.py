"""How near the estimate before the first step comes to what a training takes: time and memory, for the four types.

    python -m benchmarks.training_estimate [folder] [identity occluder swap_lora video_lora]

Prints a line a training: expected over real, of the seconds from the first step to the end with validations and
exports, and of the peak of memory. Seconds are those of the CPU, so that a busy machine does not matter. Each training
is small and runs twice: the first time nothing is known of this machine, the second time its validations and exports.
"""

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

os.environ.setdefault("OMP_NUM_THREADS", "1")

from lightning import LightningModule, Trainer

from facesmith.cli import train as training
from facesmith.cli.composition import load_config
from facesmith.config.schema import TrainConfig
from facesmith.training.callbacks import estimate, step_trial
from facesmith.training.swapping import evaluation

FEW: Final = ["data.max_frames=16", "data.progress=false", "callbacks.progress.refresh_rate=0"]
SMALL: Final = ["model.generator.size=128", "model.generator.pictures=4", "model.train_size=64"]
PAIRS: Final = ["data.pseudo_truth.frames=10", "data.pseudo_truth.variants=6", "data.batch_size=4"]
MAN: Final = ["data.source=asset:carphone_pristine.mp4", "data.name=carphone"]
TRAININGS: Final = {
    "identity": ["experiment=identity_demo", *MAN, *FEW, *SMALL, *PAIRS, "trainer.max_epochs=6"],
    "occluder": ["experiment=occluder_demo", *FEW, "data.size=64", "data.repeats=4", "data.batch_size=4"],
    "swap_lora": ["experiment=swap_lora_demo", *FEW, *PAIRS, "trainer.max_epochs=12"],
    "video_lora": ["experiment=video_lora_demo", "data.clips=6", "data.holdout=[dance_005]", "data.prior.clips=8",
                   "data.progress=false", "callbacks.progress.refresh_rate=0", "trainer.max_epochs=20"],
}  # fmt: skip


def run(kind: str, root: Path, turn: int) -> None:
    """Train in a process of its own, whose memory is that of this training alone."""
    given = [*TRAININGS[kind], f"paths.face_sets={root / 'face_sets'}", f"paths.profiles={root / 'profiles'}"]
    if kind == "swap_lora":
        given.append(f"model.base={root / 'identity_0'}")
    config = load_config("train", TrainConfig, given, run=root / f"{kind}_{turn}")
    log = estimate.EstimateDuration.on_fit_end

    def keep(self: estimate.EstimateDuration, trainer: Trainer, module: LightningModule) -> None:
        log(self, trainer, module)
        assert self.estimate is not None
        took = time.process_time() - self._began
        memory = estimate._peak_memory(trainer)
        print(
            f"{kind:10} run {turn + 1}: time {self.estimate.seconds / took:.2f} (of {took:.0f} CPU-s), "
            f"memory {self.estimate.memory / memory:.2f} (of {memory / 1e9:.1f} GB)",
            flush=True,
        )

    estimate.EstimateDuration.on_fit_end = keep  # type: ignore[method-assign]
    training.train(config)


def main() -> None:
    """Run the trainings that are named, each twice."""
    words = sys.argv[1:]
    root = Path(words[0] if words and words[0] not in TRAININGS else tempfile.mkdtemp())
    os.environ["XDG_STATE_HOME"] = str(root / "state")
    for module in (estimate, step_trial, evaluation):
        module.time = type("Clock", (), {"monotonic": staticmethod(time.process_time)})  # type: ignore[attr-defined]
    for kind in [word for word in words if word in TRAININGS] or list(TRAININGS):
        for turn in range(2):
            child = os.fork()
            if not child:
                try:
                    run(kind, root, turn)
                finally:
                    sys.stdout.flush()
                    os._exit(0)
            os.waitpid(child, 0)


if __name__ == "__main__":
    main()
