"""What is asked of a face encoder."""

import logging
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from transformers import AutoImageProcessor, AutoModel, CLIPVisionModelWithProjection

from facesmith.errors import UserError


class FaceEncoder(Protocol):
    """Something that embeds aligned faces. name: with its weights, so that two encoders are never mixed."""

    name: str
    embedding_size: int

    def __call__(self, crops: NDArray[np.uint8]) -> Tensor:
        """Return (N,E), L2-normalised, of crops (N,512,512,3) RGB uint8 on the template ffhq_512."""
        ...


_AT_ONCE = 8


class _VisionEncoder(ABC):
    """model: a hub id, downloaded once, or a local folder. name: of encoder and model, kept with every embedding."""

    kind: str

    def __init__(self, model: str, loader: Any, size_key: str) -> None:
        self.name = f"{self.kind}:{Path(model).name if Path(model).is_dir() else model}"
        try:
            self._processor = AutoImageProcessor.from_pretrained(model, trust_remote_code=False)  # type: ignore[no-untyped-call]
            self._model: Any = loader.from_pretrained(model, trust_remote_code=False).eval().requires_grad_(False)
        except (OSError, ValueError) as error:
            why = " ".join(str(error).split())[:160]
            raise UserError(
                f"encoder model={model}: cannot be loaded ({why}); give a hub id, or a folder that holds model and "
                "preprocessor_config.json"
            ) from None
        self.embedding_size = int(getattr(self._model.config, size_key))
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model.to(self._device)

    def __call__(self, crops: NDArray[np.uint8]) -> Tensor:
        """Return (N,E), L2-normalised, of face crops (N,S,S,3) RGB uint8."""
        parts = []
        for start in range(0, len(crops), _AT_ONCE):
            few = self._processor(images=list(crops[start : start + _AT_ONCE]), return_tensors="pt")
            with torch.no_grad():
                found = self._of(self._model(few["pixel_values"].to(self._device)))
            parts.append(functional.normalize(found.float(), dim=1).cpu())
        return torch.cat(parts)

    @abstractmethod
    def _of(self, output: Any) -> Tensor:
        """Return the embeddings (N,E) in what the model put out."""


class ClipEncoder(_VisionEncoder):
    """CLIP's picture embedding, 768 numbers for ViT-L/14. Source: Radford et al., 2021."""

    kind = "clip"

    def __init__(self, *, model: str) -> None:
        super().__init__(model, CLIPVisionModelWithProjection, "projection_dim")

    def _of(self, output: Any) -> Tensor:
        return torch.as_tensor(output.image_embeds)


class DinoEncoder(_VisionEncoder):
    """DINOv3's class token, 1024 numbers for ViT-L/16. Source: Siméoni et al., 2025; the weights are Meta's licence."""

    kind = "dinov3"

    def __init__(self, *, model: str) -> None:
        super().__init__(model, AutoModel, "hidden_size")

    def _of(self, output: Any) -> Tensor:
        return torch.as_tensor(output.pooler_output)


Floats = NDArray[np.float32]

log = logging.getLogger(__name__)

_LARGE = 256.0  # px: a larger face tells no more
FEWEST: Final = 3
MOST: Final = 20


def tell_count(count: int, setting: str) -> None:
    """Say when there are fewer or more photos of a person than serve. setting: what named them."""
    if count < FEWEST:
        log.warning("%s: %d photos with a face are few; give %d to %d of one person", setting, count, FEWEST, MOST)
    elif count > MOST:
        log.warning("%s: %d photos are more than serve; %d good ones are enough", setting, count, MOST)


def agreement(embeddings: Floats) -> Floats:
    """Return (N,): the mean similarity of each L2-normalised embedding (N,E) to the others, 0..1."""
    if len(embeddings) < 2:
        return np.ones(len(embeddings), np.float32)
    others = ((embeddings @ embeddings.T).sum(1) - 1) / (len(embeddings) - 1)
    return np.asarray(np.clip(others, 0, 1), np.float32)


def face_weights(scores: Floats, sharpness: Floats, sizes: Floats, agree: Floats) -> Floats:
    """Return (N,): how much each face counts, by detection score, rank of sharpness, size in px and agreement."""
    rank = (1 + np.argsort(np.argsort(sharpness))) / len(sharpness)
    return np.asarray(scores * rank * np.minimum(sizes, _LARGE) / _LARGE * np.maximum(agree, 0.05), np.float32)


def aggregated(embeddings: Floats, weights: Floats, method: Literal["weighted_mean", "mean", "median"]) -> Floats:
    """Return one embedding (E,), L2-normalised, of (N,E)."""
    if method == "median":
        total = np.median(embeddings, axis=0)
    else:
        total = np.average(embeddings, axis=0, weights=weights if method == "weighted_mean" else None)
    return np.asarray(total / np.linalg.norm(total), np.float32)
