"""Frechet distance of swapped faces and target faces: FID by Inception weights, or by a named stand-in."""

import hashlib
import math
import pickle
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
import segmentation_models_pytorch as smp
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics.image.fid import FrechetInceptionDistance

from facesmith.assets import UnreachableError, fetch
from facesmith.errors import UserError
from facesmith.methods.occluder.networks import load_encoder_weights
from facesmith.tasks.evaluate.measuring import PairResult
from facesmith.tasks.evaluate.pairs import Pair
from facesmith.tasks.evaluate.report import Frechet
from facesmith.tasks.evaluate.shown import cut_faces
from facesmith.tasks.validate.frames import Backend

Pixels = NDArray[np.uint8]

STAND_IN: Final = "stand_in"
_BATCH: Final = 16
_INCEPTION: Final = 2048  # features
_STAND_IN_SIDE: Final = 224
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, by which the stand-in was trained


def measure_frechet(weights: str, results: Iterable[tuple[Pair, PairResult]], backend: Backend) -> Frechet | None:
    """Measure the Frechet distance between swapped faces and the same faces of the targets.

    Faces are cut out on `arcface_128`; those that were not found in the swap count with the target's place.

    Args:
        weights: File of Inception weights, as pytorch-fid and torch-fidelity publish them; or `stand_in`.
        results: Pairs and what was measured.
        backend: What decodes videos.

    Returns:
        The distance; None where the stand-in's weights cannot be had.

    Raises:
        UserError: The file holds no such weights, or torch-fidelity is not installed.
    """
    if weights == STAND_IN:
        try:
            network: nn.Module = _StandIn()
        except UnreachableError:
            return None
        metric, features = FrechetInceptionDistance(feature=network), _StandIn.num_features
        name, origin = (
            "frechet_efficientnet_lite0",
            "EfficientNet-Lite0 instead of Inception: no FID, not to be compared with one",
        )
    else:
        metric, origin = load_inception(Path(weights).expanduser())
        name, features = "fid", _INCEPTION
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    metric.to(device).set_dtype(torch.float64)
    count = 0
    with torch.inference_mode():
        for swaps, targets in _batches(results, backend):
            metric.update(_to_tensor(targets).to(device), real=True)
            metric.update(_to_tensor(swaps).to(device), real=False)
            count += len(swaps)
        value = max(float(metric.compute()), 0.0) if count > 1 else math.nan  # below 0 by rounding
    return Frechet(name, value, count, features, origin)


def load_inception(path: Path) -> tuple[FrechetInceptionDistance, str]:
    """Load FID with Inception weights from a file.

    Args:
        path: A file of torch tensors; nothing else in it is read.

    Returns:
        The metric, and the file's name and sha256.

    Raises:
        UserError: The file cannot be read or holds another network, or torch-fidelity is not installed.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        why = " ".join(str(error).split())[:120]
        raise UserError(f"task.fid={path}: cannot be read ({why}); give Inception weights as torch tensors") from None
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"task.fid={path}: is no dictionary of tensors; give pt_inception-2015-12-05-6726825d.pth")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    named = re.search(r"-([0-9a-f]{8})\.pth$", path.name)
    if named and not digest.startswith(named[1]):
        raise UserError(f"task.fid={path}: sha256 is {digest}, its name says {named[1]}...; download it again")
    try:
        # it reads the file as any pickle; what was just read holds nothing but tensors
        metric = FrechetInceptionDistance(feature=_INCEPTION, feature_extractor_weights_path=str(path))
    except ModuleNotFoundError:
        raise UserError("task.fid: needs the Inception network; pip install 'facesmith[fid]'") from None
    except (RuntimeError, KeyError) as error:
        why = " ".join(str(error).split())[:120]
        raise UserError(f"task.fid={path}: holds another network ({why}); give Inception weights of FID") from None
    return metric, f"{path.name}, sha256 {digest}"


class _StandIn(nn.Module):
    """EfficientNet-Lite0 of ImageNet, its last map averaged: 320 features of pictures (N,3,H,W) uint8."""

    num_features: Final = 320

    def __init__(self) -> None:
        super().__init__()
        self._encoder = smp.encoders.get_encoder("timm-tf_efficientnet_lite0", weights=None)
        load_encoder_weights(self._encoder, fetch("efficientnet_lite0.pth"))
        self._mean: Tensor
        self._std: Tensor
        self.register_buffer("_mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("_std", torch.tensor(_STD)[:, None, None], persistent=False)
        self.eval()

    def forward(self, pictures: Tensor) -> Tensor:
        small = functional.interpolate(
            pictures.float() / 255, (_STAND_IN_SIDE, _STAND_IN_SIDE), mode="bilinear", antialias=True
        )
        return torch.as_tensor(self._encoder((small - self._mean) / self._std)[-1].mean((2, 3)))


def _batches(
    results: Iterable[tuple[Pair, PairResult]], backend: Backend
) -> Iterator[tuple[list[Pixels], list[Pixels]]]:
    swaps, targets = list[Pixels](), list[Pixels]()
    for pair, result in results:
        for _, swap, target in cut_faces(pair, result, backend):
            swaps.append(swap)
            targets.append(target)
            if len(swaps) == _BATCH:
                yield swaps, targets
                swaps, targets = [], []
    if swaps:
        yield swaps, targets


def _to_tensor(pictures: list[Pixels]) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
