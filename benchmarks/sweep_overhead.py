"""What our sweeper costs a job, against Hydra's basic sweeper, and what two workers gain; ratios.

    python benchmarks/sweep_overhead.py [--jobs 20] [--seconds 1]

Each job sleeps inside a composed `train.yaml`, so that composing costs what it costs in earnest. The overhead is all
the time of the sweep but the jobs' own, with imports, divided by the number of jobs.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TASK = """
import time
import hydra
import facesmith.config.schema

def main(cfg):
    time.sleep({seconds!r})
    return float(cfg.seed)

if __name__ == "__main__":
    hydra.main(version_base="1.3", config_path={conf!r}, config_name="train")(main)()
"""
SWEEPERS = {
    "hydra": ["hydra/sweeper=basic"],
    "ours": ["hydra/sweeper=grid"],
    "ours, 2 workers": ["hydra/sweeper=grid", "hydra/launcher=parallel", "hydra.launcher.n_jobs=2"],
}


def timed(seconds: float, jobs: int, sweeper: str) -> float:
    """Run a sweep in a fresh folder and process; give its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "task.py"
        script.write_text(TASK.format(seconds=seconds, conf=str(ROOT / "conf")))
        command = [sys.executable, str(script), "-m", f"seed=range({jobs})", "experiment=identity_demo"]
        began = time.perf_counter()
        subprocess.run([*command, *SWEEPERS[sweeper]], check=True, cwd=folder, stderr=subprocess.DEVNULL)
        return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=1.0)
    chosen = parser.parse_args()
    jobs, seconds = chosen.jobs, chosen.seconds
    whole = {name: timed(seconds, jobs, name) for name in SWEEPERS}
    overhead = {name: time_ / jobs - seconds for name, time_ in whole.items()}
    for name in ("hydra", "ours"):
        print(f"{name}: {whole[name]:.1f} s, {overhead[name]:.2f} s overhead a job")
    print(f"overhead a job, ours / hydra's: {overhead['ours'] / overhead['hydra']:.2f}")
    print(f"whole sweep, ours / hydra's: {whole['ours'] / whole['hydra']:.2f}")
    print(f"two workers on {os.cpu_count()} cores: {whole['ours'] / whole['ours, 2 workers']:.2f} times as fast")


if __name__ == "__main__":
    main()
