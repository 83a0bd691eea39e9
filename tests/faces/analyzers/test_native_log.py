import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from facesmith.faces.analyzers.native_log import filter_stderr
from facesmith.methods.video_lora.pose_landmarks import PoseLandmarker


def test_filter_stderr_noise_is_dropped_and_the_rest_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    with filter_stderr():
        os.write(2, b"W0000 00:00:1 chatter\nINFO: Created TensorFlow Lite XNNPACK delegate\nan error\n")
        assert capfd.readouterr().err == ""
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "an error\nafterwards\n"


def test_filter_stderr_overlapping_threads_restore_it_once(capfd: pytest.CaptureFixture[str]) -> None:
    first_is_in, second_is_in = threading.Event(), threading.Event()

    def first() -> None:
        with filter_stderr():
            os.write(2, b"first\n")
            first_is_in.set()
            second_is_in.wait(10)
        os.write(2, b"while the second is in\n")

    def second() -> None:
        first_is_in.wait(10)
        with filter_stderr():
            second_is_in.set()
            one.join()
            os.write(2, b"I0000 chatter\nsecond\n")

    one, other = threading.Thread(target=first), threading.Thread(target=second)
    one.start()
    other.start()
    other.join()
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "first\nwhile the second is in\nsecond\nafterwards\n"


def test_landmarker_several_threads_keep_stderr() -> None:
    program = """
import os, threading
from facesmith import assets
from facesmith.faces.analyzers.landmarker import Landmarker

def start():
    Landmarker(assets.fetch("face_landmarker.task")).close()

threads = [threading.Thread(target=start) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
os.write(2, b"an error\\n")
raise SystemExit("another error")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "an error\nanother error\n"


def test_pose_landmarker_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    landmarker = PoseLandmarker()
    landmarker(np.zeros((64, 64, 3), np.uint8), 0)
    landmarker.close()
    assert capfd.readouterr().err == ""
