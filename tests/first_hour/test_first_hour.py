"""The README's and the tutorial's first commands, played in a terminal as somebody new would; minutes each.

`FACESMITH_SCREENS=<folder>` keeps what was on the screen.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("pyte")

from .terminal import Played, play

pytestmark = pytest.mark.slow

FACESMITH = [sys.executable, "-m", "facesmith"]
MOST_OF_AN_IMPORT = 6.0  # a first line takes at most so many times as long as `import hydra`
LONGEST_GAP = 5.0


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which somebody new works."""
    return tmp_path_factory.mktemp("desk")


@pytest.fixture(scope="module")
def import_seconds() -> float:
    """Return how long `import hydra` takes here and now, the best of three."""
    taken = []
    for _ in range(3):
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", "import hydra"], check=True)
        taken.append(time.monotonic() - began)
    return min(taken)


def played(desk: Path, *words: str) -> Played:
    """Play a command, keep its screens where asked, and hold it against what every command must do."""
    found = play([*FACESMITH, *words], desk)
    if os.environ.get("FACESMITH_SCREENS"):
        folder = Path(os.environ["FACESMITH_SCREENS"])
        folder.mkdir(parents=True, exist_ok=True)
        found.save(folder / f"{re.sub(r'[^a-z0-9]+', '_', ' '.join(words).lower())[:60]}.txt")
    assert "Traceback" not in found.text
    return found


def require_life(found: Played, import_seconds: float) -> None:
    assert found.code == 0, found.text
    assert found.first is not None
    assert found.first <= max(2.0, MOST_OF_AN_IMPORT * import_seconds), found.first
    assert [gap for gap in found.gaps if gap[0] > LONGEST_GAP] == []


def require_next_command(found: Played) -> None:
    """The last lines are a command to paste, and nothing is drawn below."""
    lines = [line for line in found.text.splitlines() if line.strip()]
    start = max(number for number, line in enumerate(lines) if line == "Next:")
    assert lines[start + 1].startswith("  facesmith ")
    assert not any("━" in line for line in lines[start:])


def test_first_identity_and_film(desk: Path, import_seconds: float) -> None:
    trained = played(desk, "train", "experiment=identity_demo")
    require_life(trained, import_seconds)
    require_next_command(trained)
    assert "Accepted: 2 of 2; the gate is passed" in trained.text
    assert "astronaut.png" in trained.text
    assert not any(re.search(r"━.*\S\s*\[|/.*━.*(INFO|WARNING)", line) for line in trained.text.splitlines())
    run = desk / "runs" / "identity_demo" / "smiling_man" / "latest"
    assert (run / "report.html").is_file()
    model = next((run / "exports").glob("*.onnx")).relative_to(desk)
    film = played(
        desk, "infer", "task=swap", f"model={model}", "source=asset:carphone_pristine.mp4", "output=out/my film (1).mp4"
    )
    require_life(film, import_seconds)
    require_next_command(film)
    assert (desk / "out" / "my film (1).mp4").is_file()
    faces = played(desk, "faces", "smiling_man", "leave-out", "3", "5-7")
    require_life(faces, import_seconds)
    assert "68 faces are used, 4 left out" in faces.text
    exported = played(desk, "export", f"ckpt_path={run.relative_to(desk)}/checkpoints/last.ckpt", "to=dfm")
    require_life(exported, import_seconds)
    require_next_command(exported)


def test_a_typo_in_a_path_is_told_as_quickly_as_one_in_a_key(desk: Path) -> None:
    taken = {}
    known = ["experiment=identity", "data.name=ada", "data.consent=self"]
    for kind, words in {"key": ["data.sourc=photos"], "path": ["data.source=nowhere"]}.items():
        times = []
        for _ in range(3):
            began = time.monotonic()
            found = played(desk, "train", *known, *words)
            times.append(time.monotonic() - began)
            assert found.code == 1
            assert found.text.startswith("error: data.sourc")
        taken[kind] = min(times)
    assert taken["path"] <= 1.5 * taken["key"], taken
