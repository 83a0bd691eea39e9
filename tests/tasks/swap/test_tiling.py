import numpy as np
import pytest

from facesmith.tasks.swap.paste import tile, tile_points, untile


@pytest.mark.parametrize("k", [1, 2, 4])
def test_tile_is_strided_and_untile_inverts(k):
    crops = np.random.default_rng(0).integers(0, 256, (3, 8 * k, 8 * k, 3), np.uint8)
    parts = tile(crops, k)
    assert parts.shape == (3 * k * k, 8, 8, 3)
    for i in range(k):
        for j in range(k):
            np.testing.assert_array_equal(parts[k * k + i * k + j], crops[1, i::k, j::k])
    np.testing.assert_array_equal(untile(parts, k), crops)


def test_tile_points_of_a_pixel_is_that_pixel_in_its_tile() -> None:
    places = np.array([(5, 2), (0, 7), (6, 6)])
    points = np.column_stack([places, [4.0, 8.0, 12.0]]).astype(np.float32)[None]
    crop = np.zeros((1, 8, 8, 1), np.uint8)
    crop[0, places[:, 1], places[:, 0]] = 1
    tiles, moved = tile(crop, 2), tile_points(points, 2)
    assert moved.shape == (4, 3, 3)
    at = np.rint(moved[..., :2]).astype(int)
    inside = np.abs(moved[..., :2] - at).max(-1) < 1e-6
    assert inside.sum() == len(places)
    assert all(tiles[i, at[i, p, 1], at[i, p, 0]] == 1 for i, p in np.argwhere(inside))
    assert moved[..., 2] == pytest.approx(np.broadcast_to([2, 4, 6], (4, 3)))
