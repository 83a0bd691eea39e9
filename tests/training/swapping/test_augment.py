import pytest
import torch

from facesmith.training.swapping.augment import Augment

STILL = {
    **{"degrees": 0.0, "scale": 0.0, "shift": 0.0, "elastic": 0.0},
    **{"colour": 0.0, "grey": 0.0, "relight": 0.0, "camera": 0.0},
}


def _batch(size: int = 64) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    at = (torch.arange(size) + 0.5) * 2 / size - 1
    canonical = torch.stack(torch.meshgrid(at, at, indexing="xy"))[None].repeat(8, 1, 1, 1)
    rough = torch.nn.functional.interpolate(torch.rand(8, 3, 8, 8), size=(size, size), mode="bilinear") - 0.5
    hull = (canonical.norm(dim=1, keepdim=True) < 0.5).float()
    batch = {"target": rough, "truth": rough, "hull": hull, "alpha": hull, "canonical": canonical}
    return batch | {"labels": torch.arange(24).view(8, 3)}


def test_augment_zero_strength_changes_size_only() -> None:
    batch = _batch(128)
    small = Augment(size=64, **STILL)(batch)
    assert torch.allclose(small["target"], torch.nn.functional.avg_pool2d(batch["target"], 2), atol=1e-4)
    assert small["canonical"].shape == (8, 2, 64, 64)
    assert torch.equal(small["labels"], batch["labels"])


def test_augment_moves_everything_together() -> None:
    moved = Augment(size=64, **STILL | {"degrees": 20.0, "shift": 0.1, "elastic": 0.05})(_batch())
    assert torch.equal(moved["target"], moved["truth"])
    inside = moved["canonical"].norm(dim=1, keepdim=True) < 0.5
    agree = (inside.float() - moved["hull"]).abs() < 0.5
    assert agree.float().mean() > 0.97
    assert (moved["hull"] - _batch()["hull"]).abs().mean() > 0.005


def test_augment_light_on_both_camera_on_target_only() -> None:
    lit = Augment(size=64, **STILL | {"colour": 1.0, "grey": 0.5, "relight": 0.3})(_batch())
    assert torch.equal(lit["target"], lit["truth"])
    assert not torch.allclose(lit["target"], _batch()["target"], atol=0.05)
    spread = lit["target"].std(1).amax((1, 2))
    assert 0 < (spread < 1e-6).sum() < 8
    shot = Augment(size=64, **STILL | {"camera": 1.0})(_batch())
    assert torch.equal(shot["truth"], Augment(size=64, **STILL)(_batch())["truth"])
    assert not torch.equal(shot["target"], shot["truth"])


def test_augment_same_seed_same_batch() -> None:
    augment = Augment(size=64, **STILL | {"degrees": 20.0, "colour": 1.0})
    batch = _batch()
    torch.manual_seed(3)
    first = augment(batch)["target"]
    torch.manual_seed(3)
    assert torch.equal(augment(batch)["target"], first)


def test_augment_size_that_is_no_multiple_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple"):
        Augment(size=48, **STILL)(_batch(64))


def test_augment_processes_equal_one_process() -> None:
    augment = Augment(
        **{"size": 64, "degrees": 20.0, "scale": 0.1, "shift": 0.1, "elastic": 0.05},
        **{"colour": 1.0, "grey": 0.5, "relight": 0.3, "camera": 1.0},
    )
    batch = _batch()
    torch.manual_seed(5)
    whole = augment(batch)
    for process in range(2):
        torch.manual_seed(5)
        part = augment({name: value[process::2] for name, value in batch.items()}, process, 2)
        assert all(torch.allclose(part[name], whole[name][process::2], atol=1e-5) for name in part)
