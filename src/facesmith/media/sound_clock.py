"""Times of sound packets on the clock of the pictures, where a file's own clock begins anew on the way."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

_LONGEST_STEP: Final = 10  # seconds; a longer silence is believed when several packets agree
_WITNESSES: Final = 4


@dataclass(frozen=True, slots=True)
class SoundJump:
    """A place at which the clock of a file begins anew.

    Attributes:
        before: Position in the file of the last picture before it, in bytes.
        after: Position of the first picture after it.
        shift: Seconds added to the file's times from here on.
    """

    before: int
    after: int
    shift: Fraction


class SoundClock:
    """Follows the clock for one stream of sound."""

    def __init__(self, jumps: tuple[SoundJump, ...]) -> None:
        """Begin at the start of the file.

        Args:
            jumps: In order of the file.
        """
        self._jumps = jumps
        self._passed = 0
        self._far = 0  # packets in a row that lie far ahead
        self._last: Fraction | None = None

    def place(self, position: int | None, time: Fraction) -> Fraction | None:
        """Return what is added to a packet's times.

        Args:
            position: Of the packet in the file, in bytes; None when unknown.
            time: Its decoding time in seconds, by the file.

        Returns:
            Seconds; None when the packet would not come after the one before, or by a damaged time far behind it.
        """
        while self._passed < len(self._jumps) and position is not None and self._has_passed(position, time):
            self._passed += 1
        shift = self._shift(self._passed)
        if self._last is not None and time + shift <= self._last:
            return None
        if self._last is not None and time + shift > self._last + _LONGEST_STEP and self._far < _WITNESSES:
            self._far += 1
            return None
        self._far = 0
        self._last = time + shift
        return shift

    def _has_passed(self, position: int, time: Fraction) -> bool:
        jump = self._jumps[self._passed]
        if position >= jump.after:
            return True
        if position < jump.before or self._last is None:
            return False
        # Between the pictures on either side the sound's own clock tells: what it continues, it belongs to.
        old, new = time + self._shift(self._passed), time + jump.shift
        return abs(new - self._last) < abs(old - self._last)

    def _shift(self, passed: int) -> Fraction:
        return self._jumps[passed - 1].shift if passed else Fraction(0)
