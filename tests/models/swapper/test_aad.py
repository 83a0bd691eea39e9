"""The AAD generator: shapes, size, and that its embedding decides the face."""

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch.nn import functional as F

from facesmith.models.swapper.aad import Aad

CONF = Path(__file__).parents[3] / "conf/model/generator"


def settings(name: str) -> dict[str, Any]:
    chosen = OmegaConf.load(CONF / f"{name}.yaml").generator
    chosen.checkpointing = False
    del chosen["_target_"]
    return dict(OmegaConf.to_container(chosen))


@pytest.fixture(scope="module")
def fast() -> Aad:
    torch.manual_seed(0)
    return Aad(**settings("aad_fast"))


def test_aad_shapes_ranges_and_parameters(fast: Aad) -> None:
    output = fast(torch.rand(2, 3, 128, 128) * 2 - 1, F.normalize(torch.randn(2, 128)))
    assert output.face.shape == (2, 3, 128, 128)
    assert output.mask.shape == (2, 1, 128, 128)
    assert output.face.abs().max() <= 1
    assert 0 <= output.mask.min() <= output.mask.max() <= 1
    assert 1.3e6 < sum(p.numel() for p in fast.parameters()) < 1.7e6


def test_aad_full_halves_256_px_down_to_4() -> None:
    with torch.device("meta"):
        full = Aad(**settings("aad_full"))
        output = full(torch.empty(1, 3, 256, 256), torch.empty(1, 128))
    assert output.face.shape == (1, 3, 256, 256)
    assert output.mask.shape == (1, 1, 256, 256)
    assert sum(p.numel() for p in full.parameters()) > 50e6


def test_aad_embedding_changes_face_not_mask(fast: Aad) -> None:
    target = torch.rand(1, 3, 128, 128).expand(2, -1, -1, -1) * 2 - 1
    output = fast.eval()(target, F.normalize(torch.randn(2, 128)))
    fast.train()
    assert (output.face[0] - output.face[1]).abs().mean() > 1e-3
    assert torch.equal(output.mask[0], output.mask[1])


def test_aad_fine_attributes_do_not_reach_decoder(fast: Aad) -> None:
    reached = [block.modulations[0].attributes is not None for block in fast.blocks]
    assert reached == [True, True, True, False]  # 8, 16, 32 px, not 64


def test_aad_checkpointing_changes_no_gradient() -> None:
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(1)
        generator = Aad(**{**settings("aad_fast"), "checkpointing": checkpointing})
        output = generator(torch.rand(2, 3, 128, 128), F.normalize(torch.ones(2, 128)))
        (output.face.mean() + output.mask.mean()).backward()
        gradients.append([p.grad for p in generator.parameters() if p.grad is not None])
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, again)


def test_aad_missing_embedding_and_odd_size_are_refused(fast: Aad) -> None:
    with pytest.raises(ValueError, match="source"):
        fast(torch.zeros(1, 3, 128, 128))
    with pytest.raises(ValueError, match="size"):
        Aad(**{**settings("aad_fast"), "size": 100})
