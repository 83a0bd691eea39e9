"""Processes killed while they save: how many checkpoints are damaged or lost, and what resume then finds.

    python benchmarks/checkpoint_kills.py [--kills 20] [--folders DIR DIR] [--writer ours|lightning]

Claim: 0 damaged and 0 lost in 40 kills on two filesystems (default: the temporary folder and /dev/shm, each with
TMPDIR on the other one). Each killed process saves 30 MB again and again; it is killed at a random moment after its
first save. Damaged: `last.ckpt` is not whole. Lost: no whole checkpoint as new as the newest that was finished before
the kill. `--writer lightning` shows Lightning's own way.
"""

import argparse
import os
import random
import shutil
import signal
import tempfile
import time
from pathlib import Path

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from facesmith.training.checkpoint_io import VerifiedCheckpointIO
from facesmith.training.run.checkpoint_files import find_damage, find_newest_checkpoint, remove_stale_files


def save_for_ever(run: Path, writer: str, temporary: Path) -> None:
    os.environ["TMPDIR"] = str(temporary)
    tempfile.tempdir = None
    torch.set_num_threads(1)
    io = VerifiedCheckpointIO() if writer == "ours" else TorchCheckpointIO()
    weights, step = torch.randn(7_500_000), 0
    done = os.open(run / "done", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    (run / "checkpoints").mkdir()
    while True:
        step += 1
        io.save_checkpoint({"step": step, "w": weights, "optimizer_states": []}, run / "checkpoints/last.ckpt")
        os.write(done, f"{step}\n".encode())


def kill_one(run: Path, writer: str, temporary: Path) -> tuple[bool, bool, int]:
    """Return whether the last checkpoint is damaged, whether one is lost, and how many temporary files are left."""
    pid = os.fork()
    if pid == 0:
        save_for_ever(run, writer, temporary)
    done = run / "done"
    while not (done.exists() and done.stat().st_size):
        time.sleep(0.005)
    time.sleep(random.uniform(0.0, 0.5))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    finished = int(done.read_text().split()[-1])
    damaged = find_damage(run / "checkpoints/last.ckpt") is not None
    found = find_newest_checkpoint(run).path
    lost = found is None or torch.load(found, weights_only=True)["step"] < finished
    before = len(list(run.rglob(".*")))
    remove_stale_files(run)
    left = len([p for p in run.rglob(".*") if p.suffix == ".ckpt"])
    assert not left, "stale files stay"
    return damaged, lost, before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--folders", nargs=2, type=Path, default=[Path(tempfile.gettempdir()), Path("/dev/shm")])
    parser.add_argument("--writer", choices=["ours", "lightning"], default="ours")
    arguments = parser.parse_args()
    random.seed(0)
    for folder, other in (arguments.folders, arguments.folders[::-1]):
        results = []
        for _ in range(arguments.kills):
            run, temporary = Path(tempfile.mkdtemp(dir=folder)), Path(tempfile.mkdtemp(dir=other))
            results.append(kill_one(run, arguments.writer, temporary))
            shutil.rmtree(run)
            shutil.rmtree(temporary)
        damaged, lost, left = (sum(map(int, column)) for column in zip(*results, strict=True))
        same = folder.stat().st_dev == other.stat().st_dev
        print(
            f"{folder}, TMPDIR on {'the same' if same else 'another'} filesystem: {arguments.kills} kills, "
            f"{damaged} damaged, {lost} lost, {left} temporary files left and swept"
        )


if __name__ == "__main__":
    main()
