"""Properties of a video's picture beside its pixels: shape of a pixel, rotation, fields, light of an HDR master."""

import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, cast

from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from facesmith.media.orientation import display_matrix, read_side_data

_DYNAMIC: Final = {
    "DOVI_METADATA": "Dolby Vision",
    "DOVI_RPU_BUFFER": "Dolby Vision",
    "DYNAMIC_HDR_PLUS": "HDR10+",
    "DYNAMIC_HDR_VIVID": "HDR Vivid",
}


@dataclass(frozen=True, slots=True)
class MasteringDisplay:
    """The display that an HDR video was mastered on (SMPTE ST 2086).

    Attributes:
        primaries: x and y of red, green and blue.
        white: x and y of the white point.
        luminance: Smallest and largest, in cd/m2.
    """

    primaries: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
    white: tuple[float, float]
    luminance: tuple[float, float]

    def x26x(self) -> str:
        """Return it as x264 and x265 take it: in steps of 0.00002, and 0.0001 cd/m2."""
        red, green, blue = (self._steps(point) for point in self.primaries)
        low, high = (round(value * 10000) for value in self.luminance)
        return f"G({green})B({blue})R({red})WP({self._steps(self.white)})L({high},{low})"

    def svt(self) -> str:
        """Return it as SVT-AV1 takes it."""
        red, green, blue = (f"{x:.5f},{y:.5f}" for x, y in self.primaries)
        x, y = self.white
        low, high = self.luminance
        return f"G({green})B({blue})R({red})WP({x:.5f},{y:.5f})L({high:.4f},{low:.4f})"

    @staticmethod
    def _steps(point: tuple[float, float]) -> str:
        return ",".join(str(round(value * 50000)) for value in point)


@dataclass(frozen=True, slots=True)
class PictureProperties:
    """What a video states of its picture.

    Attributes:
        sample_aspect: Width over height of a pixel; None where it is not stated.
        display_matrix: Nine numbers by which a stored picture is turned to be shown; None for none.
        interlaced: Whether frames are two fields.
        mastering: Display of an HDR master; None for none.
        content_light: Largest light of a pixel and of a frame's mean, in cd/m2; None where it is not stated.
        pixel_format: FFmpeg's name of the frames' format; "" where it is not known.
        dynamic: Names of metadata that change from frame to frame, which no encoder here takes.
    """

    sample_aspect: Fraction | None = None
    display_matrix: tuple[int, ...] | None = None
    interlaced: bool = False
    mastering: MasteringDisplay | None = None
    content_light: tuple[int, int] | None = None
    pixel_format: str = ""
    dynamic: tuple[str, ...] = ()

    @classmethod
    def from_frame(cls, frame: VideoFrame, stream: VideoStream) -> "PictureProperties":
        """Read the properties of a frame and its stream."""
        aspect = stream.sample_aspect_ratio
        light = read_side_data(frame, "CONTENT_LIGHT_LEVEL")
        present = [name for key, name in _DYNAMIC.items() if read_side_data(frame, key) is not None]
        return cls(
            sample_aspect=Fraction(aspect) if aspect else None,
            display_matrix=display_matrix(frame),
            interlaced=bool(frame.interlaced_frame),
            mastering=_mastering(read_side_data(frame, "MASTERING_DISPLAY_METADATA")),
            content_light=None if light is None else cast(tuple[int, int], struct.unpack("=II", light[:8])),
            pixel_format=frame.format.name,
            dynamic=tuple(dict.fromkeys(present)),
        )


def _mastering(data: bytes | None) -> MasteringDisplay | None:
    """Read FFmpeg's AVMasteringDisplayMetadata; None where it states only half."""
    if data is None or len(data) < 88:
        return None
    numbers = struct.unpack("=20i2i", data[:88])
    if not all(numbers[20:]) or not all(numbers[1:20:2]):
        return None
    values = [numbers[at] / numbers[at + 1] for at in range(0, 20, 2)]
    red, green, blue = ((values[at], values[at + 1]) for at in (0, 2, 4))
    return MasteringDisplay((red, green, blue), (values[6], values[7]), (values[8], values[9]))
