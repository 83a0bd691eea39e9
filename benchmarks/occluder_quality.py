"""Compare the occluder demo with the same training on faces that nothing covers.

    python benchmarks/occluder_quality.py [keep=<folder>] [override ...]

Trains experiment=occluder_demo twice for the same steps: as it is, and with data.occlusions.unoccluded=1.0, which
teaches the landmarks' outline alone. Both are validated on the same held-out frames under the same things,
some of families never trained on. Prints the metrics side by side, the ratio of recall, CPU
seconds, and the share of a training step spent waiting for data. keep: folder in which the runs stay as occluder_demo
and occluder_hull; finished ones are not trained again.
"""

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from facesmith.training.run import record as run_record

ROOT = Path(__file__).resolve().parent.parent
RECALL = "val/occluded_recall"
SPENT = "cpu_seconds.json"
PROFILE = (
    "{_target_: facesmith.training.callbacks.step_profile.ProfileSteps, folder: '${paths.run}', "
    "warm_up: 10, operators: 0}"
)


def main() -> None:
    """Train both and print."""
    keep = [one.removeprefix("keep=") for one in sys.argv[1:] if one.startswith("keep=")]
    overrides = [one for one in sys.argv[1:] if not one.startswith("keep=")]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(keep[-1] if keep else scratch).resolve()
        ours = trained(folder / "occluder_demo", overrides)
        outline = trained(folder / "occluder_hull", [*overrides, "data.occlusions.unoccluded=1.0"])
    table = Table(title="occluder_demo: held-out frames, held-out things", title_justify="left")
    for title in ("figure", "demo", "outline only"):
        table.add_column(title, justify="left" if title == "figure" else "right")
    for name in sorted(ours):
        table.add_row(name, f"{ours[name]:.3f}", f"{outline[name]:.3f}")
    Console().print(table)
    for name in (RECALL, f"{RECALL}_unseen"):
        print(f"{name}: {ours[name] / max(outline[name], 1e-3):.1f} times the outline's")


def trained(run: Path, overrides: list[str]) -> dict[str, float]:
    """Train the demo; return its last metrics, the CPU seconds of all processes and the wait for data."""
    spent = run / SPENT
    if not spent.exists():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        fixed = [f"+callbacks.step_profile={PROFILE}", f"hydra.run.dir={run}"]
        command = [sys.executable, str(ROOT / "train.py"), "experiment=occluder_demo", *overrides, *fixed]
        subprocess.run(command, cwd=ROOT, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        spent.write_text(json.dumps({"CPU seconds": seconds}))
    metrics = run_record.read_record(run).metrics.last
    parts = json.loads((run / "step_profile.json").read_text())["seconds"]
    waiting = parts.get("waiting for data", 0.0) / sum(parts.values())
    figures = {name: value for name, value in metrics.items() if name.startswith("val/")}
    return {**figures, **json.loads(spent.read_text()), "waiting for data, share of a step": waiting}


if __name__ == "__main__":
    main()
