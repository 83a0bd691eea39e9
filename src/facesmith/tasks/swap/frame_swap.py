"""Swap the faces of one frame."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from facesmith.errors import UserError
from facesmith.faces.face import Analyzer, Face
from facesmith.faces.geometry import masks
from facesmith.faces.geometry.alignment import Matrix, estimate_alignment, invert_transform, transform_points, warp_face
from facesmith.models.adapters.spec import AdapterSpec, load_adapters
from facesmith.models.onnx.occlusion import Occluder
from facesmith.models.onnx.session import Swapper, load_swapper
from facesmith.models.onnx.source import SourceIdentity, find_source
from facesmith.tasks.swap.enhancer import Enhancer
from facesmith.tasks.swap.paste import Blend, join, lay, match_colour, split, uncovered

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
MaskName = Literal["box", "occlusion", "hull", "region"]


@dataclass(frozen=True)
class Masks:
    """Where a swapped face may show: the minimum of the model's own mask and of those named.

    names: of `box`, `occlusion`, `hull`, `region`. blur, padding: of the box, see `faces.masks.box`. regions:
    parts of the face that `region` keeps. occluder: of `occlusion`; ValueError without one.
    """

    names: Sequence[MaskName] = ()
    blur: float = 0.0
    padding: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    regions: Sequence[str] = ()
    occluder: Occluder | None = None

    def __post_init__(self) -> None:
        if "occlusion" in self.names and self.occluder is None:
            raise ValueError("occlusion needs an occluder")


class FrameSwap:
    """Align, swap, mask and blend the faces of a frame; may be called from several threads.

    model: the swapper. source: what it is told of the person, None when the identity is baked in. masks: where
    the face may show. blend: how it is laid on. colour_match: bring its skin to the mean and spread of the
    target's. boost: side of the crop in px, a multiple of the model's, which then swaps it in parts that
    interleave; None for the model's own. enhancer: sharpens what was swapped, by the share enhancer_blend.
    identity, consent: whose face it is, adapters: what was laid on the model, for marks.
    """

    def __init__(
        self,
        model: Swapper,
        *,
        source: Floats | None,
        masks: Masks | None = None,
        blend: Blend = "linear",
        colour_match: bool = False,
        boost: int | None = None,
        enhancer: Enhancer | None = None,
        enhancer_blend: float = 1.0,
        whose: SourceIdentity | None = None,
        adapters: AdapterSpec | None = None,
    ) -> None:
        self._model, self._source = model, source
        self._masks = masks or Masks()
        self._blend: Blend = blend
        self._colour_match = colour_match
        self._size = boost or model.info.size
        self._enhancer, self._enhancer_blend = enhancer, enhancer_blend
        self.identity = whose.identity if whose else model.info.identity
        self.consent = whose.consent if whose else model.info.consent
        self.consent_note = whose.consent_note if whose else model.info.consent_note
        self.adapters = adapters
        if self._size % model.info.size:
            raise UserError(f"task.pixel_boost={boost}: is no multiple of the model's {model.info.size} px")

    def swap(self, frame: Pixels, faces: Sequence[Face]) -> Pixels:
        """Return the frame (H,W,3) RGB uint8 with these faces swapped; without a face it is the frame itself.

        The faces overlap in the order given: the first lies on top.
        """
        if not faces:
            return frame
        size = self._size
        matrices = [estimate_alignment(face.keypoints, self._model.info.template, size) for face in faces]
        crops = np.stack([warp_face(frame, matrix, size) for matrix in matrices])
        swapped, own = self._swapped(crops)
        limits = self._limits(frame, faces, matrices)
        result = frame.copy()
        for i in reversed(range(len(faces))):
            mask = np.minimum(own[i], limits[i])
            face = swapped[i]
            if self._colour_match:
                skin = masks.skin_mask(transform_points(faces[i].landmarks, matrices[i]), size) * mask
                face = match_colour(face, crops[i], skin)
            lay(result, face, mask, matrices[i], self._blend)
            if self._enhancer is not None:
                self._enhance(result, faces[i], mask, matrices[i], self._enhancer)
        return result

    def _swapped(self, crops: Pixels) -> tuple[Pixels, Floats]:
        """The bare faces, like the crops, and the model's own masks (N,size,size)."""
        k = self._size // self._model.info.size
        finished, own = self._model(split(crops, k) if k > 1 else crops, self._source)
        if k > 1:
            finished, own = join(finished, k), join(own[..., None], k)[..., 0]
        return uncovered(crops, finished, own), own

    def _limits(self, frame: Pixels, faces: Sequence[Face], matrices: Sequence[Matrix]) -> Floats:
        """The minimum of the chosen masks, (N,size,size).

        Hull and regions follow the target's landmarks: a swap keeps them, they are smoothed over time where the
        caller smooths, and finding them anew in the swapped crop would cost more than the swap.
        """
        size, chosen = self._size, self._masks
        limits = np.ones((len(faces), size, size), np.float32)
        for i, (face, matrix) in enumerate(zip(faces, matrices, strict=True)):
            landmarks = transform_points(face.landmarks, matrix)
            if "box" in chosen.names:
                np.minimum(limits[i], masks.box_mask(size, chosen.blur, chosen.padding), out=limits[i])
            if "hull" in chosen.names:
                np.minimum(limits[i], masks.hull_mask(landmarks, size), out=limits[i])
            if "region" in chosen.names:
                np.minimum(limits[i], masks.region_mask(landmarks, size, chosen.regions), out=limits[i])
        if chosen.occluder is not None and "occlusion" in chosen.names:
            side = chosen.occluder.size
            # From the frame, not from the crop: a small model's crop holds less than the occluder can see.
            seen = np.stack([warp_face(frame, _resized(matrix, side / size), side) for matrix in matrices])
            np.minimum(limits, chosen.occluder(seen, size), out=limits)
        return limits

    def _enhance(self, frame: Pixels, face: Face, mask: Floats, matrix: Matrix, enhancer: Enhancer) -> None:
        """Sharpen, in place, what of the frame was swapped and nothing else."""
        there = estimate_alignment(face.keypoints, enhancer.template, enhancer.size)
        crop = warp_face(frame, there, enhancer.size)
        (sharp,) = enhancer(crop[None])
        carry = _then(invert_transform(matrix), there)
        share = cv2.warpAffine(mask, carry, (enhancer.size, enhancer.size), flags=cv2.INTER_LINEAR)
        lay(frame, sharp, np.asarray(share, np.float32) * np.float32(self._enhancer_blend), there)


def load_frame_swap(
    model: Path,
    *,
    analyzer: Callable[[], Analyzer],
    profile: Path | None,
    source_photo: Path | None,
    consent: str | None,
    model_type: str,
    converter: Path | None,
    raw_length: float,
    morph: float,
    masks: Sequence[MaskName],
    mask_blur: float,
    mask_padding: Sequence[float],
    regions: Sequence[str],
    occluder: Path | None,
    blend: Blend,
    colour_match: bool,
    pixel_boost: int | None,
    enhancer: Path | None,
    enhancer_blend: float,
    adapter: Path | Sequence[Path] | None = None,
    adapter_weights: Sequence[float] | None = None,
    adapter_scale: float = 1.0,
) -> FrameSwap:
    """Load all that swapping one frame needs; see `load_swapper`, `load_adapters`, `find_source`, `Masks`, `FrameSwap`.

    Raises:
        UserError: a file is missing or of another contract, the identity is missing or does not fit the model.
    """
    adapters = load_adapters(adapter, adapter_weights, adapter_scale)
    swapper = load_swapper(
        model,
        model_type=model_type,
        converter=converter,
        raw_length=raw_length,
        morph=morph,
        adapters=adapters,
    )
    whose = find_source(swapper.info, model, profile=profile, photo=source_photo, consent=consent, analyzer=analyzer)
    top, right, bottom, left = mask_padding
    return FrameSwap(
        swapper,
        source=whose.value,
        masks=Masks(
            masks, mask_blur, (top, right, bottom, left), regions, Occluder(occluder) if occluder is not None else None
        ),
        blend=blend,
        colour_match=colour_match,
        boost=pixel_boost,
        enhancer=Enhancer(enhancer) if enhancer is not None else None,
        enhancer_blend=enhancer_blend,
        whose=whose,
        adapters=adapters,
    )


def _resized(matrix: Matrix, factor: float) -> Matrix:
    """The matrix to a crop of the same content and `factor` times the side."""
    return _then(matrix, np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2]]))


def _then(first: Matrix, second: Matrix) -> Matrix:
    """The matrix that does the first, then the second."""
    turn = second[:, :2]
    return np.column_stack([turn @ first[:, :2], turn @ first[:, 2] + second[:, 2]])
