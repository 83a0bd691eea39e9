"""What hides a region of a face is found, kept in the face set, drawn and told."""

import json
import logging
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from facesmith.faces.face_set.contact_sheet import ORANGE
from facesmith.faces.face_set.coverage import advise_pictures, describe_flaws
from facesmith.faces.face_set.face_set import CROPS, SHEET, TABLE, FaceSet, column_to_array
from facesmith.faces.face_set.region_flaws import BLURRED, COVERED, CUT_OFF, no_flaws
from facesmith.faces.geometry import topology
from facesmith.faces.geometry.topology import REGIONS

from ...small_media import extract_small

PICTURES, WITH_MICROPHONE = 12, 3
EYES, MOUTH, CHEEKS = (REGIONS.index(region) for region in ("eyes", "mouth", "cheeks"))


def hold_microphone(frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Draw a dark disc before mouth and chin."""
    middle = landmarks[topology.MOUTH, :2].mean(0)
    width = np.ptp(landmarks[topology.MOUTH, 0])
    return np.asarray(cv2.circle(frame.copy(), tuple(np.rint(middle).astype(int).tolist()), round(width * 0.7), 30, -1))


@pytest.fixture(scope="module")
def singer(
    carphone_set: FaceSet, carphone_frames: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> FaceSet:
    """Twelve pictures of the man in the car, three with a microphone, one cut off below the lips."""
    folder = tmp_path_factory.mktemp("singer")
    landmarks = column_to_array(carphone_set.kept, "landmarks").reshape(-1, 478, 3)
    for number in range(PICTURES):
        frame = carphone_frames[8 * number]
        if number < WITH_MICROPHONE:
            frame = hold_microphone(frame, landmarks[2 * number])
        if number == PICTURES - 1:
            frame = frame[: int(landmarks[2 * number, topology.LIPS_OUTER, 1].max()) + 2]
        Image.fromarray(frame).save(folder / f"{number:02d}.png")
    return extract_small(folder, tmp_path_factory.mktemp("singer_set"))


def test_extract_finds_what_hides_the_mouth(singer: FaceSet) -> None:
    assert len(singer) == PICTURES
    assert (singer.flaws[:WITH_MICROPHONE, MOUTH] == COVERED).all()
    assert singer.flaws[-1, MOUTH] == CUT_OFF
    assert singer.visible[WITH_MICROPHONE:-1].mean() > 0.97
    assert singer.visible[:, EYES].mean() > 0.9
    np.testing.assert_array_equal(singer.aligned().visible, singer.visible)


def test_extract_of_two_pictures_finds_what_hides_the_mouth(singer: FaceSet, tmp_path: Path) -> None:
    sources = singer.kept.column("source").to_pylist()
    (tmp_path / "two").mkdir()
    for source in (sources[0], sources[WITH_MICROPHONE]):
        (tmp_path / "two" / Path(source).name).write_bytes(Path(source).read_bytes())
    few = extract_small(tmp_path / "two", tmp_path / "set")
    assert few.flaws[:, MOUTH].tolist() == [COVERED, None]
    assert few.visible[1].all()


def test_extract_tells_what_is_hidden_again_when_it_reuses_the_set(
    singer: FaceSet, caplog: pytest.LogCaptureFixture
) -> None:
    sources = singer.kept.column("source").to_pylist()
    with caplog.at_level(logging.INFO):
        extract_small(Path(sources[0]).parent, singer.path.parents[1])
    told = [record.getMessage() for record in caplog.records]
    assert any("of 12 pictures have something before the mouth: they are used for" in line for line in told)
    assert told[-1] == f"what is hidden is hatched in {singer.path / SHEET}"


def test_contact_sheet_hatches_what_is_hidden(singer: FaceSet) -> None:
    sheet = np.asarray(Image.open(singer.path / SHEET))
    assert (sheet == ORANGE).all(-1).sum() > 3 * 200


def test_face_set_of_an_earlier_version_finds_what_is_hidden(singer: FaceSet, tmp_path: Path) -> None:
    earlier = tmp_path / "earlier"
    (earlier / CROPS).mkdir(parents=True)
    for file in (singer.path / CROPS).iterdir():
        (earlier / CROPS / file.name).write_bytes(file.read_bytes())
    (earlier / "meta.json").write_text(json.dumps(singer.meta))
    pq.write_table(singer.table.drop_columns(["flaws", "picture_size"]), earlier / TABLE)
    found = FaceSet(earlier).flaws
    assert (found[:WITH_MICROPHONE, MOUTH] == COVERED).all()
    assert found[-1, MOUTH] != CUT_OFF


def test_face_set_of_many_people_hides_nothing(two_people: Path, tmp_path: Path) -> None:
    assert extract_small(two_people, tmp_path, people="many").visible.all()


def test_embedding_mean_weighs_covered_faces_less(singer: FaceSet) -> None:
    every, seen = singer._weights(), singer.visible.mean(1)
    assert seen[:WITH_MICROPHONE].max() < 1
    changed = FaceSet(singer.path)
    changed.__dict__["flaws"] = no_flaws(len(singer))
    np.testing.assert_allclose(every, changed._weights() * seen.clip(0.05), rtol=1e-6)


def flaws(**regions: list[str | None]) -> np.ndarray:
    found = no_flaws(len(next(iter(regions.values()))))
    for region, column in regions.items():
        found[:, REGIONS.index(region)] = column
    return found


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (
            flaws(mouth=[COVERED] * 2 + [None] * 3, cheeks=[COVERED] * 2 + [None] * 3, nose=[COVERED] * 2 + [None] * 3),
            "2 of 5 pictures have something before the mouth: they are used for eyes and forehead only",
        ),
        (
            flaws(mouth=[COVERED] * 4 + [None]),
            "the mouth is hidden in 4 of 5 pictures; give pictures that show it",
        ),
        (
            flaws(eyes=[BLURRED] + [None] * 4),
            "1 of 5 pictures is blurred at the eyes: it is used for nose, mouth, cheeks and forehead only",
        ),
        (
            flaws(**{region: [BLURRED] + [None] * 4 for region in REGIONS}),
            "1 of 5 pictures shows no region of the face clearly: it is not used",
        ),
    ],
)
def test_describe_flaws_counts_in_words(found: np.ndarray, line: str) -> None:
    assert line in describe_flaws(found)


def test_describe_flaws_of_nothing_hidden_is_silent() -> None:
    assert describe_flaws(no_flaws(4)) == []


def test_advise_pictures_names_what_no_picture_shows(singer: FaceSet) -> None:
    (line,) = advise_pictures(singer)
    assert line.startswith("no picture with shut eyes") or "turned to the left" in line
    covered = FaceSet(singer.path)
    covered.__dict__["flaws"] = flaws(mouth=[COVERED] * (PICTURES - 2) + [None] * 2, eyes=[COVERED] * PICTURES)
    lines = advise_pictures(covered)
    assert "no picture shows the eyes uncovered and sharp; give one" in lines
    assert "the mouth is visible in only 2 of 12 pictures; give more" in lines
    assert any("with shut eyes" in line for line in lines)


def test_extract_one_picture_works_and_tells_its_limits(astronaut: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(astronaut).save(tmp_path / "one.png")
    faces = extract_small(tmp_path / "one.png", tmp_path / "sets")
    assert faces.visible.all()
    lines = advise_pictures(faces)
    assert lines[0] == "there is one picture: every pose and expression is made of it; give pictures of others"
    assert "with closed lips" in lines[1]


def test_extract_all_pictures_covered_keeps_what_is_seen(
    carphone_set: FaceSet, carphone_frames: list[np.ndarray], tmp_path: Path
) -> None:
    landmarks = column_to_array(carphone_set.kept, "landmarks").reshape(-1, 478, 3)
    rng = np.random.default_rng(0)
    for number in range(8):
        frame = carphone_frames[8 * number].copy()
        at = landmarks[2 * number, rng.choice([4, 13, 50, 280, 159, 386, 151]), :2]
        frame = cv2.circle(frame, tuple(at.astype(int).tolist()), 14, rng.integers(0, 255, 3).tolist(), -1)
        Image.fromarray(frame).save(tmp_path / f"{number}.png")
    faces = extract_small(tmp_path, tmp_path / "sets")
    assert not faces.visible.all()
    assert faces.visible.any()
    assert all("\n" not in line for line in describe_flaws(faces.flaws) + advise_pictures(faces))


@pytest.mark.parametrize("drawn", [True, False], ids=["cartoon", "statue"])
def test_extract_cartoon_or_statue_that_is_found_as_a_face_is_a_set(
    astronaut: np.ndarray, tmp_path: Path, drawn: bool
) -> None:
    picture = astronaut[:300, 100:400]
    if drawn:
        picture = np.asarray(cv2.stylization(picture, sigma_s=60, sigma_r=0.5)) // 64 * 85
    else:
        picture = np.repeat(cv2.GaussianBlur(picture, (0, 0), 1.5).max(-1, keepdims=True), 3, -1)
    for number in range(6):
        Image.fromarray(np.roll(picture, 4 * number, axis=1)).save(tmp_path / f"{number}.png")
    faces = extract_small(tmp_path, tmp_path / "sets")
    assert faces.flaws.shape == (6, len(REGIONS))
    assert all("\n" not in line for line in advise_pictures(faces))
