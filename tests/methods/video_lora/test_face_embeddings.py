"""Photos of one person become one embedding; what does not belong is named."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from facesmith.errors import UserError
from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.media.images import read_image, write_image
from facesmith.methods.video_lora.face_embeddings import AlignedFaceEncoder


def photo_encoder() -> AlignedFaceEncoder:
    return AlignedFaceEncoder(
        backbone=None, analyzer=lambda: MediaPipeAnalyzer(detector_sizes=[640, 256], min_score=0.7), min_similarity=0.3
    )


@pytest.fixture
def photos(asset: Callable[[str], Path], tmp_path: Path) -> list[Path]:
    picture = read_image(asset("astronaut.png"))
    for number, one in enumerate((picture, picture[:, ::-1], (picture * 0.7).astype(np.uint8))):
        write_image(tmp_path / f"photo_{number}.png", np.ascontiguousarray(one), mark=None)
    return sorted(tmp_path.glob("photo_*.png"))


def test_aligned_face_encoder_photos_of_one_person_agree(photos: list[Path]) -> None:
    found = photo_encoder().encode(photos)
    assert found.embeddings.shape == (3, 128)
    assert found.encoder == "sface"
    assert float(found.mean.norm()) == pytest.approx(1.0, abs=1e-5)
    assert float((found.embeddings @ found.mean).min()) > 0.8
    assert found.picture.shape == (512, 512, 3)
    assert bool((found.weights > 0).all())
    assert torch.allclose(torch.from_numpy(found.recognised).norm(), torch.tensor(1.0), atol=1e-5)


def test_aligned_face_encoder_photo_without_face_raises(photos: list[Path], tmp_path: Path) -> None:
    write_image(tmp_path / "grey.png", np.full((128, 128, 3), 128, np.uint8), mark=None)
    with pytest.raises(UserError, match=r"grey.png shows no face; remove it"):
        photo_encoder().encode([*photos, tmp_path / "grey.png"])


def test_aligned_face_encoder_photo_of_somebody_else_raises(
    photos: list[Path], asset: Callable[[str], Path], tmp_path: Path
) -> None:
    from facesmith.media.video import open_video

    with open_video(asset("carphone_pristine.mp4")) as video:
        ((_, frame),) = video.frames([0])
    write_image(tmp_path / "other.png", frame, mark=None)
    with pytest.raises(UserError, match=r"other.png shows somebody else \(similarity"):
        photo_encoder().encode([*photos, tmp_path / "other.png"])
