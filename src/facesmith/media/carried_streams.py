"""What a film carries beside its picture: sound, subtitles, attachments, chapters and titles, copied along."""

import re
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Self

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream

from facesmith.errors import MediaError
from facesmith.media.packets import demux
from facesmith.media.sound_clock import SoundClock, SoundJump

_MARKUP: Final = re.compile(rb"<[^<>]*>|\{\\[^{}]*\}")  # of SubRip: <i>, {\an8}
_PLAIN_STYLE: Final = (
    b"[Script Info]\nScriptType: v4.00+\nPlayResX: 384\nPlayResY: 288\n\n[V4+ Styles]\n"
    b"Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, "
    b"Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, "
    b"MarginV, Encoding\nStyle: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,0\n\n"
    b"[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
)
"""White letters below, as an ASS header: what a QuickTime text stream begins with."""

# Of the container they were read from, not of the film.
_TECHNICAL: Final = frozenset(
    ["major_brand", "minor_version", "compatible_brands", "encoder", "duration", "facesmith_mark", "software"]
)


class CarriedStreams:
    """Copies the streams of a source, but its picture, into a file that is being written.

    Packets are copied bit for bit; text subtitles of another container's kind are written in that of this one.

    Attributes:
        left_out: What the container cannot hold, in a few words each.
    """

    def __init__(
        self,
        source: Path,
        shift: Fraction,
        length: Fraction | None,
        jumps: tuple[SoundJump, ...],
        can_hold: Callable[[Stream, str], bool],
    ) -> None:
        """Open the source.

        Args:
            source: A film.
            shift: Seconds by which everything comes earlier.
            length: Seconds that the result lasts; None for all there is.
            jumps: Where the clock of the source begins anew.
            can_hold: Tells whether a container, by FFmpeg's name of it, takes a copy of a stream.

        Raises:
            MediaError: It cannot be opened.
        """
        self._path = source
        try:
            self._source: InputContainer = av.open(f"file:{source}", metadata_errors="replace")
        except (av.error.FFmpegError, OSError) as error:
            raise MediaError(f"{source}: cannot be opened again ({error.strerror}); check that it is there") from error
        self._shift, self._length, self._jumps = shift, length, jumps
        self._can_hold = can_hold
        self._clocks: defaultdict[int, SoundClock] = defaultdict(lambda: SoundClock(jumps))
        self.left_out: list[str] = []
        self._streams: dict[int, Stream] = {}
        self._converted: set[int] = set()
        self._to_mov = False
        self._waiting: deque[Any] = deque()
        self._packets: Iterator[Any] = iter(())

    def add_to(self, container: OutputContainer, suffix: str) -> None:
        """Add the streams, chapters and titles to a file of which nothing is written yet.

        Args:
            container: The file.
            suffix: Its kind, lower case.

        Raises:
            ValueError, FFmpegError: The container cannot hold the sound.
        """
        source = self._source
        for audio in source.streams.audio:
            self._streams[audio.index] = container.add_stream_from_template(audio)
        for subtitle in source.streams.subtitles:
            self._add_subtitle(container, subtitle, suffix)
        for stream in source.streams:
            if stream.type == "attachment":
                self._add_attachment(container, stream, suffix)
        for index, copy in self._streams.items():
            copy.metadata.update(carried_tags(source.streams[index].metadata))
            copy.disposition = source.streams[index].disposition
        titles = {key: value for key, value in source.metadata.items() if key.casefold() not in _TECHNICAL}
        if self._length is not None:
            tags = [titles, *(stream.metadata for stream in source.streams)]
            if any("timecode" in one for one in tags):
                self.left_out.append("the time code of another first frame")
            titles.pop("timecode", None)
        comment = next((titles.pop(key) for key in list(titles) if key.casefold() == "comment"), None)
        for key, value in titles.items():
            container.metadata.setdefault(key, value)
        if comment:
            mine = container.metadata.get("comment")
            container.metadata["comment"] = comment if mine in (None, comment) else f"{mine}\n{comment}"
        self._add_chapters(container)
        self._note_others()
        if self._streams:
            self._packets = demux(source, [source.streams[index] for index in self._streams], [])

    def copy(self, until: float | None) -> "Iterator[Packet[Any]]":
        """Yield packets for the file, in order.

        Args:
            until: Seconds up to which they are wanted; None for all that are left.
        """
        while self._streams:
            packet = self._waiting.popleft() if self._waiting else self._next_packet()
            if packet is None:
                return
            if until is not None and packet.dts * packet.time_base > until:
                self._waiting.append(packet)
                return
            placed = self._place(packet, packet.time_base)
            if placed is not None:
                yield placed

    def close(self) -> None:
        """Release the source."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _next_packet(self) -> Any:
        """Return the next packet, on the clock of the pictures; None at the end."""
        for packet in self._packets:
            if packet.size == 0 or packet.dts is None:
                continue
            moved = self._moved(packet)
            if moved is None:
                continue
            offset = round((self._shift - moved) / packet.time_base)
            packet.dts -= offset
            packet.pts = packet.dts if packet.pts is None else packet.pts - offset
            return packet
        return None

    def _moved(self, packet: Any) -> Fraction | None:
        """Return the seconds that a packet comes later where the clock began anew; None for one that is left out."""
        if self._source.streams[packet.stream_index].type == "audio":
            return self._clocks[packet.stream_index].place(packet.pos, packet.dts * packet.time_base)
        passed = [jump for jump in self._jumps if packet.pos is not None and packet.pos >= jump.after]
        return passed[-1].shift if passed else Fraction(0)

    def _place(self, packet: "Packet[Any]", base: Fraction) -> "Packet[Any] | None":
        """Return the packet at its time in the result; None where it lies outside."""
        index = packet.stream_index
        dts, pts = packet.dts or 0, packet.pts or 0
        duration = packet.duration or 0
        if self._length is not None and (pts * base >= self._length or (pts < 0 and pts + duration <= 0)):
            return None
        if self._length is not None and pts < 0:
            if self._source.streams[index].type != "subtitle":
                return None
            duration, dts, pts = pts + duration, 0, 0
        if index in self._converted:
            content = _converted(bytes(packet), to_mov=self._to_mov)
            if not content:
                return None  # a pause, which the other container does not write down
            packet = Packet(content)
            packet.time_base, packet.is_keyframe = base, True
        packet.duration = duration
        packet.dts, packet.pts = dts, pts
        packet.stream = self._streams[index]
        return packet

    def _add_subtitle(self, container: OutputContainer, subtitle: Any, suffix: str) -> None:
        context = subtitle.codec_context
        name = context.name if context else "unknown"
        if name == "mov_text" and suffix == ".mkv":
            self._streams[subtitle.index] = container.add_mux_stream("subrip", time_base=subtitle.time_base)
            self._converted.add(subtitle.index)
            return
        if name in ("subrip", "srt", "text") and suffix != ".mkv":
            self._to_mov = True
            stream = container.add_stream("mov_text")
            stream.codec_context.subtitle_header = _PLAIN_STYLE
            stream.time_base = stream.codec_context.time_base = subtitle.time_base
            self._streams[subtitle.index] = stream
            self._converted.add(subtitle.index)
            return
        if self._can_hold(subtitle, container.format.name):
            self._streams[subtitle.index] = container.add_stream_from_template(subtitle)
        else:
            language = f" ({subtitle.language})" if subtitle.language not in (None, "und") else ""
            self.left_out.append(f"{name} subtitles{language}")

    def _add_attachment(self, container: OutputContainer, stream: Any, suffix: str) -> None:
        name = stream.name or stream.metadata.get("filename", "attachment")
        if suffix != ".mkv":
            self.left_out.append(f"attachment {name}")
            return
        kind = stream.mimetype or "application/octet-stream"
        container.add_attachment(name, kind, stream.data)

    def _add_chapters(self, container: OutputContainer) -> None:
        chapters = []
        for chapter in self._source.chapters():
            base = chapter["time_base"] or Fraction(1, 1000)
            start, end = chapter["start"] * base - self._shift, chapter["end"] * base - self._shift
            if self._length is not None:
                start, end = max(start, Fraction(0)), min(end, self._length)
            if end > start >= 0:
                chapter["start"], chapter["end"] = round(start / base), round(end / base)
                chapters.append(chapter)
        if chapters:
            container.set_chapters(chapters)

    def _note_others(self) -> None:
        videos = 0
        has_chapters = bool(self._source.chapters())
        for stream in self._source.streams:
            name = stream.codec_context.name if stream.codec_context else ""
            if stream.type == "video":
                if stream.disposition & Disposition.attached_pic:
                    self.left_out.append("the cover picture")
                elif videos:
                    self.left_out.append(f"a further video stream ({name})")
                videos += not stream.disposition & Disposition.attached_pic
            elif stream.type == "data":
                label = stream.metadata.get("handler_name", stream.name or "unknown")
                if (has_chapters and "Subtitle" in label) or "timecode" in stream.metadata:
                    continue  # the muxer writes both anew
                self.left_out.append(f"a data stream ({label})")


def carried_tags(tags: dict[str, str]) -> dict[str, str]:
    """Return of a stream's tags those that belong to the film: language, title, handler and time code."""
    lower = {key.casefold(): value for key, value in tags.items()}
    title = lower.get("title") or lower.get("name")
    found = {key: lower[key] for key in ("language", "handler_name", "timecode") if key in lower}
    return found | ({"title": title} if title else {})


def _converted(content: bytes, *, to_mov: bool) -> bytes:
    """Return a text subtitle in the form of the other containers: QuickTime puts its length before it."""
    if to_mov:
        words = _MARKUP.sub(b"", content)
        return len(words).to_bytes(2, "big") + words if words else b""
    length = int.from_bytes(content[:2], "big")
    return content[2 : 2 + length]
