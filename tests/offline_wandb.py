"""Offline W&B runs for tests: made with the settings that stand in conf/, read back with W&B's own inspector."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from facesmith.training.run.wandb_logger import WandbRunLogger

CONF = Path(__file__).parents[1] / "conf/logger/wandb.yaml"
WANDB = Path(sys.executable).with_name("wandb")


def logger(runs: Path, folder: str, **more: Any) -> WandbRunLogger:
    values: Any = OmegaConf.to_container(OmegaConf.load(CONF).logger.wandb, resolve=False)
    values |= {"run": runs / folder, "save_dir": runs, "overrides": [], "tags": ["test"], **more}
    return WandbRunLogger(**{key: value for key, value in values.items() if key != "_target_"})


def summaries(runs: Path) -> list[dict[str, Any]]:
    """What the offline runs hold, oldest first."""
    found = sorted((runs / "wandb").glob("offline-run-*/run-*.wandb"), key=lambda path: path.stat().st_mtime)
    inspect = [str(WANDB), "leet", "inspect", "--summary", "--json"]
    return [json.loads(subprocess.run([*inspect, str(p)], capture_output=True, check=True).stdout) for p in found]


def record(path: Path, kind: str) -> list[dict[str, Any]]:
    """The records of one kind in a transaction log."""
    done = subprocess.run([str(WANDB), "leet", "inspect", "--json", str(path)], capture_output=True, check=True)
    return [one[kind] for one in map(json.loads, done.stdout.splitlines()) if one["type"] == kind]
