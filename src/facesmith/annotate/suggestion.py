"""What a trained occluder makes of a face, as a start for painting."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from facesmith.annotate.masks import Mask, Predict
from facesmith.errors import UserError
from facesmith.faces.face_set.face_set import FaceSet
from facesmith.models.onnx.occlusion import Occluder
from facesmith.training.run.checkpoint_files import find_newest_checkpoint

Pixels = NDArray[np.uint8]
Visible = Callable[[Pixels], NDArray[np.float32]]
"""From a face (S,S,3) RGB uint8 to what is visible of it (S,S), 0..1."""


def suggestions(faces: FaceSet, occluder: Path) -> Predict:
    """Return masks (512,512) uint8 of a set's faces by their number.

    occluder: a run's folder, a checkpoint of an occluder, or an .onnx of the xseg contract.

    Raises:
        UserError: it is none of these.
    """
    visible = occluder_at(occluder)

    def predict(row: int) -> Mask:
        return np.where(visible(faces.crop(row)) > 0.5, 255, 0).astype(np.uint8)

    return predict


def occluder_at(path: Path) -> Visible:
    """Open a run's folder, an occluder's checkpoint, or an .onnx of the xseg contract.

    Raises:
        UserError: it is none of these.
    """
    if path.suffix == ".onnx":
        return _of_onnx(path)
    if path.is_dir():
        found = find_newest_checkpoint(path).path
        if found is None:
            raise UserError(f"occluder={path}: holds no checkpoint; give the folder of an occluder's run")
        path = found
    return _of_checkpoint(path)


def _of_onnx(path: Path) -> Visible:
    occluder = Occluder(path, "occluder")

    def visible(face: Pixels) -> NDArray[np.float32]:
        small = cv2.resize(face, (occluder.size, occluder.size), interpolation=cv2.INTER_AREA)
        return occluder(np.asarray(small, np.uint8)[None], face.shape[0])[0]

    return visible


def _of_checkpoint(path: Path) -> Visible:
    import torch

    from facesmith.methods.occluder.module import OccluderModule
    from facesmith.models.checkpoint import load_module

    module = load_module(path)
    if not isinstance(module, OccluderModule):
        raise UserError(f"occluder={path}: holds no occluder; give a run or checkpoint of experiment=occluder")
    size: int = module.provenance["size"]

    def visible(face: Pixels) -> NDArray[np.float32]:
        small = cv2.resize(face, (size, size), interpolation=cv2.INTER_AREA)
        with torch.inference_mode():
            found = module.network(torch.from_numpy(small).permute(2, 0, 1)[None].float() / 255).sigmoid()
        return np.asarray(cv2.resize(found[0, 0].numpy(), face.shape[1::-1]), np.float32)

    return visible
