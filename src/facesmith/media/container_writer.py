"""A video file in the making: sound copied along, signed, and named only when it is whole."""

import errno
import io
import os
import shutil
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

from facesmith.errors import MediaError
from facesmith.media.packets import demux
from facesmith.media.provenance import Mark, sign_file
from facesmith.media.sound_clock import SoundClock
from facesmith.media.timeline import Timeline

_OPTIONS: Final = {
    ".mp4": {"movflags": "+faststart+use_metadata_tags"},
    ".mov": {"movflags": "+faststart+use_metadata_tags"},
    ".mkv": {},
}
_FORMATS: Final = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}


class ContainerWriter:
    """Writes packets into a hidden file beside `path`, which takes that name in `close`."""

    def __init__(self, path: Path, timeline: Timeline | None, *, mark: Mark | None, sound: bool = True) -> None:
        """Open the file.

        Args:
            path: .mp4, .mov or .mkv; parents are created.
            timeline: Of the pictures; None for none.
            mark: Goes into the container as metadata and, signed, as a manifest; None for what is not synthetic.
            sound: Whether the timeline's sound is copied.

        Raises:
            MediaError: another suffix, or the file cannot be written.
        """
        suffix = require_suffix(path)
        self.path = path
        self._mark = mark
        self._shift = timeline.shift if timeline else 0
        self._source: av.container.InputContainer | None = None
        self._audio: dict[int, AudioStream] = {}
        self._clocks: defaultdict[int, SoundClock] = defaultdict(lambda: SoundClock(timeline.jumps if timeline else ()))
        self._audio_packets: deque[Packet[Any]] = deque()
        self._open = True
        options = dict(_OPTIONS[suffix])
        if timeline is not None and "movflags" in options:
            # Else the time of the first picture is rounded to milliseconds.
            options["movie_timescale"] = str(max(timeline.time_base.denominator, 1000))
        self._temporary = path.with_name(f".{path.stem}.unfinished-{os.getpid()}{suffix}")
        with self._explain_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            self.container = av.open(str(self._temporary), "w", container_options=options)
        self.container.metadata.update(mark.metadata() if mark else {})
        if sound and timeline is not None and timeline.sound is not None:
            self._source = av.open(str(timeline.sound), metadata_errors="replace")

    def start(self) -> None:
        """Begin the file, once the video stream is there."""
        if self._source is not None:
            self._audio = _add_sound(self.container, self._source, self.path)
            if self._audio:
                self._audio_source = demux(self._source, self._source.streams.audio, [])
        with self._explain_errors():
            self.container.start_encoding()

    def mux(self, packet: "Packet[Any]") -> None:
        """Write a packet of video."""
        with self._explain_errors():
            self.container.mux(packet)

    def copy_sound(self, until: float | None) -> None:
        """Copy sound, interleaved with the pictures.

        Args:
            until: Seconds up to which it is copied; None: all that is left.
        """
        if not self._audio:
            return
        while (packet := self._next_sound()) is not None:
            if until is not None and float((packet.dts or 0) * packet.time_base) > until:
                self._audio_packets.append(packet)
                return
            packet.stream = self._audio[packet.stream_index]
            self.mux(packet)

    def _next_sound(self) -> "Packet[Any] | None":
        """Return the next packet of sound, on the clock of the pictures."""
        if self._audio_packets:
            return self._audio_packets.popleft()
        for packet in self._audio_source:
            if packet.size == 0 or packet.dts is None:
                continue
            moved = self._clocks[packet.stream_index].place(packet.pos, packet.dts * packet.time_base)
            if moved is None:
                continue
            offset = round((self._shift - moved) / packet.time_base)
            packet.dts -= offset
            packet.pts = packet.dts if packet.pts is None else packet.pts - offset
            return packet
        return None

    def close(self) -> None:
        """Finish the file, sign it and give it its name."""
        if not self._open:
            return
        try:
            with self._explain_errors():
                self.copy_sound(until=None)
                self.container.close()
                if self._mark is not None:
                    self._require_room()
                    sign_file(self._temporary, self._mark)
                with self._temporary.open("rb") as file:
                    os.fsync(file.fileno())
                self._temporary.replace(self.path)
        except BaseException:
            self.discard()
            raise
        self._open = False
        if self._source is not None:
            self._source.close()

    def discard(self) -> None:
        """Close without a result: the unfinished file is removed, an older one of the same name stays."""
        if not self._open:
            return
        self._open = False
        try:
            self.container.close()
        except (av.error.FFmpegError, OSError):
            pass  # a full disk; the file is thrown away
        finally:
            self._temporary.unlink(missing_ok=True)
            if self._source is not None:
                self._source.close()

    def _require_room(self) -> None:
        """Signing writes the file once more, and does not report a full disk."""
        if shutil.disk_usage(self.path.parent).free < self._temporary.stat().st_size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @contextmanager
    def _explain_errors(self) -> Iterator[None]:
        try:
            yield
        except (av.error.FFmpegError, OSError) as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            mend = "free some space" if full else "choose another output"
            raise MediaError(f"{self.path}: cannot be written ({error.strerror}); {mend}") from error


def require_suffix(path: Path) -> str:
    """Return the suffix of a video to be written, lower case.

    Raises:
        MediaError: it is none of .mp4, .mov, .mkv.
    """
    suffix = path.suffix.lower()
    if suffix not in _OPTIONS:
        raise MediaError(f"{path}: cannot write '{suffix}' videos; use one of {', '.join(_OPTIONS)}")
    return suffix


def require_sound_fits(path: Path, timeline: Timeline) -> None:
    """Make sure, before the work, that the container of `path` can hold the sound.

    Args:
        path: The video to be written.
        timeline: Names the file whose sound is copied.

    Raises:
        MediaError: it cannot.
    """
    if timeline.sound is None:
        return
    with (
        av.open(io.BytesIO(), "w", format=_FORMATS[require_suffix(path)]) as container,
        av.open(str(timeline.sound), metadata_errors="replace") as source,
    ):
        if _add_sound(container, source, path):
            try:
                container.start_encoding()
            except (av.error.FFmpegError, ValueError) as error:
                raise _unfit(path, source) from error


def _add_sound(container: OutputContainer, source: av.container.InputContainer, path: Path) -> dict[int, AudioStream]:
    try:
        return {audio.index: container.add_stream_from_template(audio) for audio in source.streams.audio}
    except (av.error.FFmpegError, ValueError) as error:
        raise _unfit(path, source) from error


def _unfit(path: Path, source: av.container.InputContainer) -> MediaError:
    contexts = [audio.codec_context for audio in source.streams.audio]
    codecs = ", ".join(dict.fromkeys(context.name if context else "this" for context in contexts))
    return MediaError(f"{path}: {path.suffix} cannot hold {codecs} sound; write an .mkv file")
