"""The README's and the tutorial's first commands, played in a terminal as somebody new would; minutes each.

`FACESMITH_SCREENS=<folder>` keeps what was on the screen.
"""

import os
import re
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

pytest.importorskip("pyte")

from .terminal import COLUMNS, Played, play

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


def played(desk: Path, *words: str, columns: int = COLUMNS) -> Played:
    """Play a command, keep its screens where asked, and hold it against what every command must do."""
    found = play([*FACESMITH, *words], desk, columns=columns)
    if os.environ.get("FACESMITH_SCREENS"):
        folder = Path(os.environ["FACESMITH_SCREENS"])
        folder.mkdir(parents=True, exist_ok=True)
        found.save(folder / f"{re.sub(r'[^a-z0-9]+', '_', ' '.join(words).lower())[:60]}_{columns}.txt")
    assert "Traceback" not in found.text
    assert "\N{HORIZONTAL ELLIPSIS}" not in found.text, "a cut name"
    return found


@pytest.fixture(scope="module")
def trained(desk: Path) -> Played:
    """Play the first identity, which the steps after it use."""
    return played(desk, "train", "experiment=identity_demo")


def require_life(found: Played, import_seconds: float) -> None:
    assert found.code == 0, found.text
    assert found.first is not None
    assert found.first <= max(2.0, MOST_OF_AN_IMPORT * import_seconds), found.first
    assert [gap for gap in found.gaps if gap[0] > LONGEST_GAP] == []


def require_next_command(found: Played) -> None:
    """The last lines are commands to paste, and nothing is drawn below."""
    assert found.code == 0, found.text
    lines = [line for line in found.text.splitlines() if line.strip()]
    start = max(number for number, line in enumerate(lines) if line == "Next:")
    assert lines[start + 1].startswith("  facesmith ")
    assert all(line.startswith("  facesmith ") or before.endswith("\\") for before, line in pairwise(lines[start:]))


def test_first_identity_and_film(desk: Path, trained: Played, import_seconds: float) -> None:
    require_life(trained, import_seconds)
    require_next_command(trained)
    assert "Accepted: 2 of 2; the gate is passed" in trained.text
    assert "astronaut.png" in trained.text
    assert "checkpoints/last.ckpt" in trained.text.partition("Made")[2].partition("Next:")[0]
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


def test_first_mask(desk: Path, import_seconds: float) -> None:
    mask = played(desk, "infer", "task=mask", "source=asset:carphone_pristine.mp4", "output=out/mask.mp4", columns=80)
    require_life(mask, import_seconds)
    require_next_command(mask)
    assert (desk / "out" / "mask_overlay.mp4").is_file()


@pytest.mark.usefixtures("trained")
def test_first_scene(desk: Path) -> None:
    small = ["data.max_frames=24", "trainer.max_epochs=2", "data.workers=1"]
    scene = played(desk, "train", "experiment=swap_lora_demo", *small, columns=80)
    require_next_command(scene)
    assert "How good it is, held out" in scene.text
    assert "/adapter" in scene.text.partition("Made")[2].partition("Next:")[0]
    (model,) = set(re.findall(r"model=(\S+)", scene.text))
    assert (desk / model).is_file()
    assert scene.text.count("not adapted") <= 1


def test_first_dance(desk: Path) -> None:
    require_next_command(played(desk, "train", "experiment=video_lora_demo", "trainer.max_epochs=2", columns=140))
    dance = played(
        desk,
        "infer",
        "task=generate",
        "model=runs/video_lora_demo/dancer/latest/exports",
        "source=face_sets/dancers/*/poses/dance_012_pose.mp4",
        "output=out/dance.mp4",
    )
    require_next_command(dance)
    assert (desk / "out" / "dance.mp4").is_file()


def test_first_sweep(desk: Path) -> None:
    small = ["data.name=swept", "data.max_frames=16", "model.generator.size=128", "callbacks.export=null"]
    sweep = played(desk, "train", "-m", "experiment=identity_demo", *small, "model.generator.pictures=2,3", columns=80)
    require_next_command(sweep)
    assert sweep.text.count("Next:") == 1
    (folder,) = (desk / "runs" / "identity_demo" / "swept").glob("*_sweep")
    for verb in ("status", "leaderboard", "best"):
        found = played(desk, "sweep", verb, str(folder.relative_to(desk)), columns=80)
        require_next_command(found)
    assert (folder / "leaderboard.html").is_file()


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
