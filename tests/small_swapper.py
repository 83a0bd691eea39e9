"""A small `mesh_warp` of the astronaut, with weights as if they had been trained."""

from functools import cache

import numpy as np
import skimage.data
import torch

from facesmith.cli.composition import load_config
from facesmith.config.schema import TrainConfig
from facesmith.config.settings import GeneratorConfig
from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.canonical import PersonPictures, build_person_pictures
from facesmith.faces.face import keypoints_from_landmarks
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.alignment import estimate_alignment, transform_points, warp_face
from facesmith.methods.swapper.config import SwapperModuleConfig
from facesmith.models.swapper.mesh_warp import MeshWarp

SIZE = 64


@cache
def astronaut_face(size: int = SIZE) -> AlignedFaces:
    """Return the astronaut's face."""
    picture = np.asarray(skimage.data.astronaut())
    analyzer = MediaPipeAnalyzer(detector_sizes=[640], min_score=0.6)
    face = analyzer(picture)[0]
    analyzer.close()
    matrix = estimate_alignment(keypoints_from_landmarks(face.landmarks), "arcface_128", size)
    landmarks = transform_points(face.landmarks, matrix).astype(np.float32)
    return AlignedFaces(warp_face(picture, matrix, size)[None], landmarks[None], face.blendshapes[None], "arcface_128")


@cache
def astronaut_pictures(size: int = SIZE, count: int = 2) -> PersonPictures:
    """Return the astronaut's face and its mirror image in canonical coordinates."""
    return build_person_pictures(astronaut_face(size), count)


@cache
def _settings() -> GeneratorConfig:
    given = ["experiment=identity", "data.source=none", "data.name=small", "data.consent=public_domain"]
    config: SwapperModuleConfig = load_config("train", TrainConfig, given).model
    return config.generator


def small_mesh_warp(size: int = SIZE) -> MeshWarp:
    """Make the network, in eval mode."""
    torch.manual_seed(0)
    made: MeshWarp = _settings().build(size=size, pictures=2, picture_size=size, channels=[4, 6, 8])
    made.set_pictures(**{name: torch.from_numpy(part) for name, part in vars(astronaut_pictures(size)).items()})
    with torch.no_grad():
        for value in made.parameters():
            value.add_(torch.randn_like(value) / 50)
    return made.eval()


def crops(faces: AlignedFaces) -> torch.Tensor:
    """Return faces (N,3,S,S) -1..1."""
    return torch.from_numpy(faces.images).permute(0, 3, 1, 2).float() / 127.5 - 1
