"""The swap of a video as a run: which faces, when it is stopped, when the disk is full."""

import os
import resource
import signal
import threading

import av
import numpy as np
import pytest
from skimage.data import astronaut

from facesmith.cli.composition import load_config
from facesmith.config.schema import InferConfig
from facesmith.files import partial_folder
from facesmith.media.images import write_image
from facesmith.media.video import open_video
from facesmith.media.video_writer import VideoWriter
from facesmith.models.onnx.session import Swapper

from .test_swap import analyzer, error_message, magenta
from .test_swap import task as on_two_threads


@pytest.fixture(scope="module")
def couple(tmp_path_factory, asset):
    """40 frames: the carphone man on the left, the astronaut on the right, who is hidden from frame 16 to 20."""
    path = tmp_path_factory.mktemp("couple") / "couple.mp4"
    woman = np.ascontiguousarray(astronaut()[:288, 80:368])
    with open_video(asset("carphone_pristine.mp4")) as reader, VideoWriter(path, fps=30, mark=None, crf=12) as writer:
        for i, man in reader.frames(range(40)):
            frame = np.full((288, 640, 3), 90, np.uint8)
            frame[72:216, 60:236] = man
            frame[:, 352:] = woman
            if 16 <= i < 20:
                frame[40:260, 400:600] = 90
            writer.write(frame)
    return path


def task(*places, **changes):
    return on_two_threads(*places, **({"workers": 1, "preset": "veryfast"} | changes))


def masks(path):
    with open_video(path) as reader:
        return [magenta(frame) for _, frame in reader.frames(range(len(reader)))]


def test_swap_video_reference_is_found_and_bridged(swapper_file, couple, tmp_path, capsys):
    write_image(tmp_path / "her.png", astronaut(), mark=None)
    output = tmp_path / "out.mp4"
    task(swapper_file, couple, output, select="reference", reference=tmp_path / "her.png").run()
    found = masks(output)
    assert len(found) == 40
    assert all(one[:, 320:].sum() > 1000 for one in found)
    assert all(one[:, :320].sum() == 0 for one in found)
    assert "4 bridged" in capsys.readouterr().out.replace("\n", " ")


def test_swap_video_select_by_place_without_bridging(swapper_file, couple, tmp_path, capsys):
    output = tmp_path / "out.mp4"
    task(swapper_file, couple, output, select=1, max_gap=0.0).run()
    found = masks(output)
    assert [one[:, 320:].sum() > 1000 for one in found] == [not 16 <= i < 20 for i in range(40)]
    assert all(one[:, :320].sum() == 0 for one in found)
    assert "4 of 40 frames without a face to swap, unchanged" in capsys.readouterr().out.replace("\n", " ")


def test_swap_video_no_match_with_reference(swapper_file, couple, tmp_path, capsys):
    write_image(tmp_path / "her.png", astronaut(), mark=None)
    options = {"select": "reference", "reference": tmp_path / "her.png", "select_threshold": 1.0}
    output = tmp_path / "out.mp4"
    said = error_message(task(swapper_file, couple, output, **options).run)
    assert "no face matches the reference in any of 40 frames" in said
    assert not output.exists()
    assert not partial_folder(output).exists()
    task(swapper_file, couple, output, fail_when_no_face=False, **options).run()
    assert sum(one.sum() for one in masks(output)) == 0
    assert "40 of 40 frames without a face to swap, unchanged" in capsys.readouterr().out.replace("\n", " ")


def test_swap_video_resume_after_ctrl_c_equals_uninterrupted(swapper_file, couple, tmp_path, capsys, monkeypatch):
    whole, stopped = tmp_path / "whole.mp4", tmp_path / "stopped.mp4"
    short = {"segment_seconds": 0.5, "detect_every": 4, "max_gap": 0.1, "smoothing": 0.1}
    short["crf"] = 0  # lossless: with several threads x264 is not the same from run to run
    short["select"] = 1  # counted from the left in the first frame, also where the run goes on
    task(swapper_file, couple, whole, **short).run()
    calls = 0
    real = Swapper.__call__

    def ctrl_c(self, *arguments):
        nonlocal calls
        calls += 1
        if calls == 30:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        return real(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Swapper, "__call__", ctrl_c)
        with pytest.raises(SystemExit) as ended:
            task(swapper_file, couple, stopped, **short).run()
    assert ended.value.code == 130
    assert "resume=true continues" in capsys.readouterr().out.replace("\n", " ")
    assert not stopped.exists()
    left = sorted(partial_folder(stopped).glob("segment_*.mp4"))
    assert [len(open_video(one)) for one in left] == [15] * len(left)
    assert left
    assert "resume=true to continue it" in error_message(task(swapper_file, couple, stopped, **short).run)
    task(swapper_file, couple, stopped, resume=True, **short).run()
    assert not partial_folder(stopped).exists()
    with open_video(whole) as a, open_video(stopped) as b:
        assert a.times == pytest.approx(b.times, abs=1e-9)
        pairs = zip(a.frames(range(40)), b.frames(range(40)), strict=True)
        assert all(np.array_equal(x, y) for (_, x), (_, y) in pairs)
    task(swapper_file, couple, stopped, resume=True, **short).run()
    assert ": already finished" in capsys.readouterr().out.replace("\n", " ")


def test_swap_video_full_disk_leaves_no_broken_file(swapper_file, couple, tmp_path):
    output = tmp_path / "out.mp4"
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    prepared = task(swapper_file, couple, output, crf=0, segment_seconds=0.5)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        said = error_message(prepared.run)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert "cannot be written" in said
    assert "no part of it is finished" in said
    assert not output.exists()


def test_swap_video_truncated_file_is_swapped_to_its_end(swapper_file, couple, tmp_path, capsys):
    source = tmp_path / "cut.mkv"
    with av.open(str(couple)) as read, av.open(str(source), "w") as container:
        stream = container.add_stream_from_template(read.streams.video[0])
        for packet in read.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                container.mux(packet)
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 2 // 3])
    task(swapper_file, source, tmp_path / "out.mp4").run()
    with open_video(tmp_path / "out.mp4") as reader:
        assert 10 < len(reader) < 40
    assert "swapped" in capsys.readouterr().out


def test_swap_video_odd_sizes_and_unknown_codec(swapper_file, couple, tmp_path):
    unknown = tmp_path / "unknown.mp4"
    unknown.write_bytes(couple.read_bytes().replace(b"avc1", b"zzz9"))
    assert "video codec is unknown here" in error_message(task(swapper_file, unknown, tmp_path / "out.mp4").run)
    write_image(tmp_path / "one.png", np.zeros((1, 1, 3), np.uint8), mark=None)
    assert "no face found" in error_message(task(swapper_file, tmp_path / "one.png", tmp_path / "out.png").run)
    huge = b"P5 20000 20000 255\n"
    (tmp_path / "huge.ppm").write_bytes(huge)
    assert "megapixels; give a smaller picture" in error_message(
        task(swapper_file, tmp_path / "huge.ppm", tmp_path / "out.png").run
    )


def test_swap_video_unwritable_folder_raises_at_start(swapper_file, couple, tmp_path):
    (tmp_path / "file").write_text("")
    assert "is a file; choose another folder" in error_message(
        lambda: task(swapper_file, couple, tmp_path / "file" / "out.mp4")
    )
    os.link(couple, tmp_path / "link.mp4")
    assert "is the source itself" in error_message(lambda: task(swapper_file, couple, tmp_path / "link.mp4"))


def test_swap_video_default_config_builds_task(swapper_file, couple, tmp_path):
    overrides = ["task=swap", f"task.model={swapper_file}", f"source={couple}", f"output={tmp_path / 'out.mp4'}"]
    config = load_config("infer", InferConfig, [*overrides, "task.select=0"])
    config.task.build(analyzer=analyzer, progress=False).run()
    found = masks(tmp_path / "out.mp4")
    assert all(one[:, :320].sum() > 300 and one[:, 320:].sum() == 0 for one in found)
