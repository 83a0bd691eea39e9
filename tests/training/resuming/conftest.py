"""Trainings that are killed, in one process that imports everything once and forks them."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]

Killed = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def killed(tmp_path: Path) -> Killed:
    """Kill trainings of named cases so many times each; give what came of it."""

    def run(**kills: int) -> list[dict[str, Any]]:
        wanted = [str(word) for pair in kills.items() for word in pair]
        command = [sys.executable, "-m", "tests.training.resuming.kill_trainings", str(tmp_path), *wanted]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    return run
