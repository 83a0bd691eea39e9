"""The parts a scene is learnt by, each on its own."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from facesmith.methods.swap_lora.losses import BASE_FACE, BASE_MASK, SwapLoraLoss
from facesmith.methods.swap_lora.neighbours import (
    NeighbourSampler,
    correspondence,
    face_difference,
    next_frames,
)
from facesmith.models.swapper.generator import SwapOutput

SIZE = 32


def smooth(count: int, seed: int = 0) -> torch.Tensor:
    noise = torch.randn(count, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(noise, size=(SIZE, SIZE), mode="bicubic").clamp(-1, 1)


def places(shift: float = 0.0, stretch: float = 1.0) -> torch.Tensor:
    at = (torch.arange(SIZE) + 0.5) * (2 / SIZE) - 1
    return torch.stack(torch.meshgrid(at, at, indexing="xy"))[None] * stretch + shift


def test_correspondence_finds_moved_points() -> None:
    first, second = places(0.05, 1.2), places(-0.03, 1.4)
    grid = correspondence(first, second)
    found = F.grid_sample(second, grid, align_corners=False)
    inside = slice(6, -6)
    assert (found - first)[..., inside, inside].abs().max() < 0.01


def test_face_difference_of_moved_face_is_small() -> None:
    face, hull = smooth(1), torch.ones(1, 1, SIZE, SIZE)
    first, second = places(), places(0.08)
    moved = F.grid_sample(face, second.permute(0, 2, 3, 1), align_corners=False)
    still = face_difference(face, moved, (first, second), (hull, hull))
    blind = face_difference(face, moved, (first, first), (hull, hull))
    assert still < 0.3 * blind
    face.requires_grad_()
    face_difference(face, moved, (first, second), (hull, hull)).backward()  # type: ignore[no-untyped-call]
    assert face.grad is not None
    assert face.grad.abs().sum() > 0


def test_next_frames_stay_within_a_track() -> None:
    faces: Any = SimpleNamespace(tracks=np.array([0, 0, 1, 0, 2]), times=np.array([0.0, 0.1, 0.1, 0.2, np.nan]))
    part: Any = SimpleNamespace(faces=faces, rows=np.arange(5))
    part = type("Rows", (), {"faces": faces, "rows": np.arange(5), "__len__": lambda self: 5})()
    assert next_frames(part).tolist() == [1, 3, -1, -1, -1]


def test_neighbour_sampler_pairs_meet_and_resume_continues() -> None:
    kinds = np.array(["target"] * 6 + ["self"] * 4)
    after = np.array([1, 2, 3, 4, 5, -1, -1, -1, -1, -1])

    def sampler() -> NeighbourSampler:
        return NeighbourSampler(after, kinds=kinds, shares={"target": 2, "self": 1}, batch_size=3, batches=5, seed=1)

    plan = list(sampler())
    assert all(after[batch[0]] in (-1, batch[1]) for batch in plan)
    again = sampler()
    again.start_epoch(0, 2)
    assert list(again) == plan[2:]


class Own(nn.Module):
    def forward(self, output: SwapOutput, batch: dict[str, torch.Tensor], progress: float) -> dict[str, torch.Tensor]:
        value = output.face.square().mean()
        return {"loss": value, "own": value}


def loss(**changed: float) -> SwapLoraLoss:
    given = {
        "identity": 0.0,
        "identity_from": 0.5,
        "identity_share": 0.5,
        "ramp": 0.0,
        "temporal": 0.0,
        "prior": 2.0,
    }
    return SwapLoraLoss(Own(), **{**given, **changed}, embedder="sface")


def batch(count: int) -> dict[str, torch.Tensor]:
    return {
        "target": smooth(count),
        "hull": torch.ones(count, 1, SIZE, SIZE),
        "canonical": places().expand(count, -1, -1, -1),
        "item": torch.arange(count),
        "after": torch.full((count,), -1),
        "source": F.normalize(torch.randn(count, 128)),
    }


def output(count: int) -> SwapOutput:
    return SwapOutput(smooth(count, 5), torch.full((count, 1, SIZE, SIZE), 0.9), {"flow": torch.zeros(count, 2)})


def test_swap_lora_loss_prior_compares_with_the_base() -> None:
    given, made = batch(3), output(3)
    given["prior"] = torch.tensor([False, True, False])
    same = {**given, BASE_FACE: made.face[1:2], BASE_MASK: made.mask[1:2]}
    parts = loss()(made, same, 0.0)
    assert parts["prior"] == 0
    assert parts["loss"] == pytest.approx(float(made.face[[0, 2]].square().mean()))
    other = {**same, BASE_FACE: made.face[1:2] + 0.5}
    assert loss()(made, other, 0.0)["loss"] == pytest.approx(float(parts["loss"]) + 1.0, abs=1e-5)


def test_swap_lora_loss_temporal_counts_neighbours_only() -> None:
    given, made = batch(3), output(3)
    assert "temporal" not in loss(temporal=1.0)(made, given, 0.0)
    given["after"] = torch.tensor([1, -1, -1])
    parts = loss(temporal=2.0)(made, given, 0.0)
    assert parts["loss"] == pytest.approx(float(parts["own"] + 2 * parts["temporal"]))
    assert parts["temporal"] > 0


def test_swap_lora_loss_identity_comes_late() -> None:
    given, made = batch(2), output(2)
    late = loss(identity=0.5)
    assert "identity" not in late(made, given, 0.4)
    parts = late(made, given, 0.6)
    assert parts["loss"] == pytest.approx(float(parts["own"] + 0.5 * parts["identity"]))
