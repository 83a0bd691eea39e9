import io
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from facesmith.models.swapper import texture_warp
from facesmith.models.swapper.colour import from_opponent, opponent
from facesmith.models.swapper.generator import composite
from facesmith.models.swapper.texture_warp import TextureWarp


def _textures(count: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(count, 3, 9, 9, generator=generator)
    pictures = nn.functional.interpolate(small, size=(size, size), mode="bicubic").clamp(0, 1) * 255
    regions, core = torch.zeros(2, size, size), torch.zeros(size, size)
    regions[0, size // 4 : size // 2], regions[1, 5 * size // 8 :] = 1, 1
    core[size // 4 : 3 * size // 4, size // 4 : 3 * size // 4] = 1
    return pictures.permute(0, 2, 3, 1).round().byte(), regions, core


@pytest.fixture
def generator() -> TextureWarp:
    torch.manual_seed(0)
    made = TextureWarp(size=128, textures=3, texture_size=64, channels=[8, 8, 8, 8], blocks=1)
    made.set_textures(*_textures(3, 64))
    return made.eval()


def test_texture_warp_shapes_and_ranges(generator: TextureWarp) -> None:
    target = torch.rand(2, 3, 128, 128) * 2 - 1
    face, mask, aux = generator(target)
    assert face.shape == (2, 3, 128, 128)
    assert mask.shape == (2, 1, 128, 128)
    assert face.abs().max() <= 1
    assert 0 <= mask.min() <= mask.max() <= 1
    assert aux["mix"].shape == (2, 3, 3)
    assert (generator.size, generator.template, generator.embedding_size) == (128, "arcface_128", None)


def test_texture_warp_runs_at_other_sizes(generator: TextureWarp) -> None:
    smooth = nn.functional.interpolate(torch.rand(1, 3, 8, 8), size=(256, 256), mode="bicubic") * 2 - 1
    with torch.no_grad():
        large = generator(smooth).face
        small = generator(nn.functional.avg_pool2d(smooth, 4)).face
    middle = (slice(None), slice(None), slice(4, 60), slice(4, 60))
    assert (nn.functional.avg_pool2d(large, 4)[middle] - small[middle]).abs().mean() < 0.03


def test_texture_warp_untrained_shows_textures_in_target_colours(generator: TextureWarp) -> None:
    dark, bright = torch.full((1, 3, 64, 64), -0.6), torch.full((1, 3, 64, 64), 0.4)
    nn.init.constant_(generator.geometry.bias[-4:], 5.0)  # all is face
    with torch.no_grad():
        difference = (generator(bright).face - generator(dark).face)[..., 20:44, 20:44].mean()
    assert difference == pytest.approx(1.0, abs=0.1)


def test_texture_warp_state_dict_rebuilds_the_person(generator: TextureWarp) -> None:
    stored = io.BytesIO()
    torch.save(generator.state_dict(), stored)
    stored.seek(0)
    other = TextureWarp(size=128, textures=3, texture_size=64, channels=[8, 8, 8, 8], blocks=1).eval()
    other.load_state_dict(torch.load(stored, weights_only=True))
    target = torch.rand(1, 3, 128, 128) * 2 - 1
    assert torch.equal(other(target).face, generator(target).face)


def test_texture_warp_wrong_texture_count_is_refused(generator: TextureWarp) -> None:
    with pytest.raises(ValueError, match="textures must be"):
        generator.set_textures(*_textures(4, 64))


def test_opponent_round_trip_is_exact() -> None:
    picture = torch.rand(1, 3, 4, 4)
    assert torch.allclose(from_opponent(opponent(picture)), picture, atol=1e-6)


class _Shown(nn.Module):
    def __init__(self, generator: TextureWarp) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, target: Tensor) -> tuple[Tensor, Tensor]:
        face, mask, _ = self.generator(target)
        return composite(face, mask, target)


def test_texture_warp_onnx_samples_three_channels_and_agrees(generator: TextureWarp, tmp_path: Path) -> None:
    nn.init.constant_(generator.geometry.bias[-4:], 5.0)
    target = torch.rand(1, 3, 128, 128) * 2 - 1
    shown, path = _Shown(generator).eval(), tmp_path / "x.onnx"
    program = torch.onnx.export(shown, (target,), dynamo=True, opset_version=18, verbose=False)
    assert program is not None
    program.save(str(path), external_data=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given = session.run(None, {session.get_inputs()[0].name: target.numpy()})
    with torch.no_grad():
        wanted = shown(target)
    for a, b in zip(given, wanted, strict=True):
        assert np.abs(a - b.numpy()).max() < 1e-4


def test_texture_warp_nan_places_reach_the_loss() -> None:
    places = torch.zeros(1, 2, 8, 8)
    places[..., 0] = float("nan")
    places[..., 1] = float("inf")
    places.requires_grad_()
    sampled = texture_warp._sample_at(torch.rand(1, 3, 16, 16), places)
    sampled.sum().backward()
    assert places.grad is not None
    assert places.grad.isfinite().all()
