"""Flow matching: what the transformer is asked for is what the samplers need."""

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

from facesmith.methods.video_lora.flow_matching import (
    add_noise,
    fixed_noise_levels,
    flow_loss,
    head_coverage,
    sample_noise_levels,
    shift_noise_levels,
)


@pytest.mark.parametrize(
    "scheduler",
    [
        FlowMatchEulerDiscreteScheduler(shift=3.0),
        UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0),
    ],
    ids=["euler", "unipc"],
)
def test_true_velocity_leads_back_to_the_latents(scheduler: object) -> None:
    random = torch.Generator().manual_seed(0)
    latents, noise = torch.randn(2, 1, 4, 3, 5, 5, generator=random)
    schedule: object = scheduler
    schedule.set_timesteps(12)  # type: ignore[attr-defined]
    found = noise
    for moment in schedule.timesteps:  # type: ignore[attr-defined]
        found = schedule.step(noise - latents, moment, found, return_dict=False)[0]  # type: ignore[attr-defined]
    assert torch.allclose(found, latents, atol=2e-5)


def test_add_noise_levels_run_from_latents_to_noise() -> None:
    latents, noise = torch.randn(2, 3, 4, 3, 5, 5)
    mixed = add_noise(latents, noise, torch.tensor([0.0, 1.0, 0.5]))
    assert torch.equal(mixed[0], latents[0])
    assert torch.equal(mixed[1], noise[1])
    assert torch.allclose(mixed[2], (latents[2] + noise[2]) / 2)


def test_shift_noise_levels_keeps_the_ends() -> None:
    levels = shift_noise_levels(torch.tensor([0.0, 0.5, 1.0]), 3.0)
    assert levels.tolist() == [0.0, 0.75, 1.0]
    assert torch.equal(fixed_noise_levels(4, 1.0), torch.tensor([0.125, 0.375, 0.625, 0.875]))


@pytest.mark.parametrize("density", ["uniform", "logit_normal"])
def test_sample_noise_levels_follow_torchs_generator(density: str) -> None:
    torch.manual_seed(1)
    first = sample_noise_levels(100, 3.0, density, torch.device("cpu"))  # type: ignore[arg-type]
    torch.manual_seed(1)
    assert torch.equal(first, sample_noise_levels(100, 3.0, density, torch.device("cpu")))  # type: ignore[arg-type]
    assert 0 < float(first.min()) < float(first.max()) < 1
    assert float(first.median()) > 0.6


def test_flow_loss_weights_average_to_one() -> None:
    velocity, target = torch.zeros(2, 1, 1, 2, 2), torch.ones(2, 1, 1, 2, 2)
    levels = torch.tensor([0.2, 0.8])
    heads = torch.zeros(2, 1, 1, 2, 2)
    heads[..., 0, 0] = 1
    for options in ({}, {"heads": heads, "head_weight": 3.0}, {"weighting": "min_snr"}):
        assert float(flow_loss(velocity, target, levels, **options)) == pytest.approx(1.0)
    off = target.clone()
    off[..., 0, 0] = 3.0
    plain = float(flow_loss(velocity, off, levels))
    assert float(flow_loss(velocity, off, levels, heads=heads, head_weight=3.0)) > plain


def test_head_coverage_is_the_share_of_each_latent_cell() -> None:
    boxes = torch.tensor([[0.0, 0.0, 8.0, 4.0]] + [[8.0, 8.0, 16.0, 16.0]] * 2 + [[float("nan")] * 4] * 2)
    shares = head_coverage(boxes, (2, 2, 2), (4, 8))
    assert shares.shape == (1, 2, 2, 2)
    assert shares[0, 0].tolist() == [[0.5, 0.0], [0.0, 0.0]]
    assert shares[0, 1].tolist() == [[0.0, 0.0], [0.0, 0.5]]


def test_noise_levels_and_mixing_equal_diffusers_scheduler() -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)  # its table: 1000 levels, shifted
    plain = torch.arange(1000, 0, -1) / 1000
    assert torch.allclose(shift_noise_levels(plain, 3.0), scheduler.sigmas[:1000], atol=1e-6)
    latents, noise = torch.randn(2, 2, 4, 3, 5, 5)
    some = torch.tensor([100, 700])
    theirs = scheduler.scale_noise(latents, scheduler.timesteps[some], noise)
    assert torch.allclose(add_noise(latents, noise, scheduler.sigmas[some]), theirs, atol=1e-6)


def test_sample_noise_levels_equal_those_of_earlier_versions() -> None:
    """Runs that began before the draws were diffusers' own are resumed with the same numbers."""
    device = torch.device("cpu")
    for count in (1, 7, 16, 33):
        torch.manual_seed(3)
        uniform, normal = torch.rand(count), torch.randn(count)
        torch.manual_seed(3)
        assert torch.equal(sample_noise_levels(count, 1.0, "uniform", device), uniform)
        assert torch.equal(sample_noise_levels(count, 1.0, "logit_normal", device), torch.sigmoid(normal))
