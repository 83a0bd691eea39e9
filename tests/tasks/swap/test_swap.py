from fractions import Fraction

import av
import numpy as np
import pytest
from skimage.data import astronaut

from facesmith.errors import UserError
from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.files import file_sha256
from facesmith.media.images import read_image, write_image
from facesmith.media.verification import verify_provenance
from facesmith.media.video import open_video
from facesmith.media.video_writer import VideoWriter
from facesmith.tasks.swap.config import SwapTaskConfig
from facesmith.tasks.swap.task import SwapTask

MAGENTA = np.array([255, 0, 255])
FRAME = {
    "source_photo": None,
    "consent": None,
    "model_type": "auto",
    "converter": None,
    "raw_length": 22.0,
    "morph": 1.0,
    "masks": ["box"],
    "mask_blur": 0.1,
    "mask_padding": [0.0, 0.0, 0.0, 0.0],
    "regions": [],
    "occluder": None,
    "blend": "linear",
    "colour_match": False,
    "pixel_boost": None,
    "enhancer": None,
    "enhancer_blend": 1.0,
    "adapter": None,
    "adapter_weights": None,
    "adapter_scale": 1.0,
}


def analyzer() -> MediaPipeAnalyzer:
    return MediaPipeAnalyzer(detector_sizes=[640, 256], min_score=0.7)


def task(model, source, output, **changes) -> SwapTask:
    settings = {
        "cast": None,
        "fail_when_unmatched": True,
        "preview": None,
        "profile": None,
        "select": "largest",
        "reference": None,
        "select_threshold": {"sface": 0.36},
        "fail_when_no_face": True,
        "side_by_side": False,
        "smoothing": 0.25,
        "smoothing_order": 2,
        "max_gap": 0.4,
        "detect_every": 8,
        "crf": 17,
        "preset": "medium",
        "codec": "h264",
        "encoder": "auto",
        "suffix": None,
        "start": None,
        "end": None,
        "scale": None,
        "deinterlace": False,
        "segment_seconds": 10.0,
        "resume": False,
        "backend": "pyav",
        "quality": 95,
        "workers": 2,
        **FRAME,
    }
    given = {"model": model, "source": str(source), "output": output, **settings, **changes}
    config = SwapTaskConfig(target_="facesmith.tasks.swap.task.SwapTask", **given)
    return SwapTask(config, analyzer=analyzer, progress=False)


def test_swap_task_wrong_occluder_is_one_line_and_closes_the_analyzer(swapper_file, portrait, tmp_path, monkeypatch):
    closed = []
    close = MediaPipeAnalyzer.close
    monkeypatch.setattr(MediaPipeAnalyzer, "close", lambda self: closed.append(close(self)))
    with pytest.raises(UserError, match=r"^task\.occluder=\S+: wrong contract: [^\n]*omit the key for the occluder"):
        task(swapper_file, portrait, tmp_path / "x.png", masks=["box", "occlusion"], occluder=swapper_file)
    assert len(closed) == 1  # left open, MediaPipe prints a traceback at exit


def magenta(picture: np.ndarray) -> np.ndarray:
    return np.abs(picture.astype(int) - MAGENTA).max(-1) < 40


@pytest.fixture(scope="module")
def portrait(tmp_path_factory):
    path = tmp_path_factory.mktemp("portrait") / "portrait.png"
    write_image(path, astronaut(), mark=None)
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """24 frames at uneven times with sound: a moving portrait, then 6 frames of nothing."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    frames = [np.ascontiguousarray(np.roll(astronaut(), (i, 3 * i), (0, 1))[:320, 60:380]) for i in range(18)]
    frames += [np.full((320, 320, 3), 90, np.uint8)] * 6
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"crf": "12"})
        video.width = video.height = 320
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        sound = container.add_stream("aac", rate=44100)
        pts = np.cumsum([0] + [40, 60] * 12)[:24]
        for i, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts = int(pts[i])
            frame.time_base = video.codec_context.time_base
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        wave = (np.sin(np.arange(44100) * 0.05) * 0.3).astype(np.float32)[None]
        for start in range(0, wave.shape[1] - 1024, 1024):
            samples = av.AudioFrame.from_ndarray(wave[:, start : start + 1024].copy(), "fltp", "mono")
            samples.sample_rate, samples.pts = 44100, start
            container.mux(sound.encode(samples))
        container.mux(sound.encode(None))
    return path


def sound_of(path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def test_swap_task_image_is_swapped_and_marked(swapper_file, portrait, tmp_path, capsys):
    output = tmp_path / "new" / "swapped.png"
    assert task(swapper_file, portrait, output).run() == [output]
    picture, original = read_image(output), astronaut()
    face = magenta(picture)
    rows, columns = np.nonzero(face)
    assert 100 < rows.mean() < 140  # the astronaut's nose is near (224, 117)
    assert 205 < columns.mean() < 245
    assert 2000 < face.sum() < 12000
    far = np.ones(face.shape, bool)
    far[20:220, 120:330] = False
    np.testing.assert_array_equal(picture[far], original[far])
    mark = verify_provenance(output).mark
    assert mark is not None
    assert (mark.identity, mark.consent, mark.model_hash) == ("disc", "synthetic", file_sha256(swapper_file))
    assert str(output) in capsys.readouterr().out.replace("\n", "")


def test_swap_task_video_keeps_sound_and_times(swapper_file, clip, tmp_path, capsys):
    output = tmp_path / "swapped.mp4"
    task(swapper_file, clip, output).run()
    with open_video(clip) as before, open_video(output) as after:
        assert len(after) == len(before) == 24
        np.testing.assert_allclose(after.times, before.times, atol=2e-3)
        pairs = [(a, b) for (_, a), (_, b) in zip(before.frames(range(24)), after.frames(range(24)), strict=True)]
    assert all(magenta(new).sum() > 1500 for _, new in pairs[:18])
    assert all(np.abs(new.astype(int) - old).mean() < 3 for old, new in pairs[18:])
    assert sound_of(output) == sound_of(clip)
    with av.open(str(output)) as container:
        assert any("synthetic media" in value for value in container.metadata.values())
    assert "6 of 24 frames without a face to swap, unchanged" in capsys.readouterr().out.replace("\n", " ")


def test_swap_task_side_by_side_shows_target_left_and_swap_right(swapper_file, portrait, clip, tmp_path):
    alone, pair = tmp_path / "alone.png", tmp_path / "pair.png"
    task(swapper_file, portrait, alone).run()
    task(swapper_file, portrait, pair, side_by_side=True).run()
    np.testing.assert_array_equal(read_image(pair), np.hstack([astronaut(), read_image(alone)]))
    assert verify_provenance(pair).mark.identity == "disc"
    task(swapper_file, clip, tmp_path / "pair.mp4", side_by_side=True).run()
    with open_video(clip) as before, open_video(tmp_path / "pair.mp4") as after:
        ((_, old),), ((_, new),) = before.frames([3]), after.frames([3])
    factor, height = new.shape[0] // old.shape[0], new.shape[0]
    assert new.shape[:2] == (factor * old.shape[0], 2 * factor * old.shape[1])
    assert 300 < height < 650
    left, right = np.hsplit(new, 2)
    assert magenta(left).sum() == 0
    assert magenta(right).sum() > 1500


def test_swap_task_folder_skips_unusable_files(swapper_file, portrait, tmp_path, capsys):
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "good.png").write_bytes(portrait.read_bytes())
    write_image(source / "empty.png", np.full((200, 200, 3), 90, np.uint8), mark=None)
    (source / "text.jpg").write_text("no picture")
    written = task(swapper_file, source, tmp_path / "out").run()
    assert written == [tmp_path / "out" / "deep" / "good.png"]
    assert [p.name for p in (tmp_path / "out").rglob("*") if p.is_file()] == ["good.png"]
    said = capsys.readouterr().out
    assert said.count("skipped: ") == 2
    assert "swapped 1 files, skipped 2" in said


@pytest.mark.parametrize(("select", "faces"), [("largest", 1), ("all", 2)])
def test_swap_task_select_swaps_chosen_faces(swapper_file, tmp_path, select, faces):
    two = np.concatenate([astronaut(), astronaut()[:, ::-1]], 1)
    write_image(tmp_path / "two.png", two, mark=None)
    task(swapper_file, tmp_path / "two.png", tmp_path / "out.png", select=select).run()
    found = magenta(read_image(tmp_path / "out.png"))
    assert sum(half.sum() > 2000 for half in (found[:, :512], found[:, 512:])) == faces


def error_message(make) -> str:
    with pytest.raises(UserError) as error:
        make()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_swap_task_wrong_output_raises(swapper_file, portrait, clip, tmp_path):
    assert "is the source itself" in error_message(lambda: task(swapper_file, portrait, portrait))
    assert "is the source itself" in error_message(lambda: task(swapper_file, portrait.parent, portrait.parent))
    assert "unknown suffix for this image" in error_message(lambda: task(swapper_file, portrait, tmp_path / "a.mp4"))
    assert "unknown suffix for this video" in error_message(lambda: task(swapper_file, clip, tmp_path / "a.png"))
    assert "give a folder" in error_message(lambda: task(swapper_file, portrait.parent, tmp_path / "a.png"))
    assert not list(tmp_path.glob("a.*"))


def test_swap_task_no_face_leaves_nothing_behind(swapper_file, tmp_path):
    write_image(tmp_path / "wall.png", np.full((200, 200, 3), 90, np.uint8), mark=None)
    with VideoWriter(tmp_path / "wall.mp4", fps=25, mark=None) as writer:
        for grey in range(60, 72):
            writer.write(np.full((200, 200, 3), grey, np.uint8))
    out = tmp_path / "out"
    out.mkdir()
    assert "no face found" in error_message(task(swapper_file, tmp_path / "wall.png", out / "swapped.png").run)
    assert "no face found in any of 12" in error_message(
        task(swapper_file, tmp_path / "wall.mp4", out / "swapped.mp4").run
    )
    assert not list(out.iterdir())


def test_swap_task_missing_model_or_needless_profile_raises(swapper_file, portrait, tmp_path):
    assert "no such file" in error_message(lambda: task(tmp_path / "none.onnx", portrait, tmp_path / "a.png"))
    profile = tmp_path / "ada.json"
    assert "baked in" in error_message(lambda: task(swapper_file, portrait, tmp_path / "a.png", profile=profile))
