"""Media nobody can be learnt from: one line, exit code 1, nothing half-written."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[subprocess.CompletedProcess[str], list[Path]]]:
    """Run training on bad media, each in a working folder of its own; all at once, since most is importing."""
    media = tmp_path_factory.mktemp("media")
    (media / "empty").mkdir()
    (media / "text").mkdir()
    (media / "text" / "notes.jpg").write_text("not a picture")
    sources = {"empty": media / "empty", "text": media / "text", "few": "asset:astronaut.png"}
    running = {}
    for name, source in sources.items():
        folder = tmp_path_factory.mktemp(name)
        command = [sys.executable, str(ROOT / "train.py"), "experiment=identity", f"data.source={source}"]
        command += ["data.name=ada", "data.consent=public_domain", "data.min_faces=15"]
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        running[name] = folder, process
    done = {}
    for name, (folder, process) in running.items():
        out, err = process.communicate()
        runs = [p for p in folder.glob("runs/**/*") if p.is_file()]
        done[name] = subprocess.CompletedProcess(process.args, process.returncode, out, err), runs
    return done


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty", ["empty: no image or video found", "give a folder"]),
        ("text", ["notes.jpg"]),
        ("few", ["data.source", "1 usable faces", "data.min_faces=1"]),
    ],
)
def test_train_bad_media_end_in_one_line_that_names_them(results, name: str, words: list[str]) -> None:
    done, runs = results[name]
    assert done.returncode == 1, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert all(word in errors[0] for word in words), errors
    assert "Traceback" not in done.stderr
    assert not runs
