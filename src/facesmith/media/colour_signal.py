"""Code values of a video to the colours that a display shows, and back, in floating point."""

import functools
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# Shares of red and blue in luma by ITU-T H.273 matrix code.
_LUMA: Final = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
_HD_HEIGHT: Final = 576
_PQ, _HLG = 16, 18
HDR_TRANSFERS: Final = (_PQ, _HLG)
_BT2020: Final = 9
_WHITE: Final = 203.0  # cd/m2 of diffuse white in HDR, ITU-R BT.2408
_HLG_PEAK, _HLG_GAMMA = 1000.0, 1.2  # of the nominal display, ITU-R BT.2100
_KNEE: Final = 0.8  # linear light up to which HDR is shown as it is; what is brighter is compressed
_MOST: Final = 0.995  # of the compressed range that can be expanded again
_TO_709: Final = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)  # ITU-R BT.2087, linear light
_TO_2020: Final = np.linalg.inv(_TO_709).astype(np.float32)


@dataclass(frozen=True, slots=True)
class ColourSignal:
    """How code values of a frame mean colours.

    Attributes:
        matrix: ITU-T H.273 code of the YUV matrix.
        transfer: ITU-T H.273 code of the transfer function.
        primaries: ITU-T H.273 code of the primaries.
        full: Whether code values use the full range.
        bits: Of a code value.
    """

    matrix: int
    transfer: int
    primaries: int
    full: bool
    bits: int

    @classmethod
    def from_tags(cls, tags: tuple[int, int, int], full: bool, bits: int, height: int) -> "ColourSignal":
        """Return the signal of a frame; a matrix that is not stated is BT.709 above 576 lines, BT.601 below.

        Args:
            tags: H.273 codes of matrix, transfer function and primaries.
            full: Whether it uses the full range.
            bits: Of a code value.
            height: Of the frame in px.
        """
        matrix, transfer, primaries = tags
        if matrix not in _LUMA:
            matrix = 1 if height > _HD_HEIGHT else 6
        return cls(matrix, transfer, primaries, full, bits)

    @property
    def is_hdr(self) -> bool:
        """Whether the transfer function is PQ or HLG."""
        return self.transfer in HDR_TRANSFERS

    @property
    def maximum(self) -> int:
        """The largest code value."""
        return (1 << self.bits) - 1

    def to_display(self, codes: Floats) -> Floats:
        """Convert code values to what a standard display shows: gamma-encoded RGB.

        PQ and HLG are shown with diffuse white at 203 cd/m2; what is brighter is compressed, colours outside BT.709
        are clipped.

        Args:
            codes: (..., 3) YUV.

        Returns:
            (..., 3) RGB in 0..255, not rounded; of standard range also beyond that.
        """
        signal = _transform(codes, *_to_rgb(self))
        if not self.is_hdr:
            return signal
        light = self._to_light(np.clip(signal / 255, 0, 1))
        if self.primaries == _BT2020:
            light = light @ _TO_709.T
        return np.asarray(_encode_srgb(_compress(np.maximum(light, 0))) * 255, np.float32)

    def from_display(self, rgb: Floats) -> Floats:
        """Convert gamma-encoded RGB to code values: the inverse of `to_display`.

        Args:
            rgb: (..., 3) in 0..255.

        Returns:
            (..., 3) YUV, not rounded.
        """
        signal = rgb
        if self.is_hdr:
            light = _expand(_decode_srgb(np.clip(rgb / 255, 0, 1)))
            if self.primaries == _BT2020:
                light = light @ _TO_2020.T
            signal = self._from_light(np.maximum(light, 0)) * 255
        return _transform(np.asarray(signal, np.float32), *_from_rgb(self))

    def _to_light(self, signal: Floats) -> Floats:
        """Return linear light, 1 for diffuse white, of an HDR signal in 0..1."""
        if self.transfer == _PQ:
            return _decode_pq(signal) * np.float32(10000 / _WHITE)
        scene = _decode_hlg(signal)
        luma = np.maximum(scene @ _luma_weights(_BT2020), 1e-6)[..., None]
        return np.asarray(scene * luma ** (_HLG_GAMMA - 1) * (_HLG_PEAK / _WHITE), np.float32)

    def _from_light(self, light: Floats) -> Floats:
        if self.transfer == _PQ:
            return _encode_pq(light * np.float32(_WHITE / 10000))
        shown = light * np.float32(_WHITE / _HLG_PEAK)
        luma = np.maximum(shown @ _luma_weights(_BT2020), 1e-9)[..., None]
        scene = shown * luma ** ((1 - _HLG_GAMMA) / _HLG_GAMMA)
        return _encode_hlg(np.asarray(scene, np.float32))

    def display_curve(self) -> NDArray[np.uint8]:
        """Return what a standard display shows of each 8-bit RGB level, (256,), without a change of primaries."""
        levels = np.arange(256, dtype=np.float32)
        if not self.is_hdr:
            return levels.astype(np.uint8)
        grey = np.asarray(np.repeat(levels[:, None] / 255, 3, axis=1), np.float32)
        return np.rint(_encode_srgb(_compress(self._to_light(grey)))[:, 0] * 255).astype(np.uint8)


def _transform(values: Floats, turn: Floats, offset: Floats) -> Floats:
    """Return turn @ value + offset of values (..., 3)."""
    flat = np.ascontiguousarray(values, np.float32).reshape(1, -1, 3)
    return np.asarray(cv2.transform(flat, np.column_stack([turn, offset])), np.float32).reshape(values.shape)


def _luma_weights(matrix: int) -> Floats:
    red, blue = _LUMA[matrix]
    return np.array([red, 1 - red - blue, blue], np.float32)


@functools.lru_cache(maxsize=32)
def _from_rgb(signal: ColourSignal) -> tuple[Floats, Floats]:
    """Return matrix (3, 3) and offset (3,) from RGB 0..255 to code values."""
    weights = _luma_weights(signal.matrix).astype(np.float64)
    red, blue = _LUMA[signal.matrix]
    unit = np.stack(
        [
            weights,
            (np.array([0, 0, 1]) - weights) / (2 * (1 - blue)),
            (np.array([1, 0, 0]) - weights) / (2 * (1 - red)),
        ]
    )
    step = 1 << (signal.bits - 8)
    middle = 128 * step
    if signal.full:
        scale, offset = np.full(3, float(signal.maximum)), np.array([0.0, middle, middle])
    else:
        scale, offset = np.array([219.0, 224.0, 224.0]) * step, np.array([16.0 * step, middle, middle])
    return (unit * (scale / 255)[:, None]).astype(np.float32), offset.astype(np.float32)


@functools.lru_cache(maxsize=32)
def _to_rgb(signal: ColourSignal) -> tuple[Floats, Floats]:
    """Return matrix (3, 3) and offset (3,) from code values to RGB 0..255."""
    turn, offset = _from_rgb(signal)
    back = np.linalg.inv(turn.astype(np.float64))
    return back.astype(np.float32), (-back @ offset).astype(np.float32)


def rgb_matrix(signal: ColourSignal, bits: int) -> Floats:
    """Return the matrix (3, 4) from code values that were shortened to `bits` to RGB 0..255, for `cv2.transform`."""
    turn, offset = _to_rgb(signal)
    return np.column_stack([turn * np.float32(1 << (signal.bits - bits)), offset]).astype(np.float32)


def _compress(light: Floats) -> Floats:
    """Return light 0.. as 0..1: the same up to the knee, then ever less."""
    room = np.float32(1 - _KNEE)
    above = np.maximum(light - np.float32(_KNEE), 0) / room
    return np.asarray(np.minimum(light, np.float32(_KNEE)) + room * (1 - np.exp(-above)), np.float32)


def _expand(shown: Floats) -> Floats:
    room = np.float32(1 - _KNEE)
    above = np.clip((shown - np.float32(_KNEE)) / room, 0, np.float32(_MOST))
    return np.asarray(np.minimum(shown, np.float32(_KNEE)) - room * np.log1p(-above), np.float32)


def _encode_srgb(light: Floats) -> Floats:
    curve = 1.055 * np.maximum(light, 1e-8) ** np.float32(1 / 2.4) - 0.055
    return np.asarray(np.where(light <= 0.0031308, 12.92 * light, curve), np.float32)


def _decode_srgb(signal: Floats) -> Floats:
    curve = ((np.maximum(signal, 0) + 0.055) / 1.055) ** np.float32(2.4)
    return np.asarray(np.where(signal <= 0.04045, signal / 12.92, curve), np.float32)


# SMPTE ST 2084
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32


def _decode_pq(signal: Floats) -> Floats:
    """Return light 0..1 of 10,000 cd/m2."""
    power = signal.astype(np.float64) ** (1 / _M2)
    light = (np.maximum(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1)
    return np.asarray(light, np.float32)


def _encode_pq(light: Floats) -> Floats:
    power = np.clip(light, 0, 1).astype(np.float64) ** _M1
    return np.asarray(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2, np.float32)


# ITU-R BT.2100, HLG
_A, _B, _C = 0.17883277, 0.28466892, 0.55991073


def _decode_hlg(signal: Floats) -> Floats:
    """Return scene light 0..1."""
    return np.asarray(np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - _C) / _A) + _B) / 12), np.float32)


def _encode_hlg(light: Floats) -> Floats:
    light = np.clip(light, 0, 1)
    curve = _A * np.log(np.maximum(12 * light - _B, 1e-6)) + _C
    return np.asarray(np.where(light <= 1 / 12, np.sqrt(3 * light), curve), np.float32)
