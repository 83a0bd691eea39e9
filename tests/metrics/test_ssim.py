import numpy as np
import torch
from skimage.metrics import structural_similarity

from facesmith.metrics.ssim import ssim_map


def test_ssim_map_agrees_with_scikit_image() -> None:
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(2, 3, 16, 16, generator=generator)
    truth = torch.nn.functional.interpolate(small, 64, mode="bilinear")
    picture = (truth + 0.1 * torch.randn(truth.shape, generator=generator)).clamp(0, 1)
    ours = ssim_map(picture * 2 - 1, truth * 2 - 1)
    assert ours.shape == (2, 3, 58, 58)
    for one, other, found in zip(picture, truth, ours, strict=True):
        _, whole = structural_similarity(
            one.numpy(), other.numpy(), channel_axis=0, data_range=1.0, full=True, use_sample_covariance=False
        )
        np.testing.assert_allclose(found, whole[:, 3:-3, 3:-3], atol=1e-3)
    assert ssim_map(truth * 2 - 1, truth * 2 - 1, borders=True).shape == truth.shape
    torch.testing.assert_close(ssim_map(truth, truth).mean(), torch.tensor(1.0))
