"""Swap the faces of one frame: align, swap, mask, blend, enhance."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from facesmith.errors import UserError
from facesmith.faces.face import Analyzer, Face
from facesmith.faces.geometry.alignment import (
    Matrix,
    estimate_alignment,
    invert_transform,
    transform_points,
)
from facesmith.faces.geometry.colour import match_skin_colour
from facesmith.faces.geometry.masks import box_mask, hull_mask, region_mask, skin_mask
from facesmith.models.adapters.spec import AdapterSpec, load_adapters
from facesmith.models.onnx.occlusion import Occluder
from facesmith.models.onnx.session import Swapper, load_swapper
from facesmith.models.onnx.source import SourceIdentity, find_source
from facesmith.tasks.swap.blending import Blend
from facesmith.tasks.swap.canvas import Canvas, RgbCanvas
from facesmith.tasks.swap.config import FrameSwapSettings
from facesmith.tasks.swap.enhancer import Enhancer
from facesmith.tasks.swap.paste import tile, tile_points, unmix, untile

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class MaskOptions:
    """Masks of a swapped face, combined by their minimum with the model's own mask.

    Attributes:
        names: Masks to combine.
        blur: Of the box, see `box_mask`.
        padding: Of the box: top, right, bottom, left in % of the crop.
        regions: Parts of the face that `region` keeps.
        occluder: Finds what covers the face, for `occlusion`.

    Raises:
        ValueError: `occlusion` has no occluder.
    """

    names: Sequence[Literal["box", "occlusion", "hull", "region"]] = ()
    blur: float = 0.0
    padding: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    regions: Sequence[str] = ()
    occluder: Occluder | None = None

    def __post_init__(self) -> None:
        if "occlusion" in self.names and self.occluder is None:
            raise ValueError("occlusion needs an occluder")


@dataclass(frozen=True)
class SwappedFace:
    """A face as a model drew it, ready to be pasted.

    Attributes:
        face: The target's.
        picture: Its crop (S,S,3) RGB 0..255.
        mask: How much of it shows, (S,S) 0..1.
        matrix: (2,3), picture to crop.
    """

    face: Face
    picture: Floats
    mask: Floats
    matrix: Matrix


class FrameSwapper:
    """Swap the faces of frames; may be called from several threads.

    Attributes:
        source: Whose face is shown, by whose consent.
        adapters: What was merged into the model, None for nothing.
    """

    def __init__(
        self,
        model: Swapper,
        *,
        source: SourceIdentity | None = None,
        masks: MaskOptions | None = None,
        blend: Blend = "linear",
        colour_match: bool = False,
        pixel_boost: int | None = None,
        enhancer: Enhancer | None = None,
        adapters: AdapterSpec | None = None,
    ) -> None:
        """Set how frames are swapped.

        Args:
            model: Swaps aligned crops.
            source: Whose face is shown; None for the one that is baked into the model.
            masks: Where the face may show; None for wherever the model's own mask lets it.
            blend: How it is blended into the frame.
            colour_match: Whether its skin gets mean and spread of the target's.
            pixel_boost: Side of the crop in px, a multiple of the model's, which then swaps it in interleaved tiles;
                None for the model's own.
            enhancer: Sharpens what was swapped.
            adapters: What was merged into the model, for marks.

        Raises:
            UserError: `pixel_boost` is no multiple of the model's size.
        """
        self._model = model
        self._masks = masks or MaskOptions()
        self._blend: Blend = blend
        self._colour_match = colour_match
        self._size = pixel_boost or model.info.size
        self._enhancer = enhancer
        self.source = source or SourceIdentity.of_swapper(model.info)
        self.adapters = adapters
        if self._size % model.info.size:
            raise UserError(f"task.pixel_boost={pixel_boost}: is no multiple of the model's {model.info.size} px")

    def swap(self, frame: Pixels, faces: Sequence[Face]) -> Pixels:
        """Swap faces of a picture.

        Args:
            frame: (H,W,3) RGB uint8, or uint16 of full scale.
            faces: Faces to swap; where they overlap, the first is on top.

        Returns:
            A new picture, like `frame`; the picture itself where there is no face.
        """
        if not faces:
            return frame
        result = frame.copy()
        self.swap_in_place([(RgbCanvas(result), faces)])
        return result

    def swap_in_place(self, work: Sequence[tuple[Canvas, Sequence[Face]]]) -> None:
        """Swap faces of several pictures, which the model gets as one batch.

        Args:
            work: Pictures, which are changed, and their faces; where they overlap, the first is on top.
        """
        jobs = [(canvas, face) for canvas, faces in work for face in faces]
        for (canvas, _), drawn in reversed([*zip(jobs, self.draw(jobs), strict=True)]):
            self.paste(canvas, drawn)

    def draw(self, jobs: Sequence[tuple[Canvas, Face]]) -> list[SwappedFace]:
        """Draw swapped faces, as one batch; nothing is changed yet.

        Args:
            jobs: Faces and the pictures they are in.
        """
        if not jobs:
            return []
        faces = [face for _, face in jobs]
        matrices = [estimate_alignment(face.keypoints, self._model.info.template, self._size) for face in faces]
        crops = np.stack([canvas.crop(matrix, self._size) for (canvas, _), matrix in zip(jobs, matrices, strict=True)])
        landmarks = [transform_points(face.landmarks, matrix) for face, matrix in zip(faces, matrices, strict=True)]
        swapped, masks = self._swap_crops(crops, np.stack(landmarks))
        np.minimum(masks, self._combine_masks([canvas for canvas, _ in jobs], faces, matrices), out=masks)
        pictures = list(swapped)
        if self._colour_match:
            for i, (points, mask) in enumerate(zip(landmarks, masks, strict=True)):
                pictures[i] = match_skin_colour(swapped[i], crops[i], skin_mask(points, self._size) * mask)
        return [SwappedFace(*one) for one in zip(faces, pictures, masks, matrices, strict=True)]

    def paste(self, canvas: Canvas, drawn: SwappedFace) -> None:
        """Paste a face into the picture that it was drawn for, and sharpen it there.

        Args:
            canvas: The picture, which is changed.
            drawn: The face.
        """
        canvas.paste(drawn.picture, drawn.mask, drawn.matrix, self._blend)
        if self._enhancer is not None:
            _enhance(canvas, drawn.face, drawn.mask, drawn.matrix, self._enhancer)

    def _swap_crops(self, crops: Floats, landmarks: Floats) -> tuple[Floats, Floats]:
        """Return the bare faces, like the crops, and the model's own masks (N,size,size).

        Where the model takes them it gets the frame's landmarks, which the caller may have smoothed along time.
        """
        k = self._size // self._model.info.size
        known = tile_points(landmarks, k) if self._model.info.takes_landmarks else None
        finished, masks = self._model(tile(crops, k) if k > 1 else crops, self.source.value, known)
        if k > 1:
            finished, masks = untile(finished, k), untile(masks[..., None], k)[..., 0]
        return unmix(crops, finished, masks), masks.copy()

    def _combine_masks(self, canvases: Sequence[Canvas], faces: Sequence[Face], matrices: Sequence[Matrix]) -> Floats:
        """Return the minimum of the chosen masks, (N,size,size).

        Hull and regions follow the target's landmarks: a swap keeps them, they are smoothed over time where the
        caller smooths, and finding them anew in the swapped crop would cost more than the swap.
        """
        size, options = self._size, self._masks
        combined = np.ones((len(faces), size, size), np.float32)
        for mask, face, matrix in zip(combined, faces, matrices, strict=True):
            landmarks = transform_points(face.landmarks, matrix)
            if "box" in options.names:
                np.minimum(mask, box_mask(size, options.blur, options.padding), out=mask)
            if "hull" in options.names:
                np.minimum(mask, hull_mask(landmarks, size), out=mask)
            if "region" in options.names:
                np.minimum(mask, region_mask(landmarks, size, options.regions), out=mask)
        if options.occluder is not None and "occlusion" in options.names:
            side = options.occluder.size
            # From the frame, not from the crop: a small model's crop holds less than the occluder can see.
            to_occluder = [_resize_crop(matrix, side / size) for matrix in matrices]
            seen = np.stack([canvas.crop(m, side) for canvas, m in zip(canvases, to_occluder, strict=True)])
            points = [transform_points(face.landmarks, m) for face, m in zip(faces, to_occluder, strict=True)]
            np.minimum(combined, options.occluder(_round(seen), size, np.stack(points)), out=combined)
        return combined


def _enhance(canvas: Canvas, face: Face, mask: Floats, matrix: Matrix, enhancer: Enhancer) -> None:
    """Sharpen, in place, what of the picture was swapped and nothing else."""
    to_enhancer = estimate_alignment(face.keypoints, enhancer.template, enhancer.size)
    (sharp,) = enhancer(_round(canvas.crop(to_enhancer, enhancer.size)[None]))
    between = _chain(invert_transform(matrix), to_enhancer)
    share = cv2.warpAffine(mask, between, (enhancer.size, enhancer.size), flags=cv2.INTER_LINEAR)
    strength = np.float32(enhancer.strength)
    canvas.paste(sharp.astype(np.float32), np.asarray(share, np.float32) * strength, to_enhancer)


def _round(pictures: Floats) -> Pixels:
    return np.rint(pictures).astype(np.uint8)


def _resize_crop(matrix: Matrix, factor: float) -> Matrix:
    """Return the matrix to a crop of the same content and `factor` times the side."""
    return _chain(matrix, np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2]]))


def _chain(first: Matrix, second: Matrix) -> Matrix:
    """Return the matrix that does the first, then the second."""
    turn = second[:, :2]
    return np.column_stack([turn @ first[:, :2], turn @ first[:, 2] + second[:, 2]])


def load_frame_swapper(
    model: Path, settings: FrameSwapSettings, *, analyzer: Callable[[], Analyzer], profile: Path | None
) -> FrameSwapper:
    """Load all that swapping a frame needs.

    Args:
        model: The swapper's file.
        settings: How frames are swapped.
        analyzer: Makes the analyzer that finds the face in a source photo.
        profile: Identity profile, for models that take any identity.

    Raises:
        UserError: A file is missing or of another contract, or the identity is missing or does not fit the model.
    """
    adapters = load_adapters(settings.adapter, settings.adapter_weights, settings.adapter_scale)
    swapper = load_swapper(
        model,
        model_type=settings.model_type,
        converter=settings.converter,
        raw_length=settings.raw_length,
        morph=settings.morph,
        adapters=adapters,
    )
    source = find_source(
        swapper.info,
        model,
        profile=profile,
        photo=settings.source_photo,
        consent=settings.consent,
        analyzer=analyzer,
    )
    wanted = settings.occluder if "occlusion" in settings.masks else None
    occluder = Occluder(wanted) if wanted is not None else None
    enhancer = None
    if settings.enhancer is not None:
        enhancer = Enhancer(settings.enhancer, strength=settings.enhancer_blend)
    return make_frame_swapper(swapper, settings, source=source, occluder=occluder, enhancer=enhancer, adapters=adapters)


def make_frame_swapper(
    swapper: Swapper,
    settings: FrameSwapSettings,
    *,
    source: SourceIdentity,
    occluder: Occluder | None = None,
    enhancer: Enhancer | None = None,
    adapters: AdapterSpec | None = None,
) -> FrameSwapper:
    """Put together what was loaded.

    Args:
        swapper: The model.
        settings: How frames are swapped.
        source: Whom it shows.
        occluder: Of the mask `occlusion`, which is left out without it.
        enhancer: Sharpens what was swapped.
        adapters: Merged into the model.
    """
    top, right, bottom, left = settings.mask_padding
    names = [name for name in settings.masks if name != "occlusion" or occluder is not None]
    masks = MaskOptions(names, settings.mask_blur, (top, right, bottom, left), settings.regions, occluder)
    return FrameSwapper(
        swapper,
        source=source,
        masks=masks,
        blend=settings.blend,
        colour_match=settings.colour_match,
        pixel_boost=settings.pixel_boost,
        enhancer=enhancer,
        adapters=adapters,
    )
