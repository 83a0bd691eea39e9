"""One frame before a film is rendered, drawn by a process of its own: what is heavy is loaded there, when it is asked.

The page stays small, and a crash of a library ends the preview alone.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from facesmith.errors import UserError
from facesmith.studio.project import VIDEOS
from facesmith.studio.swap_request import SwapRequest

if TYPE_CHECKING:
    from facesmith.faces.face import Analyzer, Face
    from facesmith.media.provenance import Mark
    from facesmith.models.adapters.spec import AdapterSpec
    from facesmith.models.onnx.occlusion import Occluder
    from facesmith.models.onnx.session import Swapper
    from facesmith.tasks.swap.config import CastEntry, SwapTaskConfig
    from facesmith.tasks.swap.enhancer import Enhancer
    from facesmith.tasks.swap.frame_swap import FrameSwapper

Pixels = npt.NDArray[np.uint8]

IDLE: Final = 600.0
"""Seconds without a call after which the process that draws may end."""
LIMIT: Final = 600.0
"""Seconds that a frame may take, the loading of its models included."""
_LONGEST: Final = 1280  # px of the drawn frame's longer side
_STEPS: Final = 1000  # of the position along a film
_MODELS: Final = 3  # that are kept loaded


@dataclass(frozen=True)
class Preview:
    """A drawn frame.

    Attributes:
        before: (H,W,3) RGB.
        after: Of the same size.
        faces: How many there are.
        swapped: How many were swapped.
        seconds: It took.
        frames: Of the film; 1 of a picture.
        mark: Provenance of `after`.
    """

    before: Pixels
    after: Pixels
    faces: int
    swapped: int
    seconds: float
    frames: int
    mark: "Mark"


def draw(request: SwapRequest) -> Preview:
    """Draw a frame, in this process; what was loaded for the last one is kept.

    Args:
        request: What is drawn.

    Raises:
        UserError: A file cannot be used.
    """
    from facesmith.tasks.swap.canvas import RgbCanvas
    from facesmith.tasks.swap.cast import Cast
    from facesmith.tasks.swap.face_selection import FaceSelector

    began = time.monotonic()
    config = _settings(request)
    place = round(request.position * _STEPS)
    frame, frames = _read_frame(request.target, place)
    faces = _find_faces(request.target, place)
    cast = Cast(config.entries(), analyzer=_analyzer, watch=_analyzer(), load=_load_entry)
    chosen = FaceSelector(cast.claims)(dict(enumerate(faces)))
    after = frame.copy()
    cast.swap_in_place([(RgbCanvas(after), chosen)])
    mark = cast.mark("preview of a swap")
    took = time.monotonic() - began
    return Preview(_shrink(frame), _shrink(after), len(faces), len(chosen), took, frames, mark)


def draw_encoded(request: SwapRequest) -> dict[str, Any]:
    """Draw a frame for other programs.

    Args:
        request: What is drawn.

    Returns:
        How many `faces` there are and were `swapped`, the `seconds` it took, and `before` and `after` as PNG in base64.

    Raises:
        UserError: A file cannot be used.
    """
    drawn = draw(request)
    pictures = {"before": to_base64(drawn.before, None), "after": to_base64(drawn.after, drawn.mark)}
    return {"faces": drawn.faces, "swapped": drawn.swapped, "seconds": drawn.seconds, **pictures}


def to_base64(picture: Pixels, mark: "Mark | None") -> str:
    """Return a picture as PNG in base64.

    Args:
        picture: (H,W,3) RGB.
        mark: Provenance of a picture that was made; None for a photograph.
    """
    import base64

    from facesmith.media.images import encode_image

    return base64.b64encode(encode_image(picture, ".png", mark=mark)).decode("ascii")


def _settings(request: SwapRequest) -> "SwapTaskConfig":
    """Hold the controls against the settings of the task; the composition is kept, which is what takes time."""
    from pydantic import ValidationError

    base = _composed(request.target)
    try:
        return type(base).model_validate({**base.model_dump(by_alias=True), **request.settings()})
    except ValidationError as error:
        raise UserError("; ".join(str(one["msg"]) for one in error.errors())) from None


@lru_cache(4)
def _composed(target: str) -> "SwapTaskConfig":
    from facesmith.cli.composition import load_config
    from facesmith.config.schema import InferConfig
    from facesmith.studio.words import quote_value
    from facesmith.tasks.swap.config import SwapTaskConfig

    given = ["task.model=any.onnx", f"source={quote_value(target)}", "output=preview.mp4"]
    task = load_config("infer", InferConfig, ["task=swap", *given]).task
    if not isinstance(task, SwapTaskConfig):
        raise UserError("task=swap: is not the swap task; remove what replaces it from conf/local")
    return task


def _load_entry(entry: "CastEntry", analyzer: "Callable[[], Analyzer]") -> "FrameSwapper":
    """Put a swapper together as the task does; what takes long to load is kept from frame to frame."""
    from facesmith.models.onnx.source import find_source
    from facesmith.tasks.swap.frame_swap import make_frame_swapper

    adapters = entry.adapter if isinstance(entry.adapter, list) else filter(None, [entry.adapter])
    weights = None if entry.adapter_weights is None else tuple(entry.adapter_weights)
    spec, model = _load(
        *(entry.model, tuple(adapters), weights, entry.adapter_scale),
        *(entry.model_type, entry.converter, entry.raw_length, entry.morph),
    )
    source = find_source(
        *(model.info, entry.model),
        profile=entry.profile,
        photo=entry.source_photo,
        consent=entry.consent,
        analyzer=analyzer,
    )
    occluder = _occluder(entry.occluder) if entry.occluder is not None and "occlusion" in entry.masks else None
    enhancer = None if entry.enhancer is None else _enhancer(entry.enhancer, entry.enhancer_blend)
    return make_frame_swapper(model, entry, source=source, occluder=occluder, enhancer=enhancer, adapters=spec)


@lru_cache(_MODELS)
def _load(
    path: Path,
    adapters: tuple[Path, ...],
    weights: tuple[float, ...] | None,
    scale: float,
    kind: str,
    converter: Path | None,
    raw_length: float,
    morph: float,
) -> "tuple[AdapterSpec | None, Swapper]":
    from facesmith.models.adapters.spec import load_adapters
    from facesmith.models.onnx.session import load_swapper

    spec = load_adapters(adapters, weights, scale)
    model = load_swapper(path, model_type=kind, converter=converter, raw_length=raw_length, morph=morph, adapters=spec)
    return spec, model


@lru_cache(2)
def _occluder(path: Path) -> "Occluder":
    from facesmith.models.onnx.occlusion import Occluder

    return Occluder(path)


@lru_cache(2)
def _enhancer(path: Path, strength: float) -> "Enhancer":
    from facesmith.tasks.swap.enhancer import Enhancer

    return Enhancer(path, strength=strength)


@lru_cache(1)
def _analyzer() -> "Analyzer":
    from facesmith.cli.composition import load_config
    from facesmith.config.schema import InferConfig
    from facesmith.training.run.log import silence_libraries

    silence_libraries()
    given = ["task=mask", "source=asset:astronaut.png", "output=preview.png"]
    made: Analyzer = load_config("infer", InferConfig, given).analyzer.build()
    return made


@lru_cache(8)
def _read_frame(target: str, position: int) -> tuple[Pixels, int]:
    from facesmith import assets
    from facesmith.media.images import read_image
    from facesmith.media.video import open_video

    path = Path(assets.resolve(target))
    if path.suffix.lower() not in VIDEOS:
        return read_image(path), 1
    with open_video(path, "pyav") as reader:
        number = min(len(reader) - 1, position * len(reader) // _STEPS)
        _, picture = next(iter(reader.frames([number])))
        return np.asarray(picture, np.uint8), len(reader)


@lru_cache(8)
def _find_faces(target: str, position: int) -> "tuple[Face, ...]":
    frame, _ = _read_frame(target, position)
    return tuple(_analyzer()(frame))


def _shrink(picture: Pixels) -> Pixels:
    import cv2

    scale = _LONGEST / max(picture.shape[:2])
    if scale >= 1:
        return picture
    return np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
