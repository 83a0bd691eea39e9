"""Train once without interruption and once killed again and again; say whether the two are equal, bit by bit.

    python -m tests.training.resuming.kill_trainings <folder> <case> <kills> [<case> <kills> ...]

Everything heavy is imported once; each training is a forked process. Prints one line of JSON for each case.
"""

import json
import os
import random
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

import facesmith.methods.swapper.module
from facesmith.cli.composition import load_config
from facesmith.cli.train import train
from facesmith.config.schema import TrainConfig
from facesmith.errors import Interrupted

from .tiny_training import TinyDataModuleConfig, TinyModuleConfig

QUIET = ["callbacks.render=null", "callbacks.progress=null", "callbacks.summary=null"]
EAGER = ["resume=auto", "logger.csv.flush_seconds=0"]
NOT_EXPORTED = ["callbacks.export=null", "callbacks.profile=null"]
TINY = [*NOT_EXPORTED, "monitor=val/loss", "callbacks.last.every_steps=2"]
STOP = "+callbacks.early={_target_: lightning.pytorch.callbacks.EarlyStopping, monitor: val/loss, patience: 50}"
SWAPPER = [
    *NOT_EXPORTED,
    "data.max_frames=16",
    "data.pseudo_truth.frames=10",
    "data.pseudo_truth.variants=6",
    "data.progress=false",
    "data.batch_size=4",
    "callbacks.last.every_steps=3",
    "trainer.check_val_every_n_epoch=4",
    "trainer.max_epochs=8",
]
SMALL = ["model.generator.size=128", "model.generator.pictures=4", "model.train_size=64"]
UNJUDGED = ["+trainer.limit_val_batches=0", "trainer.max_epochs=2", "monitor=null", "callbacks.best=null"]
AAD = ["model/generator=aad_fast", "trainer.accumulate_grad_batches=2", "data.workers=2", "model.loss.adversarial=0.05"]


def composed(run: Path, overrides: list[str]) -> TrainConfig:
    return load_config("train", TrainConfig, ["experiment=identity_demo", *QUIET, *EAGER, *overrides], run=run)


def tiny(run: Path, workers: int, accumulate: int, *more: str, epochs: int = 10, pause: float = 0.004) -> TrainConfig:
    trainer = [f"trainer.max_epochs={epochs}", f"trainer.accumulate_grad_batches={accumulate}"]
    config = composed(run, [*TINY, STOP, *trainer, "trainer.check_val_every_n_epoch=2", *more])
    model = TinyModuleConfig.model_validate(
        {"_target_": "tiny", "width": 16, "pause": pause, "steps": run / "steps", "epochs": epochs,
         "accumulate": accumulate}
    )  # fmt: skip
    data = TinyDataModuleConfig.model_validate({"_target_": "tiny", "workers": workers})
    return config.model_copy(update={"model": model, "data": data})


def swapper(run: Path, face_sets: Path, *more: str) -> TrainConfig:
    places = [f"paths.face_sets={face_sets}", f"paths.profiles={run / 'profiles'}"]
    return composed(run, [*SWAPPER, *places, *more])


POLITE = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
CASES: dict[str, Any] = {
    "no_workers": lambda run: tiny(run, 0, 3),
    "asked_to_stop": lambda run: tiny(run, 0, 2),
    "between_epochs": lambda run: tiny(
        run, 2, 1, "callbacks.last.every_steps=null", "callbacks.checkpoint.every_n_epochs=1"
    ),
    "two_workers": lambda run: tiny(run, 2, 1),
    "swapper_unjudged": lambda run: swapper(run, run.parents[1] / "face_sets", *SMALL, *UNJUDGED),
    "swapper": lambda run: swapper(run, run.parents[1] / "face_sets", *SMALL),
    "swapper_aad": lambda run: swapper(run, run.parents[1] / "face_sets", *AAD),
}


class Blow(NamedTuple):
    """A signal that a training gets once so many rows are logged, and some seconds later."""

    rows: int
    seconds: float
    number: int


def strike(run: Path, blow: Blow) -> None:
    while len(rows(run)) < blow.rows:
        time.sleep(0.01)
    time.sleep(blow.seconds)
    os.kill(os.getpid(), blow.number)


def start(config: TrainConfig, log: Path, blow: Blow | None = None) -> int:
    """Fork a training, which a thread of its own may kill: on a busy machine another process would come too late."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        if blow is not None:
            threading.Thread(target=strike, args=(log.parent, blow), daemon=True).start()
        with log.open("ab", buffering=0) as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        train(config)
        code = 0
    except Interrupted as stop:
        print("\n".join(stop.lines))
        code = stop.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def rows(run: Path) -> list[str]:
    path = run / "metrics.csv"
    return path.read_text().splitlines() if path.is_file() else []


def differing(a: Any, b: Any, place: str = "") -> list[str]:
    """Name what is not equal bit by bit."""
    if isinstance(a, dict) and isinstance(b, dict):
        keys = sorted({*a, *b}, key=str)
        return [d for key in keys for d in differing(a.get(key), b.get(key), f"{place}.{key}")]
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        return [d for i, (x, y) in enumerate(zip(a, b, strict=True)) for d in differing(x, y, f"{place}.{i}")]
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return [] if a.dtype == b.dtype and torch.equal(a, b) else [place]
    return [] if a == b else [place]


def ends(run: Path) -> dict[str, Any]:
    """Return what a training ended with, but paths and times."""
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    kept = ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "lr_schedulers", "global_step")
    exact = state["callbacks"]["ExactState"]
    early = {k: v for k, v in state["callbacks"].items() if k.startswith("EarlyStopping")}
    best = [v.get("best_model_score") for k, v in state["callbacks"].items() if "'monitor': 'val" in k and "mode" in k]
    return {**{name: state.get(name) for name in kept}, "random": exact["random"], "early": early, "best": best}


def compare(case: str, folder: Path, kills: int, seed: int) -> dict[str, Any]:
    random.seed(seed)
    whole, broken = folder / case / "whole", folder / case / "broken"
    for run in (whole, broken):
        run.mkdir(parents=True)
    pid = start(CASES[case](whole), whole / "log")
    config = CASES[case](broken)
    _, status = os.waitpid(pid, 0)
    if status:
        raise SystemExit((whole / "log").read_text())
    a, done = rows(whole), 0
    stride = max(2, len(a) // (kills + 1))
    while True:
        blow = None
        if done < kills:
            sent = POLITE[done % len(POLITE)] if case.startswith("asked") else signal.SIGKILL
            blow = Blow(len(rows(broken)) + random.randint(1, stride), random.uniform(0, 0.05), sent)
        _, status = os.waitpid(start(config, broken / "log", blow), 0)
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            break
        if blow is None or code not in (-signal.SIGKILL, 128 + blow.number):
            raise SystemExit((broken / "log").read_text())
        done += 1
    b = rows(broken)
    same = sum(x == y for x, y in zip(a, b, strict=False))
    unequal = differing(ends(whole), ends(broken))
    return {"case": case, "kills": done, "rows": len(a), "rows_killed": len(b), "equal": same, "unequal": unequal}


def main() -> None:
    folder = Path(sys.argv[1])
    wanted = sys.argv[2:]
    assert facesmith.methods.swapper.module
    for number, (case, kills) in enumerate(zip(wanted[::2], wanted[1::2], strict=True)):
        print(json.dumps(compare(case, folder, int(kills), number)), flush=True)


if __name__ == "__main__":
    main()
