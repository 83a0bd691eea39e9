from pathlib import Path

import numpy as np
import pytest

from facesmith.errors import UserError
from facesmith.tasks.swap.time_range import check_moment, parse_scale, select_frames

TIMES = np.arange(250) / 25


def selected(start, end):
    frames = select_frames(Path("scene.mp4"), TIMES, 25.0, start, end)
    return frames.start, frames.stop


@pytest.mark.parametrize(
    ("start", "end", "frames"),
    [
        (None, None, (0, 250)),
        (2, 4.0, (50, 100)),
        (0.5, "2.02", (13, 51)),
        ("0:01", "0:00:03.2", (25, 80)),
        ("00:00:01:05", "00:00:02;00", (30, 50)),
        ("30f", "31f", (30, 31)),
        (9, 60, (225, 250)),
    ],
)
def test_select_frames_reads_all_forms(start, end, frames):
    assert selected(start, end) == frames


def test_select_frames_nothing_left_explains():
    with pytest.raises(UserError, match=r"scene.mp4: has no frame between task.start=4 and task.end=3; it lasts 10.00"):
        selected(4, 3)
    with pytest.raises(UserError, match="250 frames"):
        selected("300f", None)


@pytest.mark.parametrize("moment", ["soon", "-1", "1:2:3:4:5", "12x"])
def test_check_moment_other_words_raise(moment):
    with pytest.raises(ValueError, match="none of seconds"):
        check_moment(moment)


def test_parse_scale_keeps_sides_even():
    sizes = [size(1920, 1080) for size in map(parse_scale, (0.5, 720, "640x640", "0.333")) if size is not None]
    assert sizes == [(960, 540), (1280, 720), (640, 360), (640, 360)]
    assert parse_scale(None) is None
    for wrong in ("big", 0, -1, "0x0x"):
        with pytest.raises(ValueError, match="neither a factor"):
            parse_scale(wrong)
