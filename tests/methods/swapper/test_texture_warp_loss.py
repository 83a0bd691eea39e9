import torch
from torch.nn import functional as F

from facesmith.methods.swapper.losses import TextureWarpLoss
from facesmith.models.swapper.colour import from_opponent
from facesmith.models.swapper.generator import SwapOutput
from facesmith.models.swapper.texture_warp import TextureWarp

WEIGHTS = {"flow": 10.0, "mask": 0.3, "light": 1.0, "contrast": 0.3, "mix": 0.04}


def _loss(detail: float = 2.0) -> TextureWarpLoss:
    loss = TextureWarpLoss(**WEIGHTS, detail=detail, mix_detail=4.0, texture_size=32)
    regions = torch.zeros(2, 32, 32)
    regions[0, 8:14, 6:26], regions[1, 20:26, 10:22] = 1, 1
    loss.set_regions(regions)
    return loss


def _batch() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    hull = torch.zeros(2, 1, 64, 64)
    hull[..., 8:56, 8:56] = 1
    rows = torch.linspace(-1, 1, 64)
    canonical = torch.stack(torch.meshgrid(rows, rows, indexing="xy"))[None].repeat(2, 1, 1, 1)
    return {
        "truth": F.interpolate(torch.rand(2, 3, 16, 16), size=(64, 64)) - 0.5,
        "hull": hull,
        "canonical": canonical,
        "labels": torch.tensor([[0, 1, 2], [3, 2, 1]]),
    }


def _perfect(batch: dict[str, torch.Tensor]) -> SwapOutput:
    sampled = torch.rand(2, 3, 64, 64)
    truth = batch["truth"]
    lightness = truth.mean(1, keepdim=True)
    truth = torch.cat([lightness, truth[:, :1] - lightness, truth[:, 2:] - lightness], 1)
    mix = F.one_hot(batch["labels"], 4).float() * 50
    aux = {
        "flow": batch["canonical"].clone(),
        "mix": mix,
        "contrast": torch.zeros(2, 3),
        "light": torch.zeros(2, 3, 64, 64),
        "sampled": truth,
    }
    return SwapOutput(from_opponent(sampled), batch["hull"].clone(), aux)


def test_texture_warp_loss_perfect_output_is_zero() -> None:
    batch = _batch()
    terms = _loss()(_perfect(batch), batch, 0.5)
    assert set(terms) == {"loss", *WEIGHTS}
    assert terms["loss"] < 1e-3
    total = sum(value for name, value in terms.items() if name != "loss")
    assert torch.isclose(terms["loss"], torch.as_tensor(total))


def test_texture_warp_loss_error_at_the_eyes_costs_more() -> None:
    batch, loss = _batch(), _loss(detail=8.0)

    def cost(rows: slice) -> float:
        output = _perfect(batch)
        output.aux["flow"][:, :, rows, 20:40] += 0.05
        return float(loss(output, batch, 0.0)["flow"])

    assert cost(slice(18, 26)) > 3 * cost(slice(30, 38))


def test_texture_warp_loss_gradient_is_of_light_not_pixels() -> None:
    batch = _batch()
    output = _perfect(batch)
    shifted = output.aux | {"light": output.aux["light"] + 0.2}
    loss = _loss()
    assert loss(SwapOutput(output.face + 1, output.mask, output.aux), batch, 0.0)["loss"] < 1e-3
    assert loss(SwapOutput(output.face, output.mask, shifted), batch, 0.0)["light"] > 0.05


def test_texture_warp_loss_reaches_every_parameter() -> None:
    batch = _batch() | {"target": torch.rand(2, 3, 64, 64) * 2 - 1}
    generator = TextureWarp(size=64, textures=4, texture_size=64, channels=[8, 8, 8, 8], blocks=1)
    generator.textures.normal_()
    generator.regions.fill_(1 / 3)
    # what starts at zero is reached once it has moved
    optimizer = torch.optim.SGD(generator.parameters(), 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        _loss()(generator(batch["target"]), batch, 0.0)["loss"].backward()
        optimizer.step()
    still = [name for name, p in generator.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert still == []
