import hashlib
import json
import logging
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from facesmith.errors import UserError
from facesmith.faces.face_set.face_set import FaceSet, column_to_array
from facesmith.faces.face_set.selection import rejection_kind
from facesmith.faces.face_set.staging import STALE_SECONDS

from ...small_media import EXTRACTION, Counting, extract_small, write_video


def counted() -> tuple[list[Counting], Callable[[], Counting]]:
    made: list[Counting] = []

    def factory() -> Counting:
        made.append(Counting())
        return made[-1]

    return made, factory


def analyses(made: list[Counting]) -> int:
    return sum(len(one.seen) for one in made)


def start_slow_extraction(source: Path, root: Path, seen: Path, seconds: float) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.faces.face_set.slow_extraction", *map(str, (source, root, seen, seconds))]
    return subprocess.Popen(command, cwd=Path(__file__).parents[3])


def wait_for(root: Path, pattern: str) -> None:
    end = time.monotonic() + 300
    while not list(root.glob(pattern)):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_extract_clean_video_keeps_all(carphone_set: FaceSet) -> None:
    meta = carphone_set.meta
    assert (meta["pictures"], meta["faces"], meta["kept"], meta["rejected"]) == (30, 30, 30, {})
    assert meta["consent"] == "public_domain"
    assert meta["versions"].keys() >= {"facesmith", "mediapipe"}
    assert len(set(carphone_set.tracks)) == 1
    assert carphone_set.table.column("similarity").to_numpy().min() > 0.7
    # 30 of 120 frames are 7.5 a second: what moves is the man.
    assert meta["jitter"]["smoothed_faces"] == 0
    assert meta["jitter"]["before"] == meta["jitter"]["after"]
    assert sorted(p.name for p in carphone_set.path.iterdir()) == [
        "contact_sheet.png",
        "crops",
        "faces.parquet",
        "meta.json",
    ]


def test_extract_every_frame_is_smoothed(
    carphone_frames: list[np.ndarray], astronaut: np.ndarray, tmp_path: Path
) -> None:
    """Two shots: neither cut nor shot boundary is smoothed across."""
    first = carphone_frames[:12]
    second = [np.ascontiguousarray(frame[:, ::-1]) for frame in carphone_frames[60:72]]
    write_video(tmp_path / "cut.mp4", [*first, *second])
    both = extract_small(tmp_path / "cut.mp4", tmp_path / "sets")
    assert both.tracks.tolist() == [0] * 12 + [1] * 12
    assert both.meta["jitter"]["after"] < 0.7 * both.meta["jitter"]["before"]
    raw = column_to_array(both.kept, "landmarks").reshape(-1, 478, 3)
    steady = column_to_array(both.kept, "landmarks_smoothed").reshape(-1, 478, 3)
    # The man jumps to the other side at the cut; no point may be drawn over there.
    jump = np.linalg.norm(raw[12, :, :2] - raw[11, :, :2], axis=-1).mean()
    assert np.linalg.norm((steady - raw)[..., :2], axis=-1).mean(-1).max() < 0.1 * jump


def test_extract_two_people_keeps_one(two_people_set: FaceSet) -> None:
    faces = two_people_set
    kept = [Path(source).name for source in faces.kept.column("source").to_pylist()]
    assert sorted(kept) == ["both.png", *(f"man{i}.png" for i in range(6))]
    assert faces.meta["rejected"] == {"another person": 3, "no face": 1}
    assert [Path(path).name for path in faces.meta["skipped"]] == ["text.jpg"]
    rejected = faces.table.filter(np.logical_not(column_to_array(faces.table, "kept"))).to_pylist()
    assert {rejection_kind(row["reason"]) for row in rejected} == {"another person", "no face"}
    # Who was not asked leaves no picture and no biometric trace in the table.
    assert all(row["crop"] is None and row["embedding"] is None for row in rejected)
    assert {p.name for p in (faces.path / "crops").iterdir()} == set(faces.kept.column("crop").to_pylist())
    assert len(np.unique(faces.tracks)) == 7


def test_extract_people_many_keeps_all(two_people: Path, tmp_path: Path) -> None:
    faces = extract_small(two_people, tmp_path, people="many")
    assert (faces.meta["faces"], len(faces)) == (10, 10)
    sources = [Path(source).name for source in faces.kept.column("source").to_pylist()]
    assert sources.count("both.png") == 2


def test_extract_several_workers_equals_one(two_people: Path, two_people_set: FaceSet, tmp_path: Path) -> None:
    three = extract_small(two_people, tmp_path, workers=3)
    assert three.key == two_people_set.key
    assert three.table.equals(two_people_set.table)


def test_extract_no_face_is_refused(asset: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        extract_small(asset("bikes.mp4"), tmp_path, max_frames=5)
    assert str(error.value).startswith("data.source: no usable face in 5 pictures read (no face 5)")
    assert not [p for p in (tmp_path / "somebody").iterdir() if p.is_dir()]


def test_extract_no_usable_face_counts_reasons(astronaut: np.ndarray, tmp_path: Path) -> None:
    folder = tmp_path / "media"
    folder.mkdir()
    Image.fromarray(astronaut).resize((64, 64)).save(folder / "tiny.png")
    Image.fromarray(np.zeros((80, 80, 3), np.uint8)).save(folder / "black.png")
    (folder / "text.jpg").write_text("not a picture")
    with pytest.raises(UserError) as error:
        extract_small(folder, tmp_path, setting="data.targets")
    message = str(error.value)
    assert message.startswith("data.targets: no usable face in 2 pictures read (")
    assert "too small 1" in message
    assert "no face 1" in message
    assert "1 files could not be read" in message
    assert "\n" not in message


def test_extract_nothing_readable_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(UserError, match=r"data.source: none of the 2 files could be read.*; give other"):
        extract_small(tmp_path, tmp_path / "sets")


def test_extract_same_media_is_reused(two_people: Path, tmp_path: Path) -> None:
    made, factory = counted()
    settings = {**EXTRACTION, "analyzer": factory}
    first = extract_small(two_people, tmp_path, **settings)
    assert analyses(made) == 10
    again = extract_small(two_people, tmp_path, **{**settings, "consent": "written", "consent_note": "by mail"})
    assert analyses(made) == 10
    assert again.path == first.path
    assert (again.meta["consent"], again.meta["consent_note"]) == ("written", "by mail")
    moved = tmp_path / "moved"
    moved.mkdir()
    for file in two_people.rglob("*.*"):
        (moved / file.name).write_bytes(file.read_bytes())
    assert extract_small(moved, tmp_path, **settings).path == first.path
    (moved / "man0.png").unlink()
    fewer = extract_small(moved, tmp_path, **settings)
    assert fewer.path != first.path
    assert len(fewer) == len(first) - 1


def test_extract_damaged_log_is_analysed_again(two_people: Path, two_people_set: FaceSet, tmp_path: Path) -> None:
    partial = tmp_path / "somebody" / f"{two_people_set.key[:12]}.partial"
    (partial / "journal").mkdir(parents=True)
    (partial / "journal" / "000001.parquet").write_bytes(b"PAR1 cut off")
    assert extract_small(two_people, tmp_path).table.equals(two_people_set.table)


def test_extract_removes_stale_partial_sets(two_people: Path, tmp_path: Path) -> None:
    old, recent = tmp_path / "somebody" / "0ld.partial", tmp_path / "somebody" / "recent.partial"
    for partial in (old, recent):
        (partial / "crops").mkdir(parents=True)
        (partial / "crops" / "a.jpg").write_bytes(b"x")
    long_ago = time.time() - 2 * STALE_SECONDS
    os.utime(old / "crops" / "a.jpg", (long_ago, long_ago))
    os.utime(old / "crops", (long_ago, long_ago))
    extract_small(two_people / "man0.png", tmp_path)
    assert not old.exists()
    assert recent.exists()


def test_extract_worker_error_is_raised(two_people: Path, tmp_path: Path) -> None:
    class Failing(Counting):
        def __call__(self, frame: np.ndarray) -> object:
            raise RuntimeError("the analyzer broke")

    with pytest.raises(RuntimeError, match="the analyzer broke"):
        extract_small(two_people, tmp_path, analyzer=Failing, workers=2)


def test_extract_writes_under_name_only(two_people: Path, tmp_path: Path) -> None:
    faces = extract_small(two_people / "man0.png", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["somebody"]
    assert json.loads((faces.path / "meta.json").read_text())["name"] == "somebody"


def test_extract_any_umask_is_private(two_people: Path, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        faces = extract_small(two_people, tmp_path / "sets", expires="2030-01-31")
    finally:
        os.umask(before)
    folder = tmp_path / "sets" / EXTRACTION["name"]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))}
    assert {path.name for path, mode in modes.items() if mode != (0o700 if path.is_dir() else 0o600)} == set()
    assert len(modes) > 5
    assert faces.meta["expires"] == "2030-01-31"


def test_extract_killed_repeatedly_analyses_logged_pictures_once(asset: Callable[[str], Path], tmp_path: Path) -> None:
    source, seen = asset("carphone_pristine.mp4"), tmp_path / "seen.txt"
    done = 0
    for attempt in (1, 2):
        process = start_slow_extraction(source, tmp_path, seen, 0.7)
        wait_for(tmp_path, f"somebody/*.partial/journal/{attempt:06d}.parquet")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        earlier, before = done, seen.read_text().split()
        fragments = tmp_path.glob("somebody/*.partial/journal/0*.parquet")
        done = sum(pq.read_metadata(fragment).num_rows for fragment in fragments)
        assert earlier < done < 16
    made, factory = counted()
    faces = extract_small(source, tmp_path, max_frames=16, analyzer=factory)
    after = {hashlib.sha256(frame).hexdigest() for one in made for frame in one.seen}
    assert analyses(made) == 16 - done
    assert len(set(before) - after) == done  # a kill costs what was analysed since the last append
    assert len(faces) == faces.meta["pictures"] == 16
    assert not list(tmp_path.glob("somebody/*.partial"))


def test_extract_several_processes_analyse_each_picture_once(
    asset: Callable[[str], Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two that start together, and this one, which comes while one of them is at work."""
    source, seen = asset("carphone_pristine.mp4"), [tmp_path / "first.txt", tmp_path / "second.txt"]
    both = [start_slow_extraction(source, tmp_path, one, 0.1) for one in seen]
    wait_for(tmp_path, "somebody/*.partial/crops/*.jpg")
    made, factory = counted()
    with caplog.at_level(logging.INFO):
        faces = extract_small(source, tmp_path, max_frames=16, analyzer=factory)
    assert "another process is making" in caplog.text
    assert analyses(made) == 0
    assert len(faces) == 16
    assert [process.wait() for process in both] == [0, 0]
    analysed = [line for one in seen if one.exists() for line in one.read_text().split()]
    assert len(analysed) == len(set(analysed)) == 16
    assert sum(one.exists() for one in seen) == 1


@pytest.mark.slow
def test_extract_waiting_process_takes_over_from_killed(asset: Callable[[str], Path], tmp_path: Path) -> None:
    source, first, second = asset("carphone_pristine.mp4"), tmp_path / "first.txt", tmp_path / "second.txt"
    killed = start_slow_extraction(source, tmp_path, first, 0.5)
    wait_for(tmp_path, "somebody/*.partial/journal/000001.parquet")
    waiting = start_slow_extraction(source, tmp_path, second, 0.05)
    time.sleep(8)
    fragments = tmp_path.glob("somebody/*.partial/journal/0*.parquet")
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    done = sum(pq.read_metadata(fragment).num_rows for fragment in fragments)
    assert waiting.wait() == 0
    assert len(second.read_text().split() if second.exists() else []) == 16 - done
