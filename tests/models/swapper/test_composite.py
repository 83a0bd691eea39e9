import torch

from facesmith.models.swapper.generator import composite, feather


def test_composite_has_face_inside_target_outside() -> None:
    target, face = torch.full((1, 3, 64, 64), -0.5), torch.full((1, 3, 64, 64), 0.5)
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 16:48, 16:48] = 1
    picture, soft = composite(face, mask, target)
    assert torch.allclose(picture[..., 30:34, 30:34], torch.tensor(0.5), atol=1e-4)
    assert torch.equal(picture[..., :8, :8], target[..., :8, :8])
    assert 0 < soft[0, 0, 32, 16] < 0.5  # eroded: the old edge lies outside the half-way line
    assert soft.min() >= 0
    assert soft.max() <= 1 + 1e-6


def test_composite_full_mask_fades_at_the_rim() -> None:
    soft = feather(torch.ones(1, 1, 128, 128))
    assert soft[0, 0, 64, 64] > 0.999
    assert soft[0, 0, 0].max() < 0.3


def test_feather_scales_with_the_crop() -> None:
    def edge(size: int) -> torch.Tensor:
        mask = torch.zeros(1, 1, size, size)
        mask[..., size // 4 : 3 * size // 4, size // 4 : 3 * size // 4] = 1
        return feather(mask)[0, 0, size // 2]

    coarse = torch.nn.functional.avg_pool1d(edge(256)[None], 2)[0]
    assert (coarse - edge(128)).abs().max() < 0.06
