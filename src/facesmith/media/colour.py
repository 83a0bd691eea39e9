"""Colours of video frames: to RGB uint8 and back."""

from dataclasses import dataclass

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation

_MATRICES = {1: Colorspace.ITU709, 4: Colorspace.FCC, 5: Colorspace.ITU601, 6: Colorspace.ITU601,
             7: Colorspace.SMPTE240M, 9: Colorspace.BT2020, 10: Colorspace.BT2020}  # fmt: skip
_HD_HEIGHT = 576
_FAST = Interpolation.BILINEAR
# Without these flags swscale truncates: every pass would darken the picture by one level in 255.
_EXACT_TO_RGB = Interpolation.BILINEAR | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND
EXACT = _EXACT_TO_RGB | Interpolation.FULL_CHR_H_INP  # which matters on the way back only, and costs a tenth
RESIZE = Interpolation.LANCZOS | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP


@dataclass(frozen=True, slots=True)
class ColourTags:
    """Colour description of a frame: ITU-T H.273 codes, as FFmpeg numbers them; bits: of the deepest channel."""

    colorspace: int
    color_range: int
    color_primaries: int
    color_trc: int
    bits: int

    @classmethod
    def from_frame(cls, frame: VideoFrame) -> "ColourTags":
        """Read the tags of a frame."""
        return cls(
            int(frame.colorspace),
            int(frame.color_range),
            int(frame.color_primaries),
            int(frame.color_trc),
            max(component.bits for component in frame.format.components),
        )


def yuv_matrix(colorspace: int, height: int) -> Colorspace:
    """Return the YUV matrix of a frame; untagged ones have BT.709 above 576 lines, BT.601 below, as in players."""
    unknown = Colorspace.ITU709 if height > _HD_HEIGHT else Colorspace.ITU601
    return _MATRICES.get(colorspace, unknown)


def to_rgb(frame: VideoFrame, fast: bool = False) -> np.ndarray:
    """Convert a frame of any pixel format to RGB, full range, through swscale.

    The frame's own matrix (BT.601, BT.709, BT.2020) and range (limited or full) are used; 10- and 12-bit is rounded to
    8. The transfer function and primaries are left as they are: HDR (PQ, HLG) is not tone-mapped, so it looks flat, but
    `VideoWriter` writes it back under the same tags and it displays as before.

    Args:
        frame: Any frame.
        fast: Take a quarter of the time, and be one level in 255 too dark.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    if frame.format.name in ("rgb24", "gray"):
        return np.ascontiguousarray(frame.to_ndarray(format="rgb24"))
    rgb = frame.reformat(
        format="rgb24",
        src_colorspace=yuv_matrix(int(frame.colorspace), frame.height),
        src_color_range=colour_range(frame),
        dst_color_range=ColorRange.JPEG,
        interpolation=_FAST if fast else _EXACT_TO_RGB,
        threads=1,
    )
    return rgb.to_ndarray()


def colour_range(frame: VideoFrame) -> ColorRange:
    """Return the range of a frame: limited (MPEG) unless it is tagged full, or its pixel format (yuvj...) does."""
    full = int(frame.color_range) == int(ColorRange.JPEG) or frame.format.name.startswith("yuvj")
    return ColorRange.JPEG if full else ColorRange.MPEG
