from pathlib import Path

import numpy as np
import pytest

from facesmith.errors import UserError
from facesmith.tasks.swap.time_range import check_moment, check_range, parse_scale, select_frames

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
    with pytest.raises(ValueError, match="must be seconds"):
        check_moment(moment)


def test_parse_scale_keeps_sides_even():
    sizes = [size(1920, 1080) for size in map(parse_scale, (0.5, 720, "640x640", "0.333")) if size is not None]
    assert sizes == [(960, 540), (1280, 720), (640, 360), (640, 360)]
    assert parse_scale(None) is None
    for wrong in ("big", 0, -1, "0x0x", "0x0", "0x720", 1e-9, 99999, "1280x20000"):
        with pytest.raises(ValueError, match="must be a factor"):
            parse_scale(wrong)


@pytest.mark.parametrize(("start", "end"), [(10, 5), (5, 5), ("1:00", "59"), ("100f", "50f"), (None, 0), (None, "0f")])
def test_check_range_end_before_start_raises(start, end):
    with pytest.raises(ValueError, match=f"end={end}: must be after start="):
        check_range(start, end)


@pytest.mark.parametrize(("start", "end"), [(5, 10), (10, "50f"), ("250f", 2.0), (3, None), (None, None), (None, 0.1)])
def test_check_range_what_only_the_video_tells_is_taken(start, end):
    check_range(start, end)
