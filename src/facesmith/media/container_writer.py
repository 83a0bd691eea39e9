"""A video file in the making: sound copied along, signed, and named only when it is whole."""

import errno
import io
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import av
from av.packet import Packet
from av.stream import Stream

from facesmith.errors import DiskFullError, MediaError, free_bytes
from facesmith.files import FILE
from facesmith.media.carried_streams import CarriedStreams
from facesmith.media.provenance import Mark, sign_file
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
            sound: Whether the timeline's sound goes along, and with it subtitles, chapters and titles.

        Raises:
            MediaError: another suffix, or the file cannot be written.
        """
        suffix = require_suffix(path)
        self.path = path
        self._mark = mark
        self._carried: CarriedStreams | None = None
        self._open = True
        options = dict(_OPTIONS[suffix])
        if timeline is not None and "movflags" in options:
            # Else the time of the first picture is rounded to milliseconds.
            options["movie_timescale"] = str(max(timeline.time_base.denominator, 1000))
        # Of one length whatever the name: the longest names leave no room for more.
        self._temporary = path.with_name(f".unfinished-{os.getpid()}-{uuid.uuid4().hex[:8]}{suffix}")
        with self._explain_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._temporary.touch(FILE)  # its owner's alone from the first byte on
            self.container = av.open(f"file:{self._temporary}", "w", container_options=options)
        self.container.metadata.update(mark.metadata() if mark else {})
        if sound and timeline is not None and timeline.source is not None:
            self._carried = CarriedStreams(timeline.source, timeline.shift, timeline.length, timeline.jumps, can_hold)

    @property
    def left_out(self) -> list[str]:
        """What of the source the container cannot hold, in a few words each; known after `start`."""
        return self._carried.left_out if self._carried is not None else []

    def start(self) -> None:
        """Begin the file, once the video stream is there."""
        with self._explain_errors():
            if self._carried is not None:
                self._carried.add_to(self.container, self.path.suffix.lower())
            self.container.start_encoding()

    def mux(self, packet: "Packet[Any]") -> None:
        """Write a packet of video."""
        with self._explain_errors():
            self.container.mux(packet)

    def copy_sound(self, until: float | None) -> None:
        """Copy sound and subtitles, interleaved with the pictures.

        Args:
            until: Seconds up to which they are copied; None: all that is left.
        """
        if self._carried is not None:
            for packet in self._carried.copy(until):
                self.mux(packet)

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
        if self._carried is not None:
            self._carried.close()

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
            if self._carried is not None:
                self._carried.close()

    def _require_room(self) -> None:
        """Signing writes the file once more, and does not report a full disk."""
        if shutil.disk_usage(self.path.parent).free < self._temporary.stat().st_size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @contextmanager
    def _explain_errors(self) -> Iterator[None]:
        try:
            yield
        except (av.error.FFmpegError, OSError) as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFullError(self.path, None, free_bytes(self.path)) from error
            raise MediaError(f"{self.path}: cannot be written ({error.strerror}); choose another output") from error


def require_suffix(path: Path) -> str:
    """Return the suffix of a video to be written, lower case.

    Raises:
        MediaError: it is none of .mp4, .mov, .mkv.
    """
    suffix = path.suffix.lower()
    if suffix not in _OPTIONS:
        raise MediaError(f"{path}: cannot write '{suffix}' videos; use one of {', '.join(_OPTIONS)}")
    return suffix


def require_sound_fits(path: Path, source: Path | None) -> None:
    """Make sure, before the work, that the container of `path` can hold the sound.

    Args:
        path: The video to be written.
        source: Whose sound is copied; None for none.

    Raises:
        MediaError: It cannot.
    """
    if source is None:
        return
    container = av.open(io.BytesIO(), "w", format=_FORMATS[path.suffix.lower()])
    with container, av.open(f"file:{source}", metadata_errors="replace") as film:
        try:
            for audio in film.streams.audio:
                container.add_stream_from_template(audio)
            if film.streams.audio:
                container.start_encoding()
        except (av.error.FFmpegError, ValueError) as error:
            contexts = [audio.codec_context for audio in film.streams.audio]
            codecs = ", ".join(dict.fromkeys(context.name if context else "this" for context in contexts))
            raise MediaError(
                f"{path}: {path.suffix} cannot hold {codecs} sound; write an .mkv file (of a folder: task.suffix=.mkv)"
            ) from error


def can_hold(stream: Stream, kind: str) -> bool:
    """Return whether a container can begin with a copy of a stream: some refuse only then.

    Args:
        stream: Of an open file.
        kind: FFmpeg's name of the container.
    """
    try:
        with av.open(io.BytesIO(), "w", format=kind) as trial:
            trial.add_stream_from_template(stream)
            trial.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    return True
