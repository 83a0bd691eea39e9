"""Sampling of pictures: evenly from one medium, or a budget shared by several."""

from collections.abc import Sequence

import numpy as np


def evenly_spaced(length: int, count: int, *, ends: bool = False) -> list[int]:
    """Choose `count` of the numbers below `length`, at even distances.

    Args:
        length: how many there are to choose from.
        count: how many are chosen; all of them when there are no more.
        ends: begin with the first and end with the last one; else each comes from the middle of an equal share.

    Returns:
        The numbers, ascending, each once.
    """
    if count >= length:
        return list(range(length))
    if not ends:
        return [(2 * k + 1) * length // (2 * count) for k in range(count)]
    return [int(number) for number in np.linspace(0, length - 1, count).round()]


def allocate_frames(lengths: Sequence[int | None], max_frames: int) -> list[list[int]]:
    """Choose up to `max_frames` pictures, evenly over all media.

    Stills count one each; videos share what remains by their number of frames, but get one frame each at least, so that
    many stills cannot shut a video out. More stills than fit are thinned out evenly.

    Args:
        lengths: number of frames of each medium, None for a still.
        max_frames: how many pictures are chosen in all.

    Returns:
        The frame numbers of each medium, ascending; [0] for a chosen still.
    """
    stills = [i for i, length in enumerate(lengths) if length is None]
    videos = [i for i, length in enumerate(lengths) if length]
    reserved = min(len(videos), max_frames // 2 if stills else max_frames)
    chosen: list[list[int]] = [[] for _ in lengths]
    for k in evenly_spaced(len(stills), min(len(stills), max_frames - reserved)):
        chosen[stills[k]] = [0]
    left = max_frames - sum(map(len, chosen))
    frames = [lengths[i] or 0 for i in videos]
    for i, length, count in zip(videos, frames, _apportion(frames, left), strict=True):
        chosen[i] = evenly_spaced(length, count)
    return chosen


def _apportion(frames: Sequence[int], seats: int) -> list[int]:
    """Divide seats by size, largest remainder first: at least one each while they last, none above size."""
    total = sum(frames)
    if seats >= total:
        return list(frames)
    least = 1 if seats >= len(frames) else 0
    exact = [seats * size / total for size in frames]
    counts = [min(size, max(least, int(e))) for size, e in zip(frames, exact, strict=True)]
    by_need = sorted(range(len(frames)), key=lambda i: counts[i] - exact[i])
    while sum(counts) < seats:
        grown = [i for i in by_need if counts[i] < frames[i]][: seats - sum(counts)]
        for i in grown:
            counts[i] += 1
    while sum(counts) > seats:
        counts[max(range(len(frames)), key=lambda i: counts[i] - exact[i] if counts[i] > least else -1.0)] -= 1
    return counts
