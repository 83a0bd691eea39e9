"""Write a video that keeps everything of its source but the pictures."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, Self, cast

import av
import numpy as np
from av.packet import Packet
from av.video.format import VideoFormat
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream

from facesmith.errors import MediaError
from facesmith.media.colour import EXACT, RESIZE, ColourTags, colour_range, yuv_matrix
from facesmith.media.container_writer import ContainerWriter, require_sound_fits, require_suffix
from facesmith.media.encoders import CONTAINERS, Encoding, choose_encoder, choose_format, set_interlaced
from facesmith.media.picture_properties import PictureProperties
from facesmith.media.planes import PlaneFrame
from facesmith.media.provenance import Mark
from facesmith.media.timeline import Timeline

Size = tuple[int, int]
Scale = Callable[[int, int], Size]
"""From width and height of a picture to those that are written."""


class VideoWriter:
    """Writes a file that takes one frame per frame of a source, shown at the very same times.

    Time stamps (also variable ones), frame durations, shape of a pixel, colour matrix, range, primaries, transfer and
    HDR metadata of the source are kept. Frames come as they were decoded (`PlaneFrame`), and then go to the encoder bit
    for bit where it has their pixel format, under the rotation mark of the source; or as RGB, upright, and then
    10-bit sources become 10-bit files, odd sizes 4:4:4, and the file is upright too. Frames go to a file beside `path`
    that takes its name in `close`; an exception inside `with` removes it.
    """

    def __init__(
        self,
        path: str | Path,
        like: str | Path | Timeline | None = None,
        *,
        mark: Mark | None,
        sound: bool = True,
        fps: float = 25.0,
        crf: int = 17,
        preset: str = "medium",
        encoding: Encoding | None = None,
        scale: Scale | None = None,
    ) -> None:
        """Open the file.

        Args:
            path: .mp4, .mov or .mkv.
            like: Source of times, colours and sound; without it frames come at `fps`.
            mark: Signed provenance; None for media that are not synthetic.
            sound: Whether sound, subtitles, chapters and titles of `like` go along.
            fps: Frames a second without `like`.
            crf: Quality, 0 lossless .. 51, without `encoding`.
            preset: x264's preset, without `encoding`.
            encoding: Codec, encoder and quality; None for H.264.
            scale: Size in which a picture is written; None for its own.

        Raises:
            MediaError: another suffix, one that cannot hold the codec or the sound, or the file cannot be written.
        """
        self.path = Path(path)
        self._encoding = encoding or Encoding(crf=crf, preset=preset)
        require_codec_fits(self.path, self._encoding)
        self._encoder, _ = choose_encoder(self._encoding)
        self._timeline = Timeline.from_file(Path(like)) if isinstance(like, str | Path) else like
        self._rate = self._timeline.rate if self._timeline else Fraction(fps).limit_denominator(60000)
        self._time_base = self._timeline.time_base if self._timeline else 1 / self._rate
        self._tags = self._timeline.tags if self._timeline else None
        self._picture = self._timeline.picture if self._timeline else PictureProperties()
        self._scale = scale
        self._stream: VideoStream | None = None
        self._size: Size = (0, 0)
        self._next = 0
        if sound and self._timeline is not None:
            require_sound_fits(self.path, self._timeline.source)
        self._file = ContainerWriter(self.path, self._timeline, mark=mark, sound=sound)

    def write(self, picture: np.ndarray | PlaneFrame, index: int | None = None) -> None:
        """Write the next frame.

        Args:
            picture: (H, W, 3) uint8 RGB, upright, or a frame as it was decoded; all of one kind.
            index: Number of its source frame, where some in between were lost; must ascend.

        Raises:
            MediaError: frames of changing size, or more frames than the source has.
        """
        number = self._next if index is None else index
        if number < self._next or (self._timeline is not None and number >= len(self._timeline)):
            total = "" if self._timeline is None else f" of {len(self._timeline)}"
            raise MediaError(f"{self.path}: frame {number}{total} cannot be written after {self._next - 1}")
        size = picture_size(picture)
        if self._stream is None:
            self._size = size
            self._stream = self._start(picture, *self._scaled(picture, size))
        if size != self._size:
            raise MediaError(f"{self.path}: frame {number} has size {size}; all frames must be of one size")
        if isinstance(picture, PlaneFrame):
            made = self._from_planes(picture.frame, self._stream)
        else:
            made = self._from_rgb(picture, self._stream)
        made.pts = number if self._timeline is None else int(self._timeline.pts[number])
        made.time_base = self._time_base
        made.pict_type = 0  # the encoder decides
        self._next = number + 1
        self._mux(self._stream.encode(made))
        self._file.copy_sound(until=float(made.pts * self._time_base))

    @property
    def left_out(self) -> list[str]:
        """What of the source the container cannot hold, in a few words each; known after the first frame."""
        return self._file.left_out

    def close(self) -> None:
        """Finish the file and give it its name; without a frame written nothing is left behind."""
        if self._stream is None:
            self.discard()
            return
        try:
            self._mux(self._stream.encode(None))
            self._stream = None
        except BaseException:
            self.discard()
            raise
        self._file.close()

    def discard(self) -> None:
        """Close without a result: the unfinished file is removed, an older one of the same name stays."""
        self._file.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _start(self, picture: np.ndarray | PlaneFrame, width: int, height: int) -> VideoStream:
        encoding, name = self._encoding, self._encoder
        stream = cast(VideoStream, self._file.container.add_stream(name, rate=self._rate))
        stream.width, stream.height = width, height
        stream.options = dict(encoding.options(name, self._picture))
        stream.time_base = stream.codec_context.time_base = self._time_base
        context: Any = stream.codec_context
        if isinstance(picture, PlaneFrame):
            stream.pix_fmt = choose_format(name, picture.frame.format, width, height)
            if self._picture.display_matrix is not None:
                stream.set_display_matrix(self._picture.display_matrix)
        else:
            deep = self._tags is not None and self._tags.bits > 8
            wanted = "yuv420p10le" if deep else "yuv420p"
            stream.pix_fmt = choose_format(name, VideoFormat(wanted), width, height)
        if self._tags is not None:
            context.colorspace = self._tags.colorspace if self._tags.colorspace else 2  # 0 means RGB
            context.color_range = self._range(picture, self._tags)
            context.color_primaries = self._tags.color_primaries
            context.color_trc = self._tags.color_trc
        if self._picture.sample_aspect is not None:
            aspect = self._picture.sample_aspect
            turned = self._is_turned and not isinstance(picture, PlaneFrame)
            context.sample_aspect_ratio = 1 / aspect if turned else aspect
        if self._picture.interlaced and self._scale is None and isinstance(picture, PlaneFrame):
            set_interlaced(context, name)
        if self._timeline is not None:
            stream.metadata.update(self._timeline.tags_of_stream)
        self._file.start()
        return stream

    @staticmethod
    def _range(picture: np.ndarray | PlaneFrame, tags: ColourTags) -> int:
        """Return the range of the values: RGB sources, which are full, become YUV of limited range."""
        if isinstance(picture, PlaneFrame) and not picture.signal.full and tags.color_range == int(ColorRange.JPEG):
            return int(ColorRange.MPEG)
        return tags.color_range

    def _scaled(self, picture: np.ndarray | PlaneFrame, size: Size) -> Size:
        """Return width and height of what is written; `scale` counts in those of the picture as it is shown."""
        if self._scale is None:
            return size
        if isinstance(picture, PlaneFrame) and picture.orientation.transposed:
            height, width = self._scale(size[1], size[0])
            return width, height
        return self._scale(*size)

    @property
    def _is_turned(self) -> bool:
        matrix = self._picture.display_matrix
        return matrix is not None and abs(matrix[0]) + abs(matrix[4]) < abs(matrix[1]) + abs(matrix[3])

    def _from_rgb(self, rgb: np.ndarray, stream: VideoStream) -> av.VideoFrame:
        tags = self._tags
        full = tags is not None and tags.color_range == int(ColorRange.JPEG)
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24").reformat(
            width=stream.width,
            height=stream.height,
            format=stream.pix_fmt,
            src_color_range=ColorRange.JPEG,
            dst_colorspace=yuv_matrix(tags.colorspace if tags else 2, rgb.shape[0]),
            dst_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
            interpolation=EXACT,
            threads=1,
        )

    def _from_planes(self, frame: av.VideoFrame, stream: VideoStream) -> av.VideoFrame:
        if frame.format.name == stream.pix_fmt and (frame.width, frame.height) == (stream.width, stream.height):
            return frame
        matrix, used = yuv_matrix(int(frame.colorspace), frame.height), colour_range(frame)
        scaled = (frame.width, frame.height) != (stream.width, stream.height)
        return frame.reformat(
            width=stream.width,
            height=stream.height,
            format=stream.pix_fmt,
            src_colorspace=matrix,
            dst_colorspace=matrix,
            src_color_range=used,
            dst_color_range=used,
            interpolation=RESIZE if scaled else EXACT,
            threads=1,
        )

    def _mux(self, packets: "list[Packet[Any]]") -> None:
        for packet in packets:
            if self._timeline is not None and packet.pts is not None:
                pts, durations = self._timeline.pts, self._timeline.durations
                at = int(np.searchsorted(pts, round(packet.pts * packet.time_base / self._time_base)))
                if at < len(durations) and durations[at]:
                    packet.duration = round(int(durations[at]) * self._time_base / packet.time_base)
            self._file.mux(packet)


def picture_size(picture: np.ndarray | PlaneFrame) -> Size:
    """Return width and height of a picture in px, as it is stored."""
    if isinstance(picture, PlaneFrame):
        return picture.frame.width, picture.frame.height
    return picture.shape[1], picture.shape[0]


def require_codec_fits(path: Path, encoding: Encoding) -> None:
    """Make sure that the container of `path` can hold a codec.

    Args:
        path: The video to be written.
        encoding: Names the codec.

    Raises:
        MediaError: it cannot, or its suffix is unknown.
    """
    suffixes = CONTAINERS[encoding.codec]
    if require_suffix(path) not in suffixes:
        raise MediaError(
            f"{path}: {path.suffix} cannot hold codec={encoding.codec}; give an output (or task.suffix) of "
            f"{' or '.join(suffixes)}"
        )
