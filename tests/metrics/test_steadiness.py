import numpy as np
import pytest

from facesmith.metrics.edges import find_changed, seam
from facesmith.metrics.steadiness import measure_steadiness


@pytest.fixture(scope="module")
def moving(carphone_frames):
    """Two neighbouring crops of the man in which he moves."""
    return carphone_frames[40][8:136, 20:148], carphone_frames[41][8:136, 20:148]


INSIDE = np.pad(np.ones((64, 64)), 32)


def test_steadiness_of_the_target_itself_is_one_and_keeps_its_own_warping_error(moving):
    found = measure_steadiness(moving, moving, INSIDE)
    assert found.flicker == 1
    assert found.warping_error == found.warping_error_target
    assert found.warping_error < 0.5


def test_steadiness_of_another_brightness_in_every_frame_shows_in_both(moving):
    first, second = moving
    found = measure_steadiness((first, np.clip(second.astype(int) + 12, 0, 255).astype(np.uint8)), moving, INSIDE)
    assert found.flicker > 1.5
    assert found.warping_error > 3 * found.warping_error_target


def test_steadiness_of_a_frozen_face_has_no_flicker_but_a_warping_error(moving):
    found = measure_steadiness((moving[0], moving[0]), moving, INSIDE)
    assert found.flicker == 0
    assert found.warping_error > 0


def test_find_changed_ignores_noise_and_fills_holes(moving):
    picture = moving[0]
    noise = np.random.default_rng(0).integers(-3, 4, picture.shape)
    noisy = np.clip(picture.astype(int) + noise, 0, 255).astype(np.uint8)
    assert not find_changed(picture, noisy).any()
    pasted = noisy.copy()
    pasted[30:90, 40:100] = 255 - pasted[30:90, 40:100]
    pasted[55:65, 60:70] = noisy[55:65, 60:70]
    mask = find_changed(picture, pasted)
    assert mask[55:65, 60:70].all()
    assert mask.mean() / 255 == pytest.approx(60 * 60 / 128**2, rel=0.15)
    assert seam(picture, pasted, mask) > 5
