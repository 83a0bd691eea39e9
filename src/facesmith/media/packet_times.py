"""One clock for all packets of a video, whatever the file's own clock does: joined recordings, jumps, damage."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from facesmith.media.packets import UNKNOWN, PacketTable

# A step forward beyond it is no pause but another clock, where clocks begin anew; FFmpeg's own limit.
_LONGEST_STEP: Final = 10.0  # seconds
# A step back beyond it is another clock; less may be the muxer's carelessness.
_LONGEST_BACK: Final = 0.5  # seconds
# Packets after a step that decide whether the clock jumped or one time is wrong.
_WITNESSES: Final = 5
# Packets to either side whose times bracket that of one without.
_AROUND: Final = 4
# Below this share of usable times the file has no clock.
_FEWEST_TIMES: Final = 0.75
# Share of the bytes that a step in time would fill at the file's rate, from which on data were lost, not time.
_LOST_BYTES: Final = 0.25


@dataclass(frozen=True, slots=True)
class ClockJump:
    """A place at which the clock of a file begins anew.

    Attributes:
        place: Number of the first packet after it.
        shift: Added to the file's times from here on, in units of the stream's time base.
    """

    place: int
    shift: int


@dataclass(frozen=True)
class PacketTimes:
    """Presentation times on one clock.

    Attributes:
        pts: (M,) of each packet; UNKNOWN where the file does not tell. No two shown packets share one.
        shown: (M,) whether a packet gives a frame of the video.
        jumps: Where the file's own clock begins anew, in order.
        losses: Where times that the file only counts fall behind what was lost.
        guessed: How many times the file does not state, or wrongly.
        dropped: How many packets have no place in time.
    """

    pts: NDArray[np.int64]
    shown: NDArray[np.bool_]
    jumps: tuple[ClockJump, ...]
    losses: tuple[ClockJump, ...]
    guessed: int
    dropped: int


def place_in_time(table: PacketTable) -> PacketTimes | None:
    """Put all packets of a video on one clock.

    Args:
        table: The packets.

    Returns:
        Their times; None where the file has no usable ones, and only decoding shows the order of frames.
    """
    known = table.pts != UNKNOWN
    if not len(table) or known.mean() < _FEWEST_TIMES:
        return None
    losses: list[ClockJump] = []
    if table.numbers is not None:
        losses = counting_losses(table)
        late = np.where(table.dts != UNKNOWN, table.numbers - table.dts, 0)
        table = replace(table, pts=np.where(known, table.pts + late, UNKNOWN), dts=table.numbers)
    clock = np.where(table.dts != UNKNOWN, table.dts, table.pts)
    step = _usual_step(clock[clock != UNKNOWN])
    bad, jumps = _follow(table, clock, step)
    pts = table.pts.copy()
    for jump in jumps:
        pts[jump.place :] = np.where(known[jump.place :], table.pts[jump.place :] + jump.shift, UNKNOWN)
    pts[bad | ~known] = UNKNOWN
    shown = table.shown.copy()
    _forget_repeated(pts, shown)
    unknown = shown & (pts == UNKNOWN)
    if unknown.mean() > 1 - _FEWEST_TIMES:
        return None
    guessed = _fill(pts, shown, step)
    dropped = int((shown & (pts == UNKNOWN)).sum())
    shown &= pts != UNKNOWN
    return PacketTimes(pts, shown, tuple(jumps), tuple(losses), guessed, dropped)


def counting_losses(table: PacketTable) -> list[ClockJump]:
    """Return where times that an AVI only counts fall behind what was lost, and by how much."""
    if table.numbers is None:
        return []
    late = np.where(table.dts != UNKNOWN, table.numbers - table.dts, 0)
    places = np.flatnonzero(np.diff(late)) + 1
    return [ClockJump(int(place), int(late[place])) for place in places]


def _usual_step(times: NDArray[np.int64]) -> int:
    steps = np.diff(times)
    steps = steps[steps > 0]
    return max(1, int(np.median(steps))) if len(steps) else 1


def _follow(table: PacketTable, clock: NDArray[np.int64], step: int) -> tuple[NDArray[np.bool_], list[ClockJump]]:
    """Follow the clock through the file; return which packets' times are wrong, and where it begins anew."""
    unit = float(table.time_base)
    longest = max(int(_LONGEST_STEP / unit), 3 * step)
    back = max(int(_LONGEST_BACK / unit), 2 * step)
    bad = np.zeros(len(table), bool)
    jumps: list[ClockJump] = []
    shift = 0
    bad |= _apart(table, back)
    for place in _suspects(clock, longest):
        before = _last_good(clock, bad, place)
        if before < 0:
            continue
        start = jumps[-1].place if jumps else 0
        last = int(clock[before]) + shift
        shown = table.pts[start:place][(table.pts[start:place] != UNKNOWN) & ~bad[start:place]]
        latest = int(shown.max()) + shift if len(shown) else last
        now = int(clock[place]) + shift
        pts = int(table.pts[place])
        restarts = bool(table.key[place]) and pts != UNKNOWN and pts + shift <= latest and now <= last
        if not (restarts or now < last - back or now > last + longest):
            continue
        following = [at for at in range(place + 1, min(place + 1 + _WITNESSES, len(table))) if clock[at] != UNKNOWN]
        old = sum(last < int(clock[at]) + shift <= last + longest for at in following)
        if following and not restarts and old > len(following) / 2:
            bad[place] = True
            continue
        if not following and not restarts:
            bad[place] = True
            continue
        if now > last + longest and not _may_jump(table, before, place, now - last):
            continue
        shift += max(last + step - now, latest + step - pts - shift if pts != UNKNOWN else last + step - now)
        jumps.append(ClockJump(place, shift))
    return bad, jumps


def _apart(table: PacketTable, back: int) -> NDArray[np.bool_]:
    """Return which packets are shown long before they are decoded, or much longer after it than usual."""
    both = (table.pts != UNKNOWN) & (table.dts != UNKNOWN)
    delay = np.where(both, table.pts - table.dts, 0)
    if not both.any():
        return both
    usual = float(np.percentile(delay[both], 95))
    return both & ((delay < -back) | (delay > usual + 2 * back))


def _suspects(clock: NDArray[np.int64], longest: int) -> list[int]:
    """Return the places at which the clock does not step forward, or steps far."""
    known = np.flatnonzero(clock != UNKNOWN)
    steps = np.diff(clock[known])
    odd = np.flatnonzero((steps <= 0) | (steps > longest)) + 1
    return [int(known[at]) for at in odd]


def _last_good(clock: NDArray[np.int64], bad: NDArray[np.bool_], place: int) -> int:
    at = place - 1
    while at >= 0 and (bad[at] or clock[at] == UNKNOWN):
        at -= 1
    return at


def _may_jump(table: PacketTable, before: int, place: int, step: int) -> bool:
    """Return whether a long step forward is a jump of the clock: neither a pause nor damaged data in between."""
    if not table.resets:
        return False
    positions = table.position
    if positions[place] < 0 or positions[before] < 0:
        return True
    known = table.pts[: before + 1][table.pts[: before + 1] != UNKNOWN]
    span = int(known.max() - known.min()) if len(known) > 1 else 0
    if span <= 0:
        return True
    rate = (positions[before] - positions[0]) / span
    return bool(positions[place] - positions[before] < _LOST_BYTES * rate * step)


def _forget_repeated(pts: NDArray[np.int64], shown: NDArray[np.bool_]) -> None:
    """Forget times of shown packets that an earlier one has too."""
    places = np.flatnonzero(shown & (pts != UNKNOWN))
    order = places[np.argsort(pts[places], kind="stable")]
    again = order[1:][np.diff(pts[order]) == 0]
    pts[again] = UNKNOWN


def _fill(pts: NDArray[np.int64], shown: NDArray[np.bool_], step: int) -> int:
    """Give packets without a time the one place that is free around them; return how many got one."""
    filled = 0
    for place in np.flatnonzero(shown & (pts == UNKNOWN)):
        near = pts[max(0, place - 40) : place + 40]
        near = np.unique(near[near != UNKNOWN])
        if not len(near):
            continue
        around = pts[max(0, place - _AROUND) : place + _AROUND + 1]
        around = around[around != UNKNOWN]
        steps = np.diff(near)
        # In a hole of several frames it may be any of them.
        holes = np.flatnonzero((steps >= 1.5 * step) & (steps < 2.5 * step))
        holes = (
            holes[(near[holes] >= around.min() - step) & (near[holes] <= around.max())] if len(around) else holes[:0]
        )
        if len(holes) == 1:
            pts[place] = near[holes[0]] + step
            filled += 1
    return filled
