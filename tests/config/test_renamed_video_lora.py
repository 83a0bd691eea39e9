"""What runs of earlier versions name is found under today's names: settings, overrides, the toy base."""

import pytest

from facesmith import assets
from facesmith.config.renamed import upgrade, upgrade_override


def test_upgrade_video_lora_data_settings() -> None:
    saved = {
        "_target_": "facesmith.video_lora.data.VideoLoraDataModule",
        "name": "ada",
        "reader": {"_target_": "facesmith.video_lora.references.DetectedFaces", "encoder": None},
        "judge": {"_target_": "facesmith.video_lora.judging.FaceJudge", "every": 4},
    }
    assert upgrade(saved) == {
        "_target_": "facesmith.methods.video_lora.data.VideoLoraDataModule",
        "name": "ada",
        "face_encoder": {
            "_target_": "facesmith.methods.video_lora.face_embeddings.AlignedFaceEncoder",
            "backbone": None,
        },
        "evaluator": {"_target_": "facesmith.methods.video_lora.evaluation.FaceEvaluator", "every": 4},
    }


@pytest.mark.parametrize(
    ("saved", "today"),
    [
        ("data/reader=dinov3", "data/face_encoder=dinov3"),
        ("data/reader=portrait", "data/face_encoder=toy"),
        ("data/judge=dancers", "data/evaluator=toy"),
        ("++data.judge.every=8", "++data.evaluator.every=8"),
        ("data.reader.encoder.model=folder", "data.face_encoder.backbone.model=folder"),
        ("model.base=asset:tiny_wan", "model.base=asset:toy_wan"),
        ("data.readers=1", "data.readers=1"),
        ("data.name=ada", "data.name=ada"),
    ],
)
def test_upgrade_override(saved: str, today: str) -> None:
    assert upgrade_override(saved) == today


def test_resolve_toy_base_of_an_earlier_version() -> None:
    assert assets.resolve("asset:tiny_wan") == assets.resolve("asset:toy_wan")
