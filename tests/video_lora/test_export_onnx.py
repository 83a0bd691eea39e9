"""What is exported computes the same, at sizes it was not traced with."""

from pathlib import Path
from typing import Any

import pytest
import torch

from facesmith.video_lora.adapter import add_lora
from facesmith.video_lora.base import open_base
from facesmith.video_lora.export_onnx import export_mapper, export_transformer
from facesmith.video_lora.networks import FaceMapper
from facesmith.video_lora.person import person_of


@pytest.mark.slow
def test_mapper_and_merged_transformer_are_torchs(base: Path, tmp_path: Path) -> None:
    opened = open_base(str(base))
    transformer: Any = opened.transformer(torch.float32)
    add_lora(transformer, rank=2, alpha=4, dropout=0.0, targets=["attn2.to_q"], vace_blocks=True)
    for name, value in transformer.named_parameters():
        if "lora_B" in name:
            value.data = torch.randn(value.shape) * 0.1
    mapper = FaceMapper(768, [32], 4, 64, 0.1)
    facts = {"embedding": [0.0] * 768, "base": str(base), "base_hash": opened.fingerprint, "text_length": 16}
    person = person_of(transformer, mapper, facts)
    assert export_mapper(mapper, tmp_path / "mapper.onnx") < 1e-4
    assert export_transformer(person, str(base), tmp_path / "transformer.onnx") < 1e-4
    assert {path.name for path in tmp_path.iterdir()} == {"mapper.onnx", "transformer.onnx"}
