"""The mask task on real faces, with an occluder of plain nodes: visible is what is not red."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from skimage.data import astronaut

from facesmith.errors import UserError
from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.media.images import read_image, write_image
from facesmith.media.video import open_video
from facesmith.media.video_writer import VideoWriter
from facesmith.tasks.mask.config import MaskTaskConfig
from facesmith.tasks.mask.task import MaskTask

SIDE = 64
RED = np.array([255, 0, 0], np.uint8)


def analyzer() -> MediaPipeAnalyzer:
    return MediaPipeAnalyzer(detector_sizes=[256], min_score=0.6)


@pytest.fixture
def masking(graph_file) -> Callable[..., MaskTask]:
    occluder = graph_file(
        "xseg.onnx",
        [("Slice", ["input", "start", "end", "axis"], ["red"], {}), ("Sub", ["one", "red"], ["output"], {})],
        {"input": ["N", SIDE, SIDE, 3]},
        {"output": ["N", SIDE, SIDE, 1]},
        {"start": np.array([2]), "end": np.array([3]), "axis": np.array([3]), "one": np.float32(1)},
    )

    def make(source: Path, output: Path, without_face: str = "skip") -> MaskTask:
        config = MaskTaskConfig(
            _target_="facesmith.tasks.mask.task.MaskTask",
            occluder=occluder,
            source=str(source),
            output=output,
            select="largest",
            template="arcface_128",
            without_face=without_face,
            smoothing=0.0,
            smoothing_order=2,
            max_gap=0.0,
            detect_every=1,
            backend="pyav",
            crf=0,
            workers=1,
        )
        return MaskTask(config, analyzer=analyzer, progress=False)

    return make


def covered() -> np.ndarray:
    """Return a face with little red, so that it counts as visible, and a red patch over one half of it."""
    picture = astronaut()[20:220, 120:320].copy()
    picture[..., 0] = picture[..., 0] // 4
    picture[95:150, 60:100] = RED
    return picture


def test_mask_task_image_writes_mask_and_overlay(masking, tmp_path: Path) -> None:
    source = tmp_path / "covered.png"
    write_image(source, covered(), mark=None)
    written = masking(source, tmp_path / "mask.png").run()
    assert written == [tmp_path / "mask.png", tmp_path / "mask_overlay.png"]
    mask, overlay = (read_image(path) for path in written)
    assert mask.shape == overlay.shape == (200, 200, 3)
    assert np.ptp(mask, axis=-1).max() == 0
    assert mask[110:140, 70:90].max() == 0
    assert mask[100:140, 108:125].mean() > 150
    kept = mask[..., 0] == 255
    assert kept.any()
    assert np.array_equal(overlay[kept], covered()[kept])


def test_mask_task_video_skips_frames_without_face(masking, tmp_path: Path) -> None:
    source = tmp_path / "clip.mp4"
    with VideoWriter(source, mark=None, fps=25, crf=5) as writer:
        for number in range(6):
            writer.write(np.zeros((200, 200, 3), np.uint8) if number == 3 else covered())
    written = masking(source, tmp_path / "mask.mp4").run()
    assert [path.name for path in written] == ["mask.mp4", "mask_overlay.mp4"]
    with open_video(written[0]) as masks, open_video(source) as clip:
        assert len(masks) == 5
        assert np.allclose(masks.times, np.delete(clip.times, 3), atol=1e-3)
        for _, frame in masks.frames(range(5)):
            assert frame[110:135, 72:88].max() < 20
            assert frame[100:140, 108:125].mean() > 120
    with pytest.raises(UserError, match=r"clip\.mp4: no face in frame 3; give without_face=skip"):
        masking(source, tmp_path / "other.mp4", "error").run()
    assert not (tmp_path / "other.mp4").exists()


def test_mask_task_no_face_writes_nothing(masking, tmp_path: Path) -> None:
    source = tmp_path / "wall.png"
    write_image(source, np.full((200, 200, 3), 90, np.uint8), mark=None)
    with pytest.raises(UserError, match="no face found in any"):
        masking(source, tmp_path / "mask.png").run()
    with pytest.raises(UserError, match=r"wall\.png: no face found; give without_face=skip"):
        masking(source, tmp_path / "mask.png", "error").run()
    assert not (tmp_path / "mask.png").exists()
