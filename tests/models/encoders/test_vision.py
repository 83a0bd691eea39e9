"""CLIP and DINOv3 by their own classes, small and random: shapes, lengths, and the same each time."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    DINOv3ViTConfig,
    DINOv3ViTModel,
)

from facesmith.errors import UserError
from facesmith.models.encoders.vision import ClipEncoder, DinoEncoder


@pytest.fixture
def crops() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (10, 64, 64, 3), np.uint8)


def test_clip_encoder_returns_projection(tmp_path: Path, crops: np.ndarray) -> None:
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8,
        projection_dim=768,
    )  # fmt: skip
    CLIPVisionModelWithProjection(config).save_pretrained(tmp_path / "small-clip")
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(tmp_path / "small-clip")
    encoder = ClipEncoder(model=str(tmp_path / "small-clip"))
    found = encoder(crops)
    assert (encoder.name, encoder.embedding_size) == ("clip:small-clip", 768)
    assert found.shape == (10, 768)
    assert torch.allclose(found.norm(dim=1), torch.ones(10))
    assert torch.allclose(found[9], encoder(crops[9:])[0], atol=1e-6)


def test_dino_encoder_returns_class_token(tmp_path: Path, crops: np.ndarray) -> None:
    torch.manual_seed(0)
    config = DINOv3ViTConfig(
        hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8
    )
    DINOv3ViTModel(config).save_pretrained(tmp_path / "small-dino")
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(tmp_path / "small-dino")
    encoder = DinoEncoder(model=str(tmp_path / "small-dino"))
    assert encoder.embedding_size == 64
    assert encoder(crops).shape == (10, 64)


def test_encoder_wrong_folder_raises(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"encoder model=.*cannot be loaded"):
        ClipEncoder(model=str(tmp_path))


def test_face_weights_odd_faces_weigh_less() -> None:
    from facesmith.models.encoders.aggregation import aggregate_embeddings, face_weights, mean_similarity

    alike = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    agree = mean_similarity(alike)
    assert agree.tolist() == [0.5, 0.5, 0.0]
    ones = np.ones(3, np.float32)
    weights = face_weights(ones, np.array([3, 2, 1], np.float32), ones * 512, agree)
    assert weights[0] > weights[1] > weights[2]
    mean, weighted = aggregate_embeddings(alike, weights, "mean"), aggregate_embeddings(alike, weights, "weighted_mean")
    assert weighted[0] > mean[0]
    assert np.linalg.norm(weighted) == pytest.approx(1.0)
    assert aggregate_embeddings(alike, weights, "median").tolist() == [1.0, 0.0]
