"""The kinds of foreign swapper that can be used, and what each is fed: the table of FaceFusion 3.8."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Triple = tuple[float, float, float]
ARCFACE: Final = "arcface_w600k_r50"
ARCFACE_SIZE: Final = 512


@dataclass(frozen=True)
class SwapperType:
    """One kind of swapper: target (N,3,S,S) RGB in, output 0 alike.

    sizes: S in px, each with mean and std of target = (RGB/255 - mean) / std. template: of its crops.
    centred: the output is normalised like the target, else 0..1. source: what it is told about the person:
    `embedding` (L2-normalised ArcFace), `emap` (that times the file's last initializer), `converter` (the raw
    embedding through a crossface file), `unit_converter` (L2-normalised after that), or `photo` (RGB 0..1).
    photo: template and size of that picture.
    """

    sizes: Mapping[int, tuple[Triple, Triple]]
    template: str
    centred: bool
    source: Literal["embedding", "emap", "converter", "unit_converter", "photo"]
    photo: tuple[str, int] | None = None


_NONE: Final = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
_HALF: Final = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_IMAGENET: Final = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

TYPES: Final[Mapping[str, SwapperType]] = {
    "hyperswap": SwapperType({256: _HALF}, "arcface_128", True, "embedding"),
    "inswapper": SwapperType({128: _NONE}, "arcface_128", False, "emap"),
    "ghost": SwapperType({256: _HALF}, "arcface_112_v1", True, "converter"),
    "hififace": SwapperType({256: _HALF}, "mtcnn_512", True, "unit_converter"),
    "simswap": SwapperType({256: _IMAGENET, 512: _NONE}, "arcface_112_v1", False, "unit_converter"),
    "blendswap": SwapperType({256: _NONE}, "ffhq_512", False, "photo", ("arcface_112_v2", 112)),
    "uniface": SwapperType({256: _HALF}, "ffhq_512", True, "photo", ("ffhq_512", 256)),
}
