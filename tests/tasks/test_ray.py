"""Films on real Ray workers: the same as on one machine, whatever dies.

FACESMITH_TEST_RAY=auto uses a cluster that runs here already; else each run starts its own.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest
from skimage.data import astronaut

from facesmith.cli.composition import load_config
from facesmith.cli.face_extraction import extract_person
from facesmith.cli.infer import infer
from facesmith.config.schema import InferConfig
from facesmith.errors import UserError
from facesmith.faces.face_set.face_set import FaceSet
from facesmith.files import partial_folder
from facesmith.media.images import write_image
from facesmith.media.verification import verify_provenance
from facesmith.media.video import open_video
from facesmith.media.video_writer import VideoWriter

pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = pytest.mark.slow

ADDRESS = os.environ.get("FACESMITH_TEST_RAY", "local")
RAY = ["engine=ray", f"engine.address={ADDRESS}", "engine.workers=2"]
LENGTHS = {"a.mp4": 40, "b.mp4": 240, "c.mp4": 40}


def given(model: Path, source: Path, output: Path, *more: str) -> list[str]:
    # lossless: with several threads x264 is not the same from run to run
    fast = ["analyzer.detector_sizes=[256]", "task.masks=[box]", "task.segment_seconds=0.5", "task.crf=0"]
    return ["task=swap", f"task.model={model}", f"source={source}", f"output={output}", *fast, *more]


def run(*arguments: str) -> list[Path]:
    return infer(load_config("infer", InferConfig, arguments))


@pytest.fixture
def films(tmp_path: Path, carphone_frames: list[np.ndarray]) -> Path:
    """Three films, the one in the middle longer, and a file that is none."""
    folder = tmp_path / "films"
    folder.mkdir()
    there_and_back = [*carphone_frames, *reversed(carphone_frames)]
    for name, length in LENGTHS.items():
        with VideoWriter(folder / name, fps=30, mark=None, crf=12) as writer:
            for frame in there_and_back[:length]:
                writer.write(frame)
    (folder / "bad.mp4").write_bytes(b"no film" * 100)
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system that holds no swapped film."""
    folder = tmp_path / "shared"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def frames(path: Path) -> np.ndarray:
    with open_video(path) as reader:
        return np.stack([frame for _, frame in reader.frames(range(len(reader)))])


def finished_segments(output: Path) -> dict[str, tuple[int, int]]:
    """Return inode and time of the finished segments of a film in the making."""
    records = sorted(partial_folder(output).glob("segment_*.json"))
    return {one.name: (one.stat().st_ino, one.stat().st_mtime_ns) for one in records}


def wait_for_segments(output: Path, process: subprocess.Popen[bytes] | None = None) -> dict[str, tuple[int, int]]:
    """Wait until a film has two finished segments."""
    while len(found := finished_segments(output)) < 2:
        assert process is None or process.poll() is None
        time.sleep(0.01)
    return found


def readers_of(path: Path) -> list[psutil.Process]:
    """Return the other processes that hold a file, or one in a folder, open."""

    def holds(process: psutil.Process) -> bool:
        try:
            return any(Path(file.path).is_relative_to(path) for file in process.open_files())
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False

    return [process for process in psutil.process_iter() if process.pid != os.getpid() and holds(process)]


class Killer(threading.Thread):
    """Kills the worker that writes a film, and sees what becomes of the segments it had finished."""

    def __init__(self, output: Path) -> None:
        super().__init__(daemon=True)
        self.output = output
        self.killed: list[str] = []
        self.kept: dict[str, tuple[int, int]] = {}
        self.seen: dict[str, tuple[int, int]] = {}

    def run(self) -> None:
        wait_for_segments(self.output)
        for process in readers_of(partial_folder(self.output)):
            self.killed.append(process.name())
            process.kill()
        self.kept = finished_segments(self.output)
        while now := finished_segments(self.output):
            self.seen |= now
            time.sleep(0.01)


def test_ray_films_equal_those_of_one_machine_though_a_worker_is_killed(swapper_file, films, tmp_path, capsys) -> None:
    here = run(*given(swapper_file, films, tmp_path / "here"))
    said_here = capsys.readouterr().out
    killer = Killer(tmp_path / "there" / "b.mp4")
    killer.start()
    there = run(*given(swapper_file, films, tmp_path / "there", *RAY))
    said = capsys.readouterr().out
    killer.join(timeout=10)
    assert len(killer.killed) == 1
    assert "ray" in killer.killed[0]
    assert len(killer.kept) >= 2
    assert {name: killer.seen[name] for name in killer.kept} == killer.kept  # none was made a second time
    assert f"{films / 'b.mp4'}: its worker died; another one goes on with it" in said
    assert [path.name for path in there] == [path.name for path in here] == list(LENGTHS)
    for mine, theirs in zip(here, there, strict=True):
        np.testing.assert_array_equal(frames(mine), frames(theirs))
        marked = verify_provenance(theirs)
        assert (marked.state, marked.problems) == ("signed", ())
        assert marked.mark == verify_provenance(mine).mark
    assert not partial_folder(there[1]).exists()
    for text in (said_here, said):
        assert text.count("skipped: ") == 1
        assert f"skipped: {films / 'bad.mp4'}: cannot be opened as video" in text
        assert "swapped 3 files, skipped 1" in text


def test_ray_resumes_after_its_driver_was_killed(swapper_file, films, tmp_path) -> None:
    arguments = given(swapper_file, films / "b.mp4", tmp_path / "there.mp4", *RAY)
    command = [sys.executable, "-m", "facesmith", "infer", *arguments]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    kept = wait_for_segments(tmp_path / "there.mp4", process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    while readers_of(partial_folder(tmp_path / "there.mp4")):  # the cluster ends the workers of a driver that is gone
        time.sleep(0.1)
    assert not (tmp_path / "there.mp4").exists()
    left = finished_segments(tmp_path / "there.mp4")
    assert left.items() >= kept.items()
    run(*arguments, "task.resume=true")
    run(*given(swapper_file, films / "b.mp4", tmp_path / "here.mp4"))
    np.testing.assert_array_equal(frames(tmp_path / "here.mp4"), frames(tmp_path / "there.mp4"))


def test_ray_full_disk_is_one_line(swapper_file, films, small_disk) -> None:
    with pytest.raises(UserError, match="the disk is full") as caught:
        run(*given(swapper_file, films, small_disk / "out", *RAY))
    assert "\n" not in str(caught.value)
    assert str(small_disk) in str(caught.value)


def test_ray_expired_consent_starts_nothing(swapper_file, films, tmp_path) -> None:
    import ray

    model = onnx.load(swapper_file)
    properties = {one.key: one.value for one in model.metadata_props}
    key = next(name for name in properties if "expires" in name)
    onnx.helper.set_model_props(model, {**properties, key: "2020-01-31"})
    onnx.save(model, swapper_file)
    with pytest.raises(UserError, match="2020-01-31"):
        run(*given(swapper_file, films, tmp_path / "out", *RAY))
    assert not ray.is_initialized()
    assert not (tmp_path / "out").exists()


def test_ray_masks_equal_those_of_one_machine(tmp_path) -> None:
    source = tmp_path / "pictures"
    source.mkdir()
    for i in range(3):
        write_image(source / f"{i}.png", np.roll(astronaut()[:300, 60:360], 5 * i, axis=1), mark=None)
    for name, engine in {"here": [], "there": RAY}.items():
        run("task=mask", f"source={source}", f"output={tmp_path / name}", *engine)
    here, there = (sorted((tmp_path / name).iterdir()) for name in ("here", "there"))
    assert [path.read_bytes() for path in here] == [path.read_bytes() for path in there]
    assert len(here) == 6


def test_ray_without_room_for_a_worker_is_one_line(swapper_file, films, tmp_path) -> None:
    arguments = given(swapper_file, films, tmp_path / "out", *RAY[:2], "engine.num_gpus=64")
    with pytest.raises(UserError, match=r"engine.num_cpus=1 engine.num_gpus=64: the cluster has .* no room for one"):
        run(*arguments)


def kill_reader(film: Path, ready: Callable[[], bool], killed: list[str]) -> threading.Thread:
    """Start a thread that waits until something is done, and then kills the worker that reads a film."""

    def watch() -> None:
        while not killed:
            readers = readers_of(film) if ready() else []
            for process in readers[:1]:
                killed.append(process.name())
                process.kill()
            time.sleep(0.01)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def test_ray_face_set_equals_that_of_one_machine_though_a_worker_is_killed(films, tmp_path, capsys) -> None:
    keys = [f"data.source={films}", "data.consent=written", "data.consent_note=by mail", "data.max_frames=160"]
    keys.append("data.progress=false")
    there = tmp_path / "there"
    killed: list[str] = []
    killer = kill_reader(films / "b.mp4", lambda: any(there.glob("man/*.partial/crops/*.jpg")), killed)
    made = FaceSet(extract_person("man", [*keys, f"paths.face_sets={there}", *RAY]))
    said = capsys.readouterr().out
    killer.join(timeout=10)
    assert "ray" in killed[0]
    assert f"{films / 'b.mp4'}: its worker died; another one goes on with it" in said
    here = FaceSet(extract_person("man", [*keys, f"paths.face_sets={tmp_path / 'here'}"]))
    assert (made.key, made.meta["pictures"]) == (here.key, 160)
    assert made.table.equals(here.table)
    assert [Path(path).name for path in made.meta["skipped"]] == ["c.mp4", "bad.mp4"]  # c is a
    for fact in ("skipped", "losses", "consent", "consent_note", "rejected", "kept"):
        assert made.meta[fact] == here.meta[fact]
    for name in here.selected_crops:
        assert (made.path / "crops" / name).read_bytes() == (here.path / "crops" / name).read_bytes()
    assert capsys.readouterr().out.count("man: ") == 1


def test_ray_evaluation_equals_that_of_one_machine_though_a_worker_is_killed(films, tmp_path, capsys) -> None:
    write_image(tmp_path / "source.png", np.ascontiguousarray(astronaut()[:300, 60:360]), mark=None)
    keys = ["task=evaluate", f"task.swaps={films}", f"task.targets={films}", f"task.sources={tmp_path / 'source.png'}"]
    keys += ["task.one_person=true", "task.fid=null", "task.recognisers=[analyzer]", "task.max_frames=48"]

    def evaluate(name: str, *more: str) -> str:
        with pytest.raises(UserError, match=r"1 of 4 pairs could not be measured; .*bad\.mp4"):
            run(*keys, f"output={tmp_path / name}", *more)
        return (tmp_path / name / "pairs.csv").read_text()

    measured, killed = tmp_path / "there" / "pairs.jsonl", []
    killer = kill_reader(films / "b.mp4", lambda: measured.exists() and len(measured.open().readlines()) > 1, killed)
    there = evaluate("there", *RAY)
    said = capsys.readouterr().out
    killer.join(timeout=10)
    assert "ray" in killed[0]
    assert f"{films / 'b.mp4'}: its worker died; another one goes on with it" in said
    assert there == evaluate("here")
    assert evaluate("there", *RAY) == there
    assert "4 of 4 pairs were measured before" in capsys.readouterr().out
