"""Media nobody can be learnt from: one line, exit code 1, nothing half-written."""

from pathlib import Path

import pytest

from facesmith.cli.main import main


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, str]:
    """Folders and files nobody can be learnt from."""
    media = tmp_path / "media"
    (media / "empty").mkdir(parents=True)
    (media / "text").mkdir()
    (media / "text" / "notes.jpg").write_text("not a picture")
    return {"empty": str(media / "empty"), "text": str(media / "text"), "few": "asset:astronaut.png"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty", ["empty: no image or video found", "give a folder"]),
        ("text", ["notes.jpg"]),
        ("few", ["data.source", "1 usable faces", "data.min_faces=1"]),
    ],
)
def test_train_bad_media_end_in_one_line_that_names_them(
    name: str,
    words: list[str],
    sources: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["experiment=identity", f"data.source={sources[name]}", "data.name=ada", "data.consent=public_domain"]
    with pytest.raises(SystemExit) as ended:
        main(["train", *given, "data.min_faces=15"])
    assert ended.value.code == 1
    said = capfd.readouterr().err
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, said
    assert all(word in errors[0] for word in words), errors
    assert "Traceback" not in said
    assert not [path for path in tmp_path.glob("runs/**/*") if path.is_file()]
