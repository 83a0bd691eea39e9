"""Does an occluder learn occlusion? The demo, held against the same training on uncovered faces.

    python benchmarks/occluder_quality.py [override ...]

Trains experiment=occluder_demo twice for the same steps: as it stands, and with data.occlusions.clear=1.0, which
teaches the landmarks' outline alone. Both are judged on the same held-out frames under the same things, some of whose
families were never trained on. Prints the figures side by side, the ratio of the covered area found, and CPU seconds.
"""

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from facesmith.runs import record as run_record

ROOT = Path(__file__).resolve().parent.parent
RECALL = "val/occluded_recall"


def main() -> None:
    """Train both and print."""
    with tempfile.TemporaryDirectory() as folder:
        ours, seconds = trained(Path(folder) / "ours", sys.argv[1:])
        outline, others = trained(Path(folder) / "outline", [*sys.argv[1:], "data.occlusions.clear=1.0"])
    table = Table(title="occluder_demo: held-out frames, held-out things", title_justify="left")
    for title in ("figure", "demo", "outline only"):
        table.add_column(title, justify="left" if title == "figure" else "right")
    for name in sorted(ours):
        if name.startswith("val/"):
            table.add_row(name, f"{ours[name]:.3f}", f"{outline[name]:.3f}")
    table.add_row("CPU seconds", f"{seconds:.0f}", f"{others:.0f}")
    Console().print(table)
    for name in (RECALL, f"{RECALL}_unseen"):
        print(f"{name}: {ours[name] / max(outline[name], 1e-3):.1f} times the outline's")


def trained(runs: Path, overrides: list[str]) -> tuple[dict[str, float], float]:
    """Train the demo and give its last figures and the CPU seconds it took, all processes together."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, str(ROOT / "train.py"), "experiment=occluder_demo", *overrides, f"paths.runs={runs}"]
    subprocess.run(command, cwd=ROOT, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    (record,) = runs.rglob(run_record.FILE)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return run_record.read(record.parent).metrics.last, spent


if __name__ == "__main__":
    main()
