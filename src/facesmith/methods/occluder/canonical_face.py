"""The canonical face of an occluder: the mean shape and the mean picture of the faces it is trained on."""

import numpy as np
import torch
from torch import Tensor

from facesmith.faces.canonical import estimate_normals
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.mean_shape import estimate_mean_shape
from facesmith.faces.geometry.thin_plate import compute_warp_maps, resample

_SMOOTHING = 1e-3


def average_face(faces: AlignedFaces) -> tuple[Tensor, Tensor, Tensor]:
    """Average faces in canonical coordinates.

    Args:
        faces: One of each person or more.

    Returns:
        Landmarks (478,3) in -1..1 from edge to edge; their outward normals (478,3); the mean picture (3,S,S) RGB 0..1.
    """
    size, shape = faces.size, estimate_mean_shape(faces)
    maps = compute_warp_maps(shape, faces.landmarks, size, smoothing=_SMOOTHING)
    pictures = [resample(image, where) for image, where in zip(faces.images, maps, strict=True)]
    places = np.concatenate([(shape[:, :2] + 0.5) * (2 / size) - 1, shape[:, 2:] * (2 / size)], axis=1)
    mean = np.clip(np.mean(pictures, axis=0) / 255, 0, 1)
    arrays = (places, estimate_normals(shape), mean.transpose(2, 0, 1))
    first, second, third = (torch.from_numpy(np.ascontiguousarray(array, np.float32)) for array in arrays)
    return first, second, third
