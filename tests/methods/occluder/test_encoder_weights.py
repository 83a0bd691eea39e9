"""Pretrained weights come from files and assets; unavailable ones are reported."""

import logging
from pathlib import Path

import pytest
import torch
from torch import nn

from facesmith.errors import UserError
from facesmith.methods.occluder.landmark_planes import PLANES
from facesmith.methods.occluder.networks import MaskNetwork, is_file, load_encoder_weights

LITE = "timm-tf_efficientnet_lite0"
DECODER = [32, 24, 16, 16, 8]


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have no package index, no hub and nothing cached."""
    monkeypatch.setenv("FACESMITH_CACHE", str(tmp_path / "cache"))
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "https_proxy", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def test_load_encoder_weights_takes_tensors_in_order(asset) -> None:
    path = asset("efficientnet_lite0.pth")
    network = MaskNetwork("unet", LITE, "asset:efficientnet_lite0.pth", DECODER)
    given = torch.load(path, weights_only=True)
    own = network.encoder.state_dict()
    assert torch.equal(own["conv_stem.weight"][:, :3], given["_conv_stem.weight"])
    assert not own["conv_stem.weight"][:, 3:].any()  # what landmarks tell counts for nothing at first
    assert torch.equal(own["blocks.6.0.conv_pwl.weight"], given["_blocks.15._project_conv.weight"])
    assert torch.equal(own["blocks.4.0.bn2.running_var"], given["_blocks.8._bn1.running_var"])


def test_load_encoder_weights_features_recognise_similar_pictures(asset) -> None:
    """Mirrored pictures of one thing are nearer to each other than to those of another, as random weights are not."""
    import skimage.data

    encoder = MaskNetwork("unet", LITE, str(asset("efficientnet_lite0.pth")), DECODER).encoder.eval()
    crops = [getattr(skimage.data, name)()[:224, :224] for name in ("cat", "coffee", "rocket")]
    pictures = torch.stack([torch.from_numpy(crop.copy()).permute(2, 0, 1) / 127.5 - 1 for crop in crops])
    pictures = torch.cat([pictures, torch.zeros(3, PLANES, 224, 224)], 1)
    with torch.no_grad():
        plain, mirrored = (nn.functional.normalize(encoder(x)[-1].mean((2, 3))) for x in (pictures, pictures.flip(3)))
    likeness = plain @ mirrored.T
    others = likeness[~torch.eye(3, dtype=torch.bool)]
    assert likeness.diagonal().min() > 0.6
    assert others.max() < 0.3


def test_load_encoder_weights_other_network_is_refused(asset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.encoder_weights=.*another network"):
        MaskNetwork("unet", "resnet18", str(asset("efficientnet_lite0.pth")))
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"no tensors")
    with pytest.raises(UserError, match=r"broken\.pth: cannot be read"):
        load_encoder_weights(nn.Linear(1, 1), broken)
    with pytest.raises(UserError, match=r"none\.pth: cannot be read"):
        MaskNetwork("unet", LITE, str(tmp_path / "none.pth"))
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(UserError, match="another network"):
        load_encoder_weights(nn.Linear(1, 1), tmp_path / "list.pth")
    assert not is_file("imagenet")


@pytest.mark.parametrize("weights", ["asset:efficientnet_lite0.pth", "imagenet"])
def test_mask_network_weights_unavailable_starts_from_scratch_with_warning(
    no_network, caplog: pytest.LogCaptureFixture, weights: str
) -> None:
    encoder = LITE if weights.startswith("asset:") else "resnet18"
    with caplog.at_level(logging.WARNING, logger="facesmith"):
        network = MaskNetwork("unet", encoder, weights, DECODER).eval()
    (record,) = [one for one in caplog.records if one.name.startswith("facesmith")]
    assert f"model.encoder_weights={weights}: unavailable" in record.getMessage()
    assert "from scratch" in record.getMessage()
    assert network(torch.rand(1, 3, 64, 64), torch.rand(1, 478, 3)).shape == (1, 1, 64, 64)
