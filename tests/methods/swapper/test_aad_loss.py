"""The AAD loss: a small set is memorised, likeness comes late, each side of the GAN gets its own gradient."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from facesmith.methods.swapper.config import AadLossConfig
from facesmith.methods.swapper.losses import AadLoss
from facesmith.models.swapper.aad import Aad
from facesmith.training.losses import AdversarialLoss, masked_ssim_loss

WEIGHTS: dict[str, Any] = {
    "l1": 5.0,
    "ssim": 1.0,
    "mask": 0.5,
    "background": 0.1,
    "identity": 0.0,
    "identity_from": 0.4,
    "identity_share": 0.5,
    "embedder": "sface",
    "adversarial": 0.0,
    "adversarial_from": 0.6,
    "matching": 2.0,
    "discriminator_channels": 8,
    "ramp": 0.1,
}


def aad_loss(**changed: float) -> AadLoss:
    target = "facesmith.methods.swapper.losses.AadLoss"
    return AadLoss(AadLossConfig.model_validate({"_target_": target, **WEIGHTS, **changed}))


def generator() -> Aad:
    torch.manual_seed(0)
    return Aad(
        size=32,
        embedding_size=128,
        encoder_channels=[16, 32, 64],
        decoder_channels=[64, 48, 32],
        convolutions=1,
        unshuffle=2,
        finest_skip=8,
    )


def batch(count: int = 4) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(3)
    coarse = torch.rand(2 * count, 3, 8, 8, generator=random) * 2 - 1
    target, truth = F.interpolate(coarse, size=(32, 32), mode="bicubic").clamp(-1, 1).chunk(2)
    hull = torch.zeros(count, 1, 32, 32)
    hull[..., 6:26, 8:24] = 1
    source = F.normalize(torch.randn(count, 128, generator=random))
    return {"target": target, "truth": truth, "hull": hull, "source": source}


def test_aad_loss_overfits_a_tiny_set() -> None:
    net, loss, data = generator(), aad_loss(), batch()
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    history = []
    for _ in range(120):
        parts = loss(net(data["target"], data["source"]), data, 0.0)
        optimizer.zero_grad()
        parts["loss"].backward()
        optimizer.step()
        history.append(parts["loss"].item())
    assert history[-1] < history[0] / 5


def test_aad_loss_identity_and_adversary_ramp_in_late() -> None:
    net, data = generator().eval(), batch()
    loss = aad_loss(identity=0.35, adversarial=0.05)
    output = net(data["target"], data["source"])
    early, mid, late = (loss(output, data, progress) for progress in (0.39, 0.45, 1.0))
    assert "identity" not in early
    assert "identity" in mid
    assert "adversarial" not in mid
    assert {"identity", "adversarial", "matching", "discriminator"} <= late.keys()
    ramped = mid["loss"] - early["loss"]
    torch.testing.assert_close(ramped, 0.35 * 0.5 * mid["identity"], rtol=1e-3, atol=1e-4)


def test_aad_loss_recogniser_is_neither_saved_nor_trained() -> None:
    net, data = generator(), batch()
    loss = aad_loss(identity=0.35)
    loss(net(data["target"], data["source"]), data, 1.0)["loss"].backward()
    assert not loss.state_dict()
    assert not list(loss.parameters())
    assert all(p.grad is not None for p in net.face.parameters())


def test_adversarial_loss_each_side_gets_its_own_gradient() -> None:
    torch.manual_seed(0)
    adversary, truth = AdversarialLoss(8), torch.rand(2, 3, 32, 32)
    picture = torch.rand(2, 3, 32, 32, requires_grad=True)
    fooling, matching, _ = adversary(picture, truth)
    (fooling + matching).backward(retain_graph=True)
    assert picture.grad is not None
    assert all(p.grad is None for p in adversary.parameters())
    picture.grad = None
    adversary(picture, truth)[2].backward()
    assert picture.grad is None
    assert all(p.grad is not None for p in adversary.parameters() if p.requires_grad)


def test_masked_ssim_loss_same_picture_is_zero() -> None:
    picture, weight = torch.rand(1, 3, 32, 32) * 2 - 1, torch.ones(1, 1, 32, 32)
    assert masked_ssim_loss(picture, picture, weight).abs() < 1e-5
    assert masked_ssim_loss(picture, -picture, weight) > 0.3
