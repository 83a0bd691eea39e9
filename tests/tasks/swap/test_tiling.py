import numpy as np
import pytest

from facesmith.tasks.swap.paste import tile, untile


@pytest.mark.parametrize("k", [1, 2, 4])
def test_tile_is_strided_and_untile_inverts(k):
    crops = np.random.default_rng(0).integers(0, 256, (3, 8 * k, 8 * k, 3), np.uint8)
    parts = tile(crops, k)
    assert parts.shape == (3 * k * k, 8, 8, 3)
    for i in range(k):
        for j in range(k):
            np.testing.assert_array_equal(parts[k * k + i * k + j], crops[1, i::k, j::k])
    np.testing.assert_array_equal(untile(parts, k), crops)
