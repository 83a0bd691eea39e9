"""Video encoders by codec: their options, their pixel formats, and what to do where one cannot be opened."""

import functools
import os
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal, cast

import av
from av.video.codeccontext import VideoCodecContext
from av.video.format import VideoFormat
from av.video.frame import VideoFrame

from facesmith.errors import MediaError
from facesmith.media.picture_properties import PictureProperties

Codec = Literal["h264", "hevc", "av1", "prores", "ffv1"]
EncoderChoice = Literal["auto", "x264", "nvenc", "videotoolbox", "qsv"]

SOFTWARE: Final = {"h264": "libx264", "hevc": "libx265", "av1": "libsvtav1", "prores": "prores_ks", "ffv1": "ffv1"}
CONTAINERS: Final = {
    "h264": (".mp4", ".mov", ".mkv"),
    "hevc": (".mp4", ".mov", ".mkv"),
    "av1": (".mp4", ".mkv"),
    "prores": (".mov", ".mkv"),
    "ffv1": (".mkv",),
}
"""Suffixes that can hold a codec, the usual one first."""

_PRESETS: Final = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
_INTERLACED_DCT, _INTERLACED_ME = 1 << 18, 1 << 29  # AV_CODEC_FLAG_...
_KEEPS_FIELDS: Final = ("libx264", "prores_ks")
_KEEPS_LIGHT: Final = ("libx264", "libx265", "libsvtav1")
_TRIAL: Final = (256, 256)  # px; hardware encoders refuse smaller pictures
os.environ.setdefault("SVT_LOG", "1")  # errors only


@dataclass(frozen=True)
class Encoding:
    """How pictures are encoded.

    Attributes:
        codec: The codec.
        encoder: Who encodes: auto is the software encoder of the codec.
        crf: Quality, 0 lossless .. 51; ProRes and FFV1 have none.
        preset: Speed, in x264's names.
    """

    codec: Codec = "h264"
    encoder: EncoderChoice = "auto"
    crf: int = 17
    preset: str = "medium"

    def options(self, name: str, picture: PictureProperties) -> dict[str, str]:
        """Return the options of an encoder, with the light of an HDR master where it takes that.

        Args:
            name: FFmpeg's name of the encoder.
            picture: Properties of the source.
        """
        at = _PRESETS.index(self.preset)
        light = picture.content_light
        if name == "libx264":
            x264 = {"mastering-display": picture.mastering.x26x()} if picture.mastering else {}
            x264 |= {"cll": f"{light[0]},{light[1]}"} if light else {}
            return {"crf": str(self.crf), "preset": self.preset} | _joined("x264-params", x264)
        if name == "libx265":
            x265 = {"log-level": "error", "repeat-headers": "1"}
            x265 |= {"master-display": picture.mastering.x26x(), "hdr10": "1"} if picture.mastering else {}
            x265 |= {"max-cll": f"{light[0]},{light[1]}"} if light else {}
            return {"crf": str(self.crf), "preset": self.preset} | _joined("x265-params", x265)
        if name == "libsvtav1":
            svt = {"mastering-display": picture.mastering.svt()} if picture.mastering else {}
            svt |= {"content-light": f"{light[0]},{light[1]}"} if light else {}
            speed = {"crf": str(round(self.crf * 63 / 51)), "preset": str(12 - at)}
            return speed | _joined("svtav1-params", svt)
        if name.endswith("_nvenc"):
            return {"preset": f"p{max(1, min(7, at))}", "rc": "vbr", "cq": str(max(self.crf, 1)), "b": "0"}
        if name.endswith("_qsv"):
            return {"global_quality": str(max(self.crf, 1))}
        if name.endswith("_videotoolbox"):
            return {} if self.codec == "prores" else {"constant_bit_rate": "0", "q": str(round(100 - 1.6 * self.crf))}
        return {"level": "3", "slicecrc": "1"} if name == "ffv1" else {}

    @property
    def segment_suffix(self) -> str:
        """Suffix of a container that holds the codec; Matroska rounds times to milliseconds, so it comes last."""
        return next(suffix for suffix in (".mp4", ".mov", ".mkv") if suffix in CONTAINERS[self.codec])


def _joined(key: str, values: dict[str, str]) -> dict[str, str]:
    return {key: ":".join(f"{name}={value}" for name, value in values.items())} if values else {}


def choose_encoder(encoding: Encoding) -> tuple[str, str | None]:
    """Return FFmpeg's name of the encoder, and a sentence where it is not the one that was asked for.

    A hardware encoder is tried on one small picture; where it cannot be opened the software encoder takes its place.

    Args:
        encoding: What is asked for.
    """
    software = SOFTWARE[encoding.codec]
    if encoding.encoder in ("auto", "x264"):
        return software, None
    name = f"{encoding.codec}_{encoding.encoder}"
    problem = _try_encoder(name)
    if problem is None:
        return name, None
    return software, f"encoder={encoding.encoder}: {name} cannot be used here ({problem}); {software} encodes instead"


@functools.cache
def _try_encoder(name: str) -> str | None:
    """Encode one grey picture; return why that is impossible, None where it is not."""
    try:
        codec = av.Codec(name, "w")
    except ValueError:
        return "this FFmpeg has no such encoder"
    formats = [each.name for each in codec.video_formats or ()]
    context = cast(VideoCodecContext, VideoCodecContext.create(name, "w"))
    context.width, context.height = _TRIAL
    context.pix_fmt = "yuv420p" if "yuv420p" in formats else "nv12"
    context.time_base = Fraction(1, 25)
    context.framerate = Fraction(25)
    try:
        frame = VideoFrame(*_TRIAL, context.pix_fmt)
        frame.pts = 0
        context.encode(frame)
        context.encode(None)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        return (getattr(error, "strerror", None) or str(error)).strip() or "no such device"
    return None


def choose_format(name: str, source: VideoFormat, width: int, height: int) -> str:
    """Return the pixel format in which an encoder takes frames, as near to their own as it has.

    Args:
        name: FFmpeg's name of the encoder.
        source: Format of the frames.
        width: Of a frame in px.
        height: Of a frame in px.

    Raises:
        MediaError: The encoder has no format for pictures of odd sides.
    """
    formats = av.Codec(name, "w").video_formats or ()
    odd = bool(width % 2 or height % 2) and name != "ffv1"
    usable = [each for each in formats if each.name.startswith(("yuv", "gray", "nv12", "p010"))]
    usable = [each for each in usable if not each.name.startswith(("grayf", "yuyv", "yuv444p10msb"))]
    if name == "libx265":  # players do not know its second layer
        usable = [each for each in usable if not _has_alpha(each)]
    if odd:
        usable = [each for each in usable if _grid(each) == (1, 1)]
    if not usable:
        raise MediaError(f"{name} cannot encode pictures of {width}x{height} px; give codec=h264, or task.scale=<even>")
    return min(usable, key=lambda each: _loss(source, each)).name


def _loss(source: VideoFormat, target: VideoFormat) -> tuple[float, ...]:
    """Return what a conversion loses, worst first, then what it adds."""
    if source.name == target.name:
        return (0.0,) * 6
    mine, its = _grid(source), _grid(target)
    coarser = max(its[0] / mine[0], 1) * max(its[1] / mine[1], 1)
    bits, kept = (max(component.bits for component in each.components) for each in (source, target))
    colour = len(source.components) > 2
    loses_colour = colour and len(target.components) < 3
    return (
        float(loses_colour),
        coarser - 1 + max(bits - kept, 0) / 8,
        float(_has_alpha(source) and not _has_alpha(target)),
        float(len(target.components) != len(source.components)),
        mine[0] / its[0] * mine[1] / its[1] + (kept - bits) / 16,
        float(not target.name.startswith("yuv")) + float(target.name.startswith("yuvj")) / 2,
    )


def _has_alpha(pixel_format: VideoFormat) -> bool:
    return any(component.is_alpha for component in pixel_format.components)


def _grid(pixel_format: VideoFormat) -> tuple[int, int]:
    if len(pixel_format.components) < 3 or pixel_format.is_rgb:
        return 1, 1
    return 64 // pixel_format.chroma_width(64), 64 // pixel_format.chroma_height(64)


def set_interlaced(context: VideoCodecContext, name: str) -> bool:
    """Make an encoder keep the two fields of a frame apart; return whether it can."""
    if name not in _KEEPS_FIELDS:
        return False
    context.flags |= _INTERLACED_DCT | _INTERLACED_ME
    return True


def lost_properties(picture: PictureProperties, encoding: Encoding, suffix: str) -> list[str]:
    """Return what is not kept of a picture's properties, one sentence each.

    Args:
        picture: Of the source.
        encoding: Names the codec.
        suffix: Of the container, lower case.
    """
    name, _ = choose_encoder(encoding)
    lost = [f"{dynamic} metadata change from frame to frame and are left out" for dynamic in picture.dynamic]
    if picture.interlaced and name not in _KEEPS_FIELDS:
        lost.append(f"codec={encoding.codec} does not mark its fields; give codec=h264 or task.deinterlace=true")
    if (picture.mastering or picture.content_light) and name not in _KEEPS_LIGHT:
        lost.append(f"{name} holds no HDR mastering metadata; they are left out")
    if picture.pixel_format:
        source = VideoFormat(picture.pixel_format, *_TRIAL)
        stored = VideoFormat(choose_format(name, source, *_TRIAL), *_TRIAL)
        if any(_loss(source, stored)[:2]) and not source.is_rgb:
            lost.append(f"{name} stores {stored.name}, the source has {source.name}")
        elif encoding.codec == "h264" and max(component.bits for component in stored.components) > 8:
            lost.append("few players show h264 of more than 8 bits; codec=hevc is shown by most")
        if _has_alpha(source) and not _has_alpha(stored):
            lost.append(f"codec={encoding.codec} holds no transparency; codec=prores and ffv1 do")
    aspect = picture.sample_aspect
    if aspect not in (None, 1) and suffix == ".mkv" and encoding.codec not in ("h264", "hevc"):
        lost.append(f"the shape of its pixels ({aspect}) is not kept by {encoding.codec} in .mkv; play it accordingly")
    return lost
