"""Exact reading of whatever FFmpeg opens, by presentation times, decoding as little as possible."""

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Self

import numpy as np
from av.video.frame import VideoFrame

from facesmith.errors import MediaError
from facesmith.media.carried_streams import carried_tags
from facesmith.media.colour import ColourTags, to_rgb
from facesmith.media.orientation import Orientation, orientation_of
from facesmith.media.packet_decoder import PacketDecoder, Run
from facesmith.media.picture_properties import PictureProperties
from facesmith.media.planes import PlaneFrame
from facesmith.media.video_index import VideoIndex, build_index, sorted_indices

# Missing frames that are recovered together, and thus held in memory.
_TOGETHER: Final = 16
# Attempts without a result after which the rest of a group of pictures is given up.
_FRUITLESS: Final = 3
# Stretches of lost frames that are told one by one.
_TOLD: Final = 8

log = logging.getLogger(__name__)


class PyAvReader:
    """Reads whatever FFmpeg reads: VFR, open GOP, mpegts, mkv, joined and damaged files; see `video.VideoReader`.

    A frame is taken by the packet that it comes from, so it is the right one whatever the container's seeking and its
    clock do. Between wanted frames, pictures that nothing refers to are not decoded, and stretches that no wanted frame
    depends on are not even fed to the decoder. Colour is that of `colour.to_rgb`; pixels are the stored ones (no
    correction of a pixel aspect ratio, no deinterlacing); frames of another size than the first are scaled to it.

    Attributes:
        index: Packets and frames of the file.
        times: (N,) presentation times in seconds, the first at 0.
        fps: Frames a second.
        colour: How the numbers of its frames mean colours.
        picture: What the file states of its picture beside the pixels.
        stream_tags: Language, title and time code of the video stream.
        width: px, upright.
        height: px, upright.
        doubtful: Numbers of frames given so far that follow damage and may show errors.
    """

    def __init__(self, path: Path, threads: int = 1, fast_colour: bool = False) -> None:
        """Open a file.

        Args:
            path: The file.
            threads: How many the decoder may use.
            fast_colour: See `video.open_video`.

        Raises:
            MediaError: it cannot be opened, or not one frame decodes.
        """
        self.path = path
        self.index: VideoIndex = build_index(path)
        self._undecodable: set[int] = set()
        self.doubtful: set[int] = set()
        self._resized: set[int] = set()
        self.times = self.index.times
        self.fps = self.index.fps
        self._threads = threads
        self._fast_colour = fast_colour
        self._decoder = PacketDecoder(path, self.index, threads)
        self._second: PacketDecoder | None = None
        self._fruitless, self._fruitless_start = 0, -1
        self._serial = 0
        self._told = False
        first = next(self._decoder.all_frames(), None)
        if first is None:
            raise MediaError(f"{path}: no frame could be decoded; replace or remove it")
        self.colour = ColourTags.from_frame(first)
        self.picture = PictureProperties.from_frame(first, self._decoder.stream)
        self.stream_tags = carried_tags(self._decoder.stream.metadata)
        self._orientation: Orientation = orientation_of(first)
        self._stored = width, height = first.width, first.height
        self.width, self.height = (height, width) if self._orientation.transposed else (width, height)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def lost(self) -> list[str]:
        """Unreadable parts: losses in the index, and frames that failed to decode so far."""
        self._told = True
        width, height = self._stored
        return [
            *self.index.lost,
            *self._stretches(self._undecodable, "cannot be decoded"),
            *self._stretches(self.doubtful, "follow damage and may show errors"),
            *self._stretches(self._resized, f"have another size and were scaled to {width}x{height}"),
        ]

    def _stretches(self, indices: set[int], what: str) -> list[str]:
        if not indices:
            return []
        numbers = np.array(sorted(indices), int)
        parts = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
        listed = [f"{part[0]}..{part[-1]}" if len(part) > 1 else f"{part[0]}" for part in parts[:_TOLD]]
        more = f" and others, {len(numbers)} in all" if len(parts) > _TOLD else ""
        return [f"frames {', '.join(listed)}{more} (from {self.times[numbers[0]]:.2f} s) {what}"]

    @property
    def start_time(self) -> int | None:
        """Start time of the file, in microseconds."""
        return self._decoder.start_time

    def frames(self, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the wanted frames in ascending order, see `VideoReader`."""
        return ((index, self._to_rgb(frame)) for index, frame in self._decoded(indices))

    def planes(self, indices: Sequence[int]) -> Iterator[tuple[int, PlaneFrame]]:
        """Yield the wanted frames in ascending order, as they were decoded.

        Args:
            indices: Numbers of frames; IndexError outside 0..N-1.

        Yields:
            Number and frame.
        """
        return ((index, PlaneFrame(frame)) for index, frame in self._decoded(indices))

    def close(self) -> None:
        """Release the file; what was lost and nobody asked for is logged."""
        if self._serial and not self._told and (lost := self.lost):
            log.warning("%s: %s", self.path, "; ".join(lost))
        self._told = True
        self._decoder.close()
        if self._second is not None:
            self._second.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _decoded(self, indices: Sequence[int]) -> Iterator[tuple[int, VideoFrame]]:
        wanted = sorted_indices(self.path, indices, len(self))
        self._serial += 1
        return self._guarded(self._counted(wanted) if self.index.counted else self._read(wanted), self._serial)

    def _to_rgb(self, frame: VideoFrame) -> np.ndarray:
        return self._orientation.apply(to_rgb(frame, self._fast_colour))

    def _guarded(self, frames: Iterator[tuple[int, VideoFrame]], serial: int) -> Iterator[tuple[int, VideoFrame]]:
        for index, frame in frames:
            yield index, self._sized(index, frame)
            if serial != self._serial:
                raise RuntimeError(f"{self.path}: the decoder is now used by a newer frames() call")

    def _sized(self, index: int, frame: VideoFrame) -> VideoFrame:
        """Scale a frame of another size than the first, as joined recordings have them."""
        if (frame.width, frame.height) == self._stored:
            return frame
        self._resized.add(index)
        return frame.reformat(*self._stored)

    def _read(self, wanted: list[int]) -> Iterator[tuple[int, VideoFrame]]:
        """Yield frames in ascending order, whatever the decoder does behind damage."""
        for run in self._plan(wanted):
            expected = deque(run.wanted.values())
            for index, frame, doubtful in self._decoder.run(run):
                missing = []
                while expected and expected[0] < index:
                    missing.append(expected.popleft())
                yield from self._recover(missing)
                if expected and expected[0] == index:
                    expected.popleft()
                    if doubtful:
                        self.doubtful.add(index)
                    yield index, frame
            yield from self._recover(list(expected))

    def _plan(self, wanted: list[int]) -> list[Run]:
        runs: list[Run] = []
        for index in wanted:
            place = int(self.index.packet[index])
            start = self._decoder.key_before(place)
            if runs and start <= runs[-1].end:
                runs[-1].end = max(runs[-1].end, place)
                runs[-1].wanted[place] = index
            else:
                runs.append(Run(start, place, {place: index}))
        return runs

    def _recover(self, missing: list[int]) -> Iterator[tuple[int, VideoFrame]]:
        """Decode frames that did not come out in their turn, on a second decoder that leaves no picture out."""
        for at in range(0, len(missing), _TOGETHER):
            part = missing[at : at + _TOGETHER]
            places = {int(self.index.packet[index]): index for index in part}
            found: dict[int, VideoFrame] = {}
            start = self._decoder.key_before(min(places))
            if self._fruitless < _FRUITLESS or start != self._fruitless_start:
                found = self._insist(places, start)
            for index in part:
                if index in found:
                    yield index, found[index]
                else:
                    self._undecodable.add(index)

    def _insist(self, places: dict[int, int], start: int) -> dict[int, VideoFrame]:
        if self._second is None:
            self._second = PacketDecoder(self.path, self.index, self._threads)
        found: dict[int, VideoFrame] = {}
        earlier = self._decoder.key_before(start - 1) if start else 0
        for begin in dict.fromkeys([start, earlier]):
            left = {place: index for place, index in places.items() if index not in found}
            if not left:
                break
            for index, frame, doubtful in self._second.run(Run(begin, max(left), left), exhaustive=True):
                found[index] = frame
                if doubtful:
                    self.doubtful.add(index)
        self._fruitless = 0 if found or start != self._fruitless_start else self._fruitless + 1
        self._fruitless_start = start
        return found

    def _counted(self, wanted: list[int]) -> Iterator[tuple[int, VideoFrame]]:
        left = set(wanted)
        for count, frame in enumerate(self._decoder.all_frames()):
            if count in left:
                left.discard(count)
                yield count, frame
            if not left:
                return
        self._undecodable |= left
