"""Vision models as encoders of face crops."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from transformers import AutoImageProcessor, AutoModel, CLIPVisionModelWithProjection

from facesmith.errors import UserError


class FaceEncoder(Protocol):
    """Embeds aligned faces.

    Attributes:
        name: Of encoder and weights, so that embeddings of two encoders are never mixed.
        embedding_size: Length of the embeddings.
    """

    name: str
    embedding_size: int

    def __call__(self, crops: NDArray[np.uint8]) -> Tensor:
        """Compute L2-normalised embeddings (N,E) of crops (N,512,512,3) RGB uint8 on the template ffhq_512."""
        ...


_BATCH = 8


class _VisionEncoder(ABC):
    """A vision model of transformers.

    Attributes:
        name: Of encoder and model, kept with every embedding.
        embedding_size: Length of the embeddings.
    """

    kind: str

    def __init__(self, model: str, loader: Any, size_key: str) -> None:
        """Load the model.

        Args:
            model: A hub id, downloaded once, or a local folder.
            loader: Class of transformers that loads it.
            size_key: Key of the model's config that holds the length of the embeddings.

        Raises:
            UserError: The model cannot be loaded.
        """
        self.name = f"{self.kind}:{Path(model).name if Path(model).is_dir() else model}"
        try:
            self._processor = AutoImageProcessor.from_pretrained(model, trust_remote_code=False)
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
        """Compute L2-normalised embeddings (N,E) of face crops (N,S,S,3) RGB uint8."""
        parts = []
        for start in range(0, len(crops), _BATCH):
            few = self._processor(images=list(crops[start : start + _BATCH]), return_tensors="pt")
            with torch.no_grad():
                found = self._embeddings(self._model(few["pixel_values"].to(self._device)))
            parts.append(functional.normalize(found.float(), dim=1).cpu())
        return torch.cat(parts)

    @abstractmethod
    def _embeddings(self, output: Any) -> Tensor:
        """Return the embeddings (N,E) in the model's output."""


class ClipEncoder(_VisionEncoder):
    """CLIP's image embedding, 768 numbers for ViT-L/14. Source: Radford et al., 2021."""

    kind = "clip"

    def __init__(self, *, model: str) -> None:
        super().__init__(model, CLIPVisionModelWithProjection, "projection_dim")

    def _embeddings(self, output: Any) -> Tensor:
        return torch.as_tensor(output.image_embeds)


class DinoEncoder(_VisionEncoder):
    """DINOv3's class token, 1024 numbers for ViT-L/16. Source: Siméoni et al., 2025; the weights are Meta's licence."""

    kind = "dinov3"

    def __init__(self, *, model: str) -> None:
        super().__init__(model, AutoModel, "hidden_size")

    def _embeddings(self, output: Any) -> Tensor:
        return torch.as_tensor(output.pooler_output)
