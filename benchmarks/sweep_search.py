"""How many training steps the TPE sweep with pruning needs to reach the grid sweep's best score: ratio of the two.

Both run `train.py` on the bundled clip: sweeps/identity_grid.yaml's points (learning rate x batch size), and the same
ranges drawn by sweeps/identity_tpe.yaml. A TPE job that is pruned counts with the steps it took.

    python benchmarks/sweep_search.py --folder /tmp/search --epochs 4
"""

import argparse
import subprocess
import sys
from pathlib import Path

from facesmith.run_record import RunRecord, read

ROOT = Path(__file__).resolve().parents[1]
DATA = [
    "data.source=asset:carphone_pristine.mp4",
    "data.targets=[asset:astronaut.png]",
    "data.name=carphone",
    "data.consent=licensed",
    "data.max_frames=40",
    "data.pseudo_truth.variants=20",
    "callbacks.export=null",
    "callbacks.render=null",
    "callbacks.checkpoint=null",
    "trainer.check_val_every_n_epoch=1",
]
GRID = ["model.optimizer.lr=5e-4,1e-3,2e-3", "data.batch_size=4,8"]
TPE = ["model.optimizer.lr=tag(log,interval(5e-4,4e-3))", "data.batch_size=4,8"]


def sweep(name: str, folder: Path, epochs: int, points: list[str]) -> list[RunRecord]:
    """Run a sweep, or go on with it, and give its jobs' records in order."""
    place = folder / name
    command = [sys.executable, str(ROOT / "train.py"), "-cd", str(ROOT / "sweeps"), "-cn", name, *DATA, *points]
    command += [f"trainer.max_epochs={epochs}", f"paths.face_sets={folder / 'face_sets'}", f"hydra.sweep.dir={place}"]
    command += [f"paths.profiles={folder / 'profiles'}"]
    subprocess.run(command, check=True, cwd=folder)
    jobs = sorted((p for p in place.iterdir() if p.name.isdigit()), key=lambda p: int(p.name))
    return [read(job) for job in jobs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--trials", type=int, default=10)
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    grid = sweep("identity_grid", chosen.folder, chosen.epochs, GRID)
    steps = sum(one.steps for one in grid)
    best = min(one.objective for one in grid if isinstance(one.objective, float))
    print(f"grid: {len(grid)} jobs, {steps} steps, best {best:.4f}")
    tpe = sweep("identity_tpe", chosen.folder, chosen.epochs, [*TPE, f"hydra.sweeper.n_trials={chosen.trials}"])
    taken = 0
    for number, one in enumerate(tpe, 1):
        taken += one.steps
        score = one.metrics.last.get("val/judge_distance", float("nan"))
        print(f"  tpe {number}: {one.swept} {one.status} {score:.4f} after {one.steps} steps")
        if one.status == "completed" and isinstance(one.objective, float) and one.objective <= best:
            print(f"tpe reached it with job {number}: {taken} steps, {taken / steps:.2f} of the grid's")
            return
    print(f"tpe did not reach it: {len(tpe)} jobs, {taken} steps, {taken / steps:.2f} of the grid's")


if __name__ == "__main__":
    main()
