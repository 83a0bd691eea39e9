"""A video frame as it was decoded: its planes, and RGB of what is asked for."""

import math
from dataclasses import dataclass, field
from typing import Any, Final, cast

import cv2
import numpy as np
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

from facesmith.media.colour import EXACT, colour_range, to_rgb, yuv_matrix
from facesmith.media.colour_signal import ColourSignal, rgb_matrix
from facesmith.media.orientation import Orientation, orientation_of

Pixels = NDArray[np.uint8]
Codes = NDArray[np.integer[Any]]
Matrix = NDArray[np.float64]
Box = tuple[int, int, int, int]
"""Left, top, right, bottom in px; right and bottom are outside."""

_PLAIN: Final[dict[tuple[int, int], str]] = {
    (2, 2): "yuv420p",
    (2, 1): "yuv422p",
    (1, 1): "yuv444p",
}
_COARSE: Final = 0.8
"""A crop that shows more than so many px in one of its own, twice over, is cut out of a shrunk picture."""


@dataclass(frozen=True, slots=True)
class Plane:
    """One plane of a frame.

    Attributes:
        codes: (H, W) its values; writing into them changes the frame.
        to_frame: (2, 3) from its px to px of the first plane: where each sample lies.
    """

    codes: Codes
    to_frame: Matrix


@dataclass(slots=True)
class PlaneFrame:
    """A frame in the pixel format of its file; what nobody changes goes to the encoder bit for bit.

    Coordinates are those of the picture as it is shown, upright; (0, 0) is the centre of the top left pixel. Frames in
    formats that are not planar YUV or grey are converted to 4:2:0, or to the same subsampling where they have one.

    Attributes:
        frame: FFmpeg's frame, with its side data: captions, HDR, fields.
        orientation: How the stored picture is turned to be shown.
        signal: How code values mean colours.
    """

    frame: VideoFrame
    orientation: Orientation = field(init=False)
    signal: ColourSignal = field(init=False)

    def __post_init__(self) -> None:
        self.orientation = orientation_of(self.frame)
        self.frame = _to_planar(self.frame)
        frame, tags = self.frame, self.frame.format
        bits = max(component.bits for component in tags.components)
        # FFmpeg takes grey for full range, whatever it is tagged.
        full = colour_range(frame) == ColorRange.JPEG or tags.name.startswith("gray")
        codes = (int(frame.colorspace), int(frame.color_trc), int(frame.color_primaries))
        self.signal = ColourSignal.from_tags(codes, full, bits, frame.height)

    @classmethod
    def from_rgb(cls, rgb: Pixels) -> "PlaneFrame":
        """Return a picture (H, W, 3) RGB as 4:2:0 of limited range."""
        return cls(VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24"))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in px, upright."""
        frame = self.frame
        return (frame.width, frame.height) if self.orientation.transposed else (frame.height, frame.width)

    @property
    def planes(self) -> list[Plane]:
        """Luma, and the two planes of chroma where there are any."""
        return [self._plane(at) for at in range(3 if len(self.frame.planes) > 2 else 1)]

    @property
    def to_stored(self) -> Matrix:
        """(2, 3) from px of the picture as it is shown to px of the first plane."""
        turn = self.orientation.from_stored(self.frame.width, self.frame.height)
        return np.asarray(cv2.invertAffineTransform(turn), np.float64)

    def make_writable(self) -> None:
        """Make sure that nobody else, such as the decoder, sees what is written into the planes."""
        self.frame.make_writable()

    def luma_thumbnail(self, side: int) -> Pixels:
        """Return the picture's luma, shrunk to (side, side), in levels 0..255."""
        plane = self._plane(0).codes
        skip = max(1, min(plane.shape) // (4 * side))
        coarse = np.ascontiguousarray(plane[::skip, ::skip])
        small = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
        step = 1 << (self.signal.bits - 8)
        grey = small / step if self.signal.full else (small / step - 16) * (255 / 219)
        return self.orientation.apply(np.clip(np.rint(grey), 0, 255).astype(np.uint8))

    def rgb(self) -> Pixels:
        """Return the whole picture, upright, (H, W, 3) RGB; HDR as a standard display shows it."""
        picture = to_rgb(self.frame)
        if self.signal.is_hdr:
            picture = np.asarray(cv2.LUT(picture, self.signal.display_curve()), np.uint8)
        return self.orientation.apply(picture)

    def view(self, box: Box, shrink: int) -> tuple[Pixels, Box]:
        """Return part of the picture, upright, for analysis: fast, and exact to two levels or so.

        Args:
            box: What must be seen, px of the picture; it is widened to whole samples and cut at the border.
            shrink: Pixels along each side that become one.

        Returns:
            (H, W, 3) RGB uint8, and the box that it shows, `shrink` times as large.
        """
        height, width = self.frame.height, self.frame.width
        corners = np.array([[box[0], box[1]], [box[2] - 1, box[3] - 1]], float)
        turned = corners @ self.to_stored[:, :2].T + self.to_stored[:, 2]
        low, high = turned.min(0), turned.max(0) + 1
        step = max(shrink, *self._subsampling)
        step = step if step % shrink == 0 else step * shrink
        left, top = (max(int(value) // step * step, 0) for value in low)
        right = min(-(-math.ceil(high[0]) // step) * step, width)
        bottom = min(-(-math.ceil(high[1]) // step) * step, height)
        size = (max((right - left) // shrink, 1), max((bottom - top) // shrink, 1))
        right, bottom = min(left + size[0] * shrink, width), min(top + size[1] * shrink, height)
        picture = self._display([self._part(at, (left, top, right, bottom), size) for at in range(len(self.planes))])
        shown = np.array([[left, top], [right - 1, bottom - 1]], float)
        turn = self.orientation.from_stored(width, height)
        shown = shown @ turn[:, :2].T + turn[:, 2]
        first, last = shown.min(0), shown.max(0) + 1
        return self.orientation.apply(picture), (int(first[0]), int(first[1]), int(last[0]), int(last[1]))

    def cut(self, matrix: Matrix, size: int) -> Pixels:
        """Cut a crop out of the picture, upright, for analysis: fast, and exact to two levels or so.

        Args:
            matrix: (2, 3), picture to crop.
            size: Side of the crop in px.

        Returns:
            (size, size, 3) RGB uint8; outside the picture its border is repeated.
        """
        shrink = int(_COARSE / math.sqrt(abs(float(np.linalg.det(matrix[:, :2])))))
        if shrink > 1:
            return self._cut_coarsely(matrix, size, shrink)
        stored = self.orientation.from_stored(self.frame.width, self.frame.height)
        parts = []
        for plane in self.planes:
            turn = _chain(_chain(plane.to_frame, stored), matrix)
            part = cv2.warpAffine(plane.codes, turn, (size, size), borderMode=cv2.BORDER_REPLICATE)
            parts.append(self._shorten(np.asarray(part, plane.codes.dtype)))
        return self._display(parts)

    def _cut_coarsely(self, matrix: Matrix, size: int, shrink: int) -> Pixels:
        corners = np.array([[0, 0, 1], [size, 0, 1], [0, size, 1], [size, size, 1]], float)
        seen = corners @ cv2.invertAffineTransform(matrix).T
        height, width = self.shape
        low = np.clip(np.floor(seen.min(0)), 0, [width - 2 * shrink, height - 2 * shrink]).astype(int)
        high = np.clip(np.ceil(seen.max(0)), low + 2 * shrink, [width, height]).astype(int)
        picture, (left, top, *_) = self.view((int(low[0]), int(low[1]), int(high[0]), int(high[1])), shrink)
        middle = (shrink - 1) / 2
        grown = np.array([[shrink, 0.0, left + middle], [0, shrink, top + middle]])
        crop = cv2.warpAffine(picture, _chain(grown, matrix), (size, size), borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(crop, np.uint8)

    def _display(self, parts: list[Pixels]) -> Pixels:
        """Return planes of one size, shortened to 8 bits, as RGB."""
        if len(parts) == 1:
            picture = np.asarray(cv2.transform(cv2.merge([parts[0]] * 3), _grey_matrix(self.signal)), np.uint8)
        else:
            picture = np.asarray(cv2.transform(cv2.merge(parts), rgb_matrix(self.signal, 8)), np.uint8)
        if self.signal.is_hdr:
            picture = np.asarray(cv2.LUT(picture, self.signal.display_curve()), np.uint8)
        return picture

    def _shorten(self, codes: Codes) -> Pixels:
        """Return code values shortened to 8 bits."""
        if codes.dtype != np.uint8:
            codes = np.asarray(cv2.convertScaleAbs(codes, alpha=1 / (1 << (self.signal.bits - 8))), np.uint8)
        return np.asarray(codes, np.uint8)

    @property
    def _subsampling(self) -> tuple[int, int]:
        return _subsampling(self.frame.format) if len(self.frame.planes) > 2 else (1, 1)

    def _plane(self, at: int) -> Plane:
        plane = self.frame.planes[at]
        kind = np.dtype(np.uint8 if self.signal.bits == 8 else np.uint16)
        rows = np.frombuffer(cast(Any, plane), kind).reshape(-1, plane.line_size // kind.itemsize)
        codes = rows[: plane.height, : plane.width]
        across, down = self._subsampling if at else (1, 1)
        # Chroma of 4:2:0 and 4:2:2 lies on the left one of two columns and between two rows.
        return Plane(codes, np.array([[across, 0.0, 0], [0, down, (down - 1) / 2]]))

    def _part(self, at: int, box: Box, size: tuple[int, int]) -> Pixels:
        """Return part of a plane in `size` (width, height), shortened to 8 bits."""
        across, down = self._subsampling if at else (1, 1)
        left, top, right, bottom = box
        codes = self._plane(at).codes[top // down : -(-bottom // down), left // across : -(-right // across)]
        if codes.shape[::-1] != size:
            shrinks = codes.shape[1] >= size[0]
            how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            codes = np.asarray(cv2.resize(codes, size, interpolation=how), codes.dtype)
        return self._shorten(codes)


def _chain(first: Matrix, second: Matrix) -> Matrix:
    """Return the matrix that does the first, then the second."""
    turn = second[:, :2]
    return np.column_stack([turn @ first[:, :2], turn @ first[:, 2] + second[:, 2]])


def _grey_matrix(signal: ColourSignal) -> NDArray[np.float32]:
    scale, offset = (1.0, 0.0) if signal.full else (255 / 219, -16 * 255 / 219)
    return np.array([[scale, 0, 0, offset], [0, scale, 0, offset], [0, 0, scale, offset]], np.float32)


def is_plain(pixel_format: VideoFormat) -> bool:
    """Return whether a pixel format has luma and each chroma in planes of their own, 8 to 16 bits in host order."""
    names = pixel_format.name
    if pixel_format.is_rgb or pixel_format.has_palette or pixel_format.is_big_endian or "msb" in names:
        return False
    if not names.startswith(("yuv", "gray")) or names.startswith("grayf"):
        return False
    return pixel_format.is_planar or len(pixel_format.components) == 1


def _subsampling(pixel_format: VideoFormat) -> tuple[int, int]:
    """Return how many luma samples share one chroma sample, across and down."""
    return 64 // pixel_format.chroma_width(64), 64 // pixel_format.chroma_height(64)


def _to_planar(frame: VideoFrame) -> VideoFrame:
    """Return a frame whose format `is_plain`."""
    name = frame.format
    if is_plain(name) and all(plane.line_size > 0 for plane in frame.planes):
        return frame
    has_chroma = len(name.components) > 2 and not name.is_rgb and not name.has_palette
    plain = _PLAIN.get(_subsampling(name), "yuv420p") if has_chroma else "yuv420p"
    deep = max(component.bits for component in name.components) > 8
    keeps_range = colour_range(frame) if has_chroma else ColorRange.MPEG
    matrix = yuv_matrix(int(frame.colorspace), frame.height)
    return frame.reformat(
        format=f"{plain}10le" if deep else plain,
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=colour_range(frame) if has_chroma else ColorRange.JPEG,
        dst_color_range=keeps_range,
        interpolation=EXACT,
        threads=1,
    )
