import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import cv2
import numpy as np
import pytest

from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.media.video import open_video
from facesmith.media.video_writer import VideoWriter
from facesmith.tasks.swap.analysis import AnalyzerPool
from facesmith.tasks.swap.config import MediaTaskConfig
from facesmith.tasks.swap.face_selection import Claim, FaceSelector
from facesmith.tasks.swap.video_processing import VideoProcessor, map_in_order, prefetch


def test_map_in_order_keeps_order():
    def work(i):
        time.sleep(0.01 if i % 3 == 0 else 0)
        return i * i

    with ThreadPoolExecutor(4) as pool:
        assert list(map_in_order(pool, work, range(40), 8)) == [i * i for i in range(40)]


def test_map_in_order_limits_depth():
    taken = []

    def source():
        for i in range(100):
            taken.append(i)
            yield i

    with ThreadPoolExecutor(2) as pool:
        results = map_in_order(pool, lambda i: i, prefetch(source(), 3), 4)
        assert next(results) == 0
        time.sleep(0.05)
        assert len(taken) <= 3 + 4 + 1
        results.close()


def test_prefetch_runs_source_on_own_thread():
    def source():
        yield threading.current_thread()

    assert next(prefetch(source(), 2)) is not threading.main_thread()


def test_prefetch_exception_passes_at_its_place():
    def source():
        yield 1
        raise OSError("cut short")

    stream = prefetch(source(), 3)
    assert next(stream) == 1
    with pytest.raises(OSError, match="cut short"):
        next(stream)

    with ThreadPoolExecutor(2) as pool:
        results = map_in_order(pool, lambda i: 1 // i, [1, 1, 0, 1], 2)
        with pytest.raises(ZeroDivisionError):
            list(results)


@pytest.mark.slow
def test_video_processor_continued_keeps_the_largest_of_two_like_faces(carphone_frames, tmp_path):
    """The man and his mirror image, of whom first one and then the other is a little larger."""

    def scaled(frame, scale):
        (height, width), large = frame.shape[:2], cv2.resize(frame, None, fx=scale, fy=scale)
        top, left = (large.shape[0] - height) // 2, (large.shape[1] - width) // 2
        return large[top : top + height, left : left + width]

    with VideoWriter(tmp_path / "film.mp4", fps=30, mark=None, crf=12) as writer:
        for i, frame in enumerate(carphone_frames[:100]):
            grown = 0.07 * min(max((i - 10) / 15, 0), 1)
            writer.write(np.hstack([scaled(frame, 1.14 - grown), scaled(frame[:, ::-1], 1.07 + grown)]))
    analyzers = AnalyzerPool(partial(MediaPipeAnalyzer, detector_sizes=[256], min_score=0.7))
    config = MediaTaskConfig.model_construct(smoothing=0.25, smoothing_order=2, max_gap=0.4, detect_every=8, workers=1)
    process = VideoProcessor(analyzers, lambda group: [None] * len(group), config)

    def boxes(start, largest=None):
        with open_video(tmp_path / "film.mp4") as reader:
            done = process(reader, range(start, 100), FaceSelector([Claim("largest")]), 0, largest)
            return {frame.number: frame.faces[0].face.box.tolist() for frame in done}

    whole = boxes(0)
    assert boxes(90, whole[89]) == {number: box for number, box in whole.items() if number >= 90}
    assert boxes(90)[90] != whole[90]
    analyzers.close()
