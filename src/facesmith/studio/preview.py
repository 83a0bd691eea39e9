"""One frame before a film is rendered, drawn by a process of its own: what is heavy is loaded there, when it is asked.

The page stays small, and a crash of a library ends the preview alone.
"""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from facesmith.errors import UserError
from facesmith.studio.project import VIDEOS

if TYPE_CHECKING:
    from facesmith.faces.face import Analyzer, Face
    from facesmith.media.provenance import Mark
    from facesmith.models.onnx.occlusion import Occluder
    from facesmith.models.onnx.session import Swapper
    from facesmith.tasks.swap.config import SwapTaskConfig

Pixels = npt.NDArray[np.uint8]

_IDLE: Final = 600.0  # seconds after which the process ends
_LONGEST: Final = 1280  # px of the drawn frame's longer side
_STEPS: Final = 1000  # of the position along a film


@dataclass(frozen=True, kw_only=True)
class PreviewRequest:
    """What is drawn.

    Attributes:
        model: The swapper's file.
        target: A picture or a film.
        position: 0..1 along a film.
        select: largest, all, or a number from the left, from 0.
        profile: An identity profile, for models that take any.
        masks: Of `task.masks`.
        mask_blur: Of the box, 0..1.
        regions: Of the mask `region`.
        blend: linear, poisson or multiband.
        colour_match: Of the skin.
        pixel_boost: px, or 0 for the model's own.
        adapter: A folder of swap_lora, or "".
        adapter_scale: 0..2.
        occluder: An .onnx or asset, "" for none.
    """

    model: str
    target: str
    position: float = 0.3
    select: str = "largest"
    profile: str = ""
    masks: tuple[str, ...] = ("box", "occlusion")
    mask_blur: float = 0.3
    regions: tuple[str, ...] = ("mouth",)
    blend: str = "linear"
    colour_match: bool = False
    pixel_boost: int = 0
    adapter: str = ""
    adapter_scale: float = 1.0
    occluder: str = "asset:occluder_general.onnx"

    def words(self) -> list[str]:
        """Return the arguments of `facesmith infer` that swap like this."""
        from facesmith.studio.words import argument

        words = ["infer", "task=swap", argument("model", self.model)]
        usual = PreviewRequest(model=self.model, target=self.target)
        values: dict[str, object] = {
            "select": self.select,
            "profile": self.profile or None,
            "masks": list(self.masks),
            "mask_blur": self.mask_blur,
            "regions": list(self.regions),
            "blend": self.blend,
            "colour_match": self.colour_match,
            "pixel_boost": self.pixel_boost or None,
            "adapter": self.adapter or None,
            "adapter_scale": self.adapter_scale,
            "occluder": self.occluder or None,
        }
        before: dict[str, object] = {**vars(usual), "masks": list(usual.masks), "regions": list(usual.regions)}
        plain = {key: before[key] or None if key != "colour_match" else before[key] for key in values}
        if "region" not in self.masks:
            values["regions"] = plain["regions"]
        return words + [f"{key}={_value(value)}" for key, value in values.items() if value != plain[key]]


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


class PreviewWorker:
    """The process that draws; it begins with the first request and ends when nobody asks any more."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def draw(self, request: PreviewRequest) -> Preview:
        """Draw a frame.

        Args:
            request: What is drawn.

        Raises:
            UserError: A file cannot be used, or the process died.
        """
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            if self._pool is None:
                self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
            try:
                return self._pool.submit(draw, request).result()
            except BrokenProcessPool:
                self._pool = None
                raise UserError(f"{request.model}: the process that draws ended; try again, or another model") from None
            finally:
                self._timer = threading.Timer(_IDLE, self.close)
                self._timer.daemon = True
                self._timer.start()

    def close(self) -> None:
        """End the process."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)


def draw(request: PreviewRequest) -> Preview:
    """Draw a frame, in this process; what was loaded for the last one is kept.

    Args:
        request: What is drawn.

    Raises:
        UserError: A file cannot be used.
    """
    from facesmith.media.provenance import Mark
    from facesmith.models.onnx.source import find_source
    from facesmith.tasks.swap.frame_swap import make_frame_swapper

    began = time.monotonic()
    config = _settings(request)
    frame, frames = _read_frame(request.target, round(request.position * _STEPS))
    faces = _find_faces(request.target, round(request.position * _STEPS))
    chosen = select_faces(faces, request.select)
    model = _load(request.model, request.adapter, request.adapter_scale)
    profile = Path(request.profile) if request.profile else None
    source = find_source(
        *(model.info, Path(request.model)), profile=profile, photo=None, consent=config.consent, analyzer=_analyzer
    )
    occluder = _occluder(request.occluder) if request.occluder and "occlusion" in request.masks else None
    swapper = make_frame_swapper(model, config, source=source, occluder=occluder)
    after = swapper.swap(frame, chosen)
    mark = Mark(
        identity=source.identity,
        consent=source.consent,
        model_hash=_digest(request.model),
        title="preview of a swap",
        adapter=Path(request.adapter).name,
    )
    took = time.monotonic() - began
    return Preview(_shrink(frame), _shrink(after), len(faces), len(chosen), took, frames, mark)


def to_base64(picture: Pixels, mark: "Mark | None") -> str:
    """Return a picture as PNG in base64.

    Args:
        picture: (H,W,3) RGB.
        mark: Provenance of a picture that was made; None for a photograph.
    """
    import base64

    from facesmith.media.images import encode_image

    return base64.b64encode(encode_image(picture, ".png", mark=mark)).decode("ascii")


def select_faces(faces: "Sequence[Face]", select: str) -> "list[Face]":
    """Return the faces that are swapped.

    Args:
        faces: Of the frame.
        select: largest, all, or a number from the left, from 0.

    Raises:
        UserError: It is none of these.
    """
    from_left = sorted(faces, key=lambda face: float(face.box[0]))
    if select == "all" or not faces:
        return from_left
    if select == "largest":
        return [max(faces, key=lambda face: float((face.box[2] - face.box[0]) * (face.box[3] - face.box[1])))]
    if not str(select).isdecimal():
        raise UserError(f"select={select}: choose largest, all, or a number from the left: 0, 1, ...")
    return from_left[int(select) : int(select) + 1]


def _settings(request: PreviewRequest) -> "SwapTaskConfig":
    """Hold the controls against the settings of the task; the composition is kept, which is what takes time."""
    base = _composed(request.model, request.target)
    changes: dict[str, Any] = {
        "masks": list(request.masks),
        "mask_blur": request.mask_blur,
        "regions": list(request.regions),
        "blend": request.blend,
        "colour_match": request.colour_match,
        "pixel_boost": request.pixel_boost or None,
    }
    from pydantic import ValidationError

    try:
        return type(base).model_validate({**base.model_dump(by_alias=True), **changes})
    except ValidationError as error:
        raise UserError("; ".join(str(one["msg"]) for one in error.errors())) from None


@lru_cache(4)
def _composed(model: str, target: str) -> "SwapTaskConfig":
    from facesmith.cli.composition import load_config
    from facesmith.config.schema import InferConfig
    from facesmith.studio.words import quote_value
    from facesmith.tasks.swap.config import SwapTaskConfig

    given = [f"task.model={quote_value(model)}", f"source={quote_value(target)}", "output=preview.mp4"]
    task = load_config("infer", InferConfig, ["task=swap", *given]).task
    if not isinstance(task, SwapTaskConfig):
        raise UserError("task=swap: is not the swap task; remove what replaces it from conf/local")
    return task


@lru_cache(2)
def _load(model: str, adapter: str, scale: float) -> "Swapper":
    from facesmith.models.adapters.spec import load_adapters
    from facesmith.models.onnx.session import load_swapper

    adapters = load_adapters(Path(adapter), None, scale) if adapter else None
    return load_swapper(Path(model), adapters=adapters)


@lru_cache(2)
def _digest(model: str) -> str:
    from facesmith.media.provenance import file_sha256

    return file_sha256(Path(model))


@lru_cache(2)
def _occluder(named: str) -> "Occluder":
    from facesmith.models.onnx.occlusion import Occluder

    return Occluder(Path(named))


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


def _value(value: object) -> str:
    from facesmith.studio.words import quote_value

    return value if isinstance(value, str) and value.isdecimal() else quote_value(value)
