"""What somebody leaves out of a face set by hand is out for whoever reads it, until it is taken back."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from facesmith.cli.main import main
from facesmith.errors import UserError
from facesmith.faces.face_set.curation import LEFT_OUT, parse_numbers, write_left_out
from facesmith.faces.face_set.extraction import _report_left_out
from facesmith.faces.face_set.face_set import FaceSet

Faces = Callable[..., int]


@pytest.fixture
def copied(carphone_set: FaceSet, tmp_path: Path) -> Path:
    folder = tmp_path / "sets" / "ada" / carphone_set.path.name
    shutil.copytree(carphone_set.path, folder)
    return folder


@pytest.fixture
def faces(copied: Path) -> Faces:
    return lambda *words: main(["faces", "ada", *words, f"paths.face_sets={copied.parents[1]}"])


def test_faces_leave_out_is_honoured_and_taken_back(
    faces: Faces, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = FaceSet(copied)
    landmarks = whole.landmarks
    assert faces("leave-out", "2", "4-5") == 0
    assert "27 faces are used, 3 left out" in capsys.readouterr().out
    left = FaceSet(copied)
    assert len(left) == len(left.landmarks) == len(left.embeddings) == len(left.visible) == 27
    rest = np.delete(np.arange(30), [1, 3, 4])
    assert np.array_equal(left.landmarks, landmarks[rest])
    assert np.array_equal(left.crop(1), whole.crop(2))
    assert left.key == whole.key
    assert left.state_key != whole.state_key
    assert faces("take-back", "all") == 0
    assert len(FaceSet(copied)) == 30
    assert FaceSet(copied).state_key == whole.state_key
    assert not (copied.parent / LEFT_OUT).exists()


def test_faces_left_out_stay_out_in_another_set_of_the_same_media(
    faces: Faces, copied: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Other settings give another set; a crop's name is its medium's content, its frame and its face."""
    crops = FaceSet(copied).selected_crops
    write_left_out(copied, ["of_another_medium_0000000_0.png"], [])
    assert faces("leave-out", "2", "5") == 0
    other = shutil.copytree(copied, copied.with_name("0123456789ab"))
    found = FaceSet(other)
    assert found.left_out == {crops[1], crops[4]}
    assert len(found) == 28
    with caplog.at_level("INFO", logger="facesmith"):
        _report_left_out(found)
    assert "2 of the 3 faces that you left out before are in this set and stay out" in caplog.text
    assert faces("take-back", "all", "set=0123456789ab") == 0
    assert not FaceSet(copied).left_out
    assert json.loads((copied.parent / LEFT_OUT).read_text()) == ["of_another_medium_0000000_0.png"]


def test_faces_draws_a_numbered_sheet_in_the_order_asked_for(faces: Faces, copied: Path) -> None:
    assert faces("sort=sharpness") == 0
    assert (copied / "faces_by_sharpness.png").stat().st_mode & 0o077 == 0
    rows = FaceSet(copied).describe_selected()
    assert [row.number for row in rows] == list(range(1, 31))
    assert rows[7].origin.startswith("carphone")
    assert rows[7].origin.endswith(" 0:01")
    assert all(0.5 < row.likeness <= 1 for row in rows)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["leave-out", "31"], "31: there is no such face; they are numbered 1 to 30"),
        (["leave-out", "one"], "one: is no number of a face"),
        (["leave-out"], "facesmith faces ada leave-out: which ones?"),
        (["leaveout", "3"], "facesmith faces ada leaveout: no such verb; write leave-out"),
        (["leave-out", "all"], "facesmith faces ada: this leaves no face"),
        (["sort=beauty"], "sort=beauty: choose one of number, sharpness"),
        (["set=zz"], "set=zz: no such face set; there are"),
    ],
)
def test_faces_mistake_is_one_line(
    faces: Faces, words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert faces(*words) == 1
    (found,) = capsys.readouterr().err.splitlines()
    assert found.startswith(f"error: {line}")


def test_a_name_without_face_sets_suggests_one_that_has(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faces", "adda", f"paths.face_sets={copied.parents[1]}"]) == 1
    assert "did you mean ada?" in capsys.readouterr().err


def test_a_spoilt_list_of_what_is_left_out_is_one_line(copied: Path) -> None:
    for text in ("{", json.dumps({"a": 1})):
        (copied.parent / LEFT_OUT).write_text(text)
        with pytest.raises(UserError, match="remove it"):
            FaceSet(copied)


def test_parse_numbers_takes_ranges_and_commas() -> None:
    assert parse_numbers(["3", "5-7", "7,9"], 9) == [3, 5, 6, 7, 9]
