import numpy as np
import pytest

from facesmith.media.sampling import allocate_frames, evenly_spaced


def test_allocate_frames_few_pictures_are_all_taken() -> None:
    assert allocate_frames([None, 3, None], 10) == [[0], [0, 1, 2], [0]]


def test_evenly_spaced_covers_whole_video() -> None:
    frames = evenly_spaced(9000, 1000)
    assert len(frames) == 1000
    assert set(np.diff(frames)) == {9}
    assert frames[0] == 4
    assert set(np.diff(evenly_spaced(9100, 1000))) == {9, 10}


@pytest.mark.parametrize("max_frames", [7, 50, 100, 333])
def test_allocate_frames_videos_share_rest_by_length(max_frames: int) -> None:
    chosen = allocate_frames([None, 1000, None, 3000, 5], max_frames)
    counts = [len(frames) for frames in chosen]
    assert sum(counts) == max_frames
    assert counts[0] == counts[2] == 1
    assert counts[4] >= 1
    assert counts[3] == pytest.approx(3 * counts[1], abs=3)


def test_allocate_frames_many_stills_leave_videos_a_frame() -> None:
    chosen = allocate_frames([None] * 500 + [1000], 100)
    assert sum(map(len, chosen)) == 100
    assert len(chosen[-1]) == 1
    taken = [i for i, frames in enumerate(chosen[:-1]) if frames]
    assert np.diff(taken).max() <= 6


def test_allocate_frames_more_videos_than_frames() -> None:
    assert sum(map(len, allocate_frames([10] * 7, 3))) == 3
    assert allocate_frames([0, 5], 3)[0] == []


def test_evenly_spaced_ends_includes_first_and_last() -> None:
    assert evenly_spaced(10, 4, ends=True) == [0, 3, 6, 9]
    assert evenly_spaced(3, 5, ends=True) == [0, 1, 2]
    assert evenly_spaced(5, 1, ends=True) == [0]
    assert evenly_spaced(0, 3, ends=True) == []
