"""How many training steps the TPE sweep with pruning needs to reach the grid sweep's best score: ratio of the two.

Both run `train.py` on the bundled clip: sweeps/identity_grid.yaml's points (learning rate x batch size), and the same
points drawn by sweeps/identity_tpe.yaml. A TPE job that is pruned counts with the steps it took. Where the best point
lies in the order drawn is chance: `--seeds` replays the grid's recorded validations under as many other seeds.

    python benchmarks/sweep_search.py --folder /tmp/search --epochs 4
"""

import argparse
import csv
import statistics
import subprocess
import sys
from pathlib import Path

import optuna
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from optuna.trial import TrialState

from facesmith.cli.composition import compose_config
from facesmith.sweep.config import PrunerConfig, SamplerConfig
from facesmith.sweep.study import make_pruner, make_sampler
from facesmith.training.run.record import RunRecord, read_record

METRIC = "val/judge_distance"
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
TPE = [*GRID, "model.optimizer.warmup=0.08"]  # the same points


def sweep(name: str, folder: Path, epochs: int, points: list[str]) -> list[RunRecord]:
    """Run a sweep, or go on with it, and give its jobs' records in order."""
    place = folder / name
    command = [sys.executable, str(ROOT / "train.py"), "-cd", str(ROOT / "sweeps"), "-cn", name, *DATA, *points]
    command += [f"trainer.max_epochs={epochs}", f"paths.face_sets={folder / 'face_sets'}", f"hydra.sweep.dir={place}"]
    command += [f"paths.profiles={folder / 'profiles'}"]
    subprocess.run(command, check=True, cwd=folder)
    jobs = sorted((p for p in place.iterdir() if p.name.isdigit()), key=lambda p: int(p.name))
    return [read_record(job) for job in jobs]


def replay(grid: list[RunRecord], curves: list[list[float]], seed: int) -> float:
    """Return the share of the grid's steps that a seed needs, from what the grid's jobs did; infinity: never."""
    compose_config("train", ["hydra/sweeper=tpe"])
    sweeper = HydraConfig.get().sweeper
    sampler = SamplerConfig.model_validate(OmegaConf.to_container(sweeper.sampler))
    pruner = make_pruner(PrunerConfig.model_validate(OmegaConf.to_container(sweeper.pruner)))
    names = list(grid[0].swept)
    choices = {name: list(dict.fromkeys(one.swept[name] for one in grid)) for name in names}
    points = [tuple(one.swept[name] for name in names) for one in grid]
    best = min(curve[-1] for curve in curves)
    study, seen, taken, repeats = optuna.create_study(pruner=pruner), set(), 0.0, 0
    while len(seen) < len(grid):
        drawn = sampler if repeats < 3 else SamplerConfig(name="random")
        study.sampler = make_sampler(drawn, 1000 * seed + len(study.trials), parallel=False)
        trial = study.ask()
        job = points.index(tuple(trial.suggest_categorical(name, choices[name]) for name in names))
        if job in seen:
            repeats += 1
            study.tell(trial, state=TrialState.FAIL)
            continue
        seen.add(job)
        repeats = 0
        for epoch, value in enumerate(curves[job], 1):
            taken += grid[job].steps / len(curves[job])
            trial.report(value, epoch)
            if epoch < len(curves[job]) and trial.should_prune():
                study.tell(trial, state=TrialState.PRUNED)
                break
        else:
            study.tell(trial, curves[job][-1])
            if curves[job][-1] <= best:
                return taken / sum(one.steps for one in grid)
    return float("inf")


def curve(job: Path) -> list[float]:
    """Return a job's validations of the monitored metric."""
    with (job / "metrics.csv").open() as file:
        return [float(row[METRIC]) for row in csv.DictReader(file) if row.get(METRIC)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=20)
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    grid = sweep("identity_grid", chosen.folder, chosen.epochs, GRID)
    steps = sum(one.steps for one in grid)
    best = min(one.objective for one in grid if isinstance(one.objective, float))
    curves = [curve(chosen.folder / "identity_grid" / str(number)) for number in range(len(grid))]
    shares = sorted(replay(grid, curves, seed) for seed in range(chosen.seeds))
    within = sum(share <= 0.6 for share in shares)
    print(
        f"replayed: median {statistics.median(shares):.2f} of the grid's steps, {within} of {len(shares)} within 0.60"
    )
    print(f"grid: {len(grid)} jobs, {steps} steps, best {best:.4f}")
    tpe = sweep("identity_tpe", chosen.folder, chosen.epochs, [*TPE, f"hydra.sweeper.n_trials={chosen.trials}"])
    taken = 0
    for number, one in enumerate(tpe, 1):
        taken += one.steps
        score = one.metrics.last.get(METRIC, float("nan"))
        print(f"  tpe {number}: {one.swept} {one.status} {score:.4f} after {one.steps} steps")
        if one.status == "completed" and isinstance(one.objective, float) and one.objective <= best:
            print(f"tpe reached it with job {number}: {taken} steps, {taken / steps:.2f} of the grid's")
            return
    print(f"tpe did not reach it: {len(tpe)} jobs, {taken} steps, {taken / steps:.2f} of the grid's")


if __name__ == "__main__":
    main()
