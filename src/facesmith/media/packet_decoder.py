"""Decoding of stretches of a video, frame by frame with the packet that each comes from."""

import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import av
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from facesmith.media.packets import PacketFeed
from facesmith.media.video_index import VideoIndex

# Share of its bytes that a picture has from the one before it when nothing of its own was decoded.
_REPEATED: Final = 0.9


@dataclass(slots=True)
class Run:
    """Packets start..end in file order, decoded in one go for the wanted frames.

    Attributes:
        start: Place of the first packet.
        end: Place of the last packet.
        wanted: Places of packets and the numbers of their frames.
    """

    start: int
    end: int
    wanted: dict[int, int]


class PacketDecoder:
    """Decodes stretches of one video.

    Each packet goes in with its place as its time, which the decoder hands on to the frame: so a frame is known by its
    packet even where the file's times are wrong or absent.
    """

    def __init__(self, path: Path, index: VideoIndex, threads: int) -> None:
        """Open the file.

        Args:
            path: The file.
            index: Its index.
            threads: How many the decoder may use.

        Raises:
            MediaError: it cannot be opened.
        """
        self._index, self._threads = index, threads
        self._keys = np.flatnonzero(index.table.key).tolist()
        self._damage = index.damage.tolist()
        self._feed = PacketFeed(path, index.table)
        self._failed = -1  # place of the last packet of this run that did not decode well
        self._shown: VideoFrame | None = None
        self._set_up()

    def _set_up(self) -> None:
        self._context = self._feed.stream.codec_context
        self._context.thread_count = self._threads

    @property
    def start_time(self) -> int | None:
        """Start time of the file, in microseconds."""
        return self._feed.container.start_time

    @property
    def stream(self) -> VideoStream:
        """The stream whose packets are decoded."""
        return self._feed.stream

    def key_before(self, place: int) -> int:
        """Find the last keyframe at or before a packet that is not shown after it; 0 where there is none.

        Args:
            place: Of the packet.
        """
        pts = self._index.packet_pts
        at = bisect.bisect_right(self._keys, place) - 1
        while at >= 0 and pts[self._keys[at]] > pts[place]:
            at -= 1
        return int(self._keys[at]) if at >= 0 else 0

    def run(self, run: Run, *, exhaustive: bool = False) -> Iterator[tuple[int, VideoFrame, bool]]:
        """Decode packets start..end.

        Args:
            run: What to decode.
            exhaustive: Decode also pictures that no wanted one refers to.

        Yields:
            Of each wanted frame, as the decoder orders them, its number, the frame, and whether it may show errors: it
            is damaged itself, or follows damage in its group of pictures. A frame of which nothing but the one before
            could be shown is none.
        """
        self._go_to(run.start)
        self._context.flush_buffers()
        left = dict(run.wanted)
        self._failed = -1
        self._shown = None
        for place, packet in self._feed:
            if place < run.start:
                continue
            if place > run.end:
                break
            # A picture that no other refers to can be skipped without any change to the others.
            skip = not exhaustive and place not in left
            self._context.skip_frame = "NONREF" if skip else "DEFAULT"
            yield from self._take(self._decode(place, packet), left)
            if place == run.end:
                break
        self._context.skip_frame = "DEFAULT"
        yield from self._take(self._decode(run.end, None), left)

    def all_frames(self) -> Iterator[VideoFrame]:
        """Yield all frames from the first packet on, as the decoder gives them."""
        self._go_to(0)
        self._context.flush_buffers()
        self._context.skip_frame = "DEFAULT"
        for place, packet in self._feed:
            yield from self._decode(place, packet)
        yield from self._decode(len(self._index.table), None)

    def close(self) -> None:
        """Release the file."""
        self._feed.close()

    def _go_to(self, place: int) -> None:
        if self._feed.go_to(place):
            self._set_up()

    def _take(self, frames: list[VideoFrame], left: dict[int, int]) -> Iterator[tuple[int, VideoFrame, bool]]:
        for frame in frames:
            before, self._shown = self._shown, frame
            if frame.pts is None:
                continue
            if frame.is_corrupt:
                self._failed = max(self._failed, frame.pts)
                if before is not None and _is_repeated(before, frame):
                    continue
            index = left.pop(frame.pts, None)
            if index is not None:
                doubtful = self._is_doubtful(frame.pts)
                frame.pts = int(self._index.pts[index])
                yield index, frame, doubtful

    def _is_doubtful(self, place: int) -> bool:
        """Return whether damage lies between a packet and the keyframe before it."""
        key = self.key_before(place)
        damage = bisect.bisect_right(self._damage, place) - 1
        return key <= self._failed <= place or (damage >= 0 and key < self._damage[damage])

    def _decode(self, place: int, packet: "Packet[Any] | None") -> list[VideoFrame]:
        if packet is not None:
            packet.pts = place
        try:
            return self._context.decode(packet)
        except av.error.FFmpegError:
            self._failed = place
            return []  # frames missing because of it are recovered or reported by the reader


def _is_repeated(before: VideoFrame, frame: VideoFrame) -> bool:
    """Return whether a decoder concealed nearly all of a frame by the one before."""
    if (before.width, before.height, before.format.name) != (frame.width, frame.height, frame.format.name):
        return False
    a, b = (np.frombuffer(cast(Any, one.planes[0]), np.uint8) for one in (before, frame))
    return bool(a.shape == b.shape and (a == b).mean() > _REPEATED)
