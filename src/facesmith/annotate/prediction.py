"""Masks that a trained occluder predicts, as a starting point for painting."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from facesmith import assets
from facesmith.annotate.interpolation import Mask
from facesmith.annotate.masks import PredictMask
from facesmith.errors import UserError
from facesmith.faces.face_set.face_set import FaceSet
from facesmith.models.onnx.occlusion import Occluder
from facesmith.training.run.checkpoint_files import find_newest_checkpoint

Pixels = NDArray[np.uint8]
PredictVisibility = Callable[[Pixels, NDArray[np.float32]], NDArray[np.float32]]
"""From a face (S,S,3) RGB uint8 and its landmarks (478,3) px to its visibility (S,S) in 0..1."""


def load_predictor(faces: FaceSet, occluder: Path) -> PredictMask:
    """Load an occluder to predict masks of the faces of a set.

    Args:
        faces: The face set.
        occluder: Folder of a run, checkpoint of an occluder, or .onnx file of the xseg contract.

    Returns:
        A function from the number of a face to its mask, (512,512) uint8, 0 or 255.

    Raises:
        UserError: It is none of these.
    """
    visible = load_occluder(occluder)

    def predict(row: int) -> Mask:
        return np.where(visible(faces.crop(row), faces.landmarks[row]) > 0.5, 255, 0).astype(np.uint8)

    return predict


def load_occluder(path: Path) -> PredictVisibility:
    """Load an occluder from the folder of a run, a checkpoint, or an .onnx file of the xseg contract.

    Raises:
        UserError: It is none of these.
    """
    path = Path(assets.resolve(str(path)))
    if path.suffix == ".onnx":
        return _load_onnx(path)
    if path.is_dir():
        found = find_newest_checkpoint(path).path
        if found is None:
            raise UserError(f"occluder={path}: holds no checkpoint; give the folder of an occluder's run")
        path = found
    return _load_checkpoint(path)


def resize_landmarks(landmarks: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Return landmarks (478,3) px, pixel centres at whole numbers, of a picture of `factor` times the side."""
    moved = landmarks * np.float32(factor)
    moved[:, :2] += np.float32((factor - 1) / 2)
    return moved


def _load_onnx(path: Path) -> PredictVisibility:
    occluder = Occluder(path, "occluder")

    def visible(face: Pixels, landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
        small = cv2.resize(face, (occluder.size, occluder.size), interpolation=cv2.INTER_AREA)
        moved = resize_landmarks(landmarks, occluder.size / face.shape[0])
        return occluder.predict(np.asarray(small, np.uint8)[None], face.shape[0], moved[None])[0]

    return visible


def _load_checkpoint(path: Path) -> PredictVisibility:
    import torch

    from facesmith.methods.occluder.module import OccluderModule
    from facesmith.models.checkpoint import load_module

    module = load_module(path)
    if not isinstance(module, OccluderModule):
        raise UserError(f"occluder={path}: holds no occluder; give a run or checkpoint of experiment=occluder")
    size: int = module.provenance["size"]

    def visible(face: Pixels, landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
        small = cv2.resize(face, (size, size), interpolation=cv2.INTER_AREA)
        moved = resize_landmarks(landmarks, size / face.shape[0])
        batch = {
            "picture": torch.from_numpy(small).permute(2, 0, 1)[None].float() / 255,
            "points": torch.from_numpy(moved)[None],
        }
        with torch.inference_mode():
            found = module.predict(batch).sigmoid()
        return np.asarray(cv2.resize(found[0, 0].numpy(), face.shape[1::-1]), np.float32)

    return visible
