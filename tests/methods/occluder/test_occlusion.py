"""Every family covers something, and says exactly what."""

import numpy as np
import pytest

from facesmith.methods.occluder.data import OccluderDataModule
from facesmith.methods.occluder.families import FAMILIES
from facesmith.methods.occluder.families.textures import RandomTextures
from facesmith.methods.occluder.occlusion import UNOCCLUDED, RandomOcclusion

DRAWS = 8


def occlude(weights: dict[str, float], *, unoccluded: float = 0.0, second_occluder: float = 0.0) -> RandomOcclusion:
    return RandomOcclusion(
        weights, RandomTextures(), unoccluded=unoccluded, second_occluder=second_occluder, motion_blur=0.15, defocus=0.2
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_random_occlusion_family_labels_what_it_covers(data: OccluderDataModule, family: str) -> None:
    labelled = data.training.labelled
    picture, landmarks = labelled.faces.images[0], labelled.faces.landmarks[0]
    inside = labelled.masks[0] > 127
    covering = occlude({family: 1.0})
    shares = []
    for seed in range(DRAWS):
        done = covering(picture, landmarks, np.random.default_rng(seed))
        assert done.family == family
        assert done.picture.dtype == np.uint8
        assert done.picture.shape == picture.shape
        assert done.visible.min() >= 0
        assert done.visible.max() <= 1
        shares.append(float((1 - done.visible[inside]).mean()))
        # what nothing hides is at most in a shadow: never brighter, never another colour
        free = done.visible > 0.999
        before, after = picture[free].astype(int), done.picture[free].astype(int)
        assert (after <= before + 2).all()
        assert (after >= before * 0.45 - 2).all()
        ratio = (after + 8) / (before + 8)
        assert np.median(np.ptp(ratio, axis=-1)) < 0.1
        hidden = done.visible < 0.05
        if hidden.sum() > 50:
            changed = np.abs(done.picture[hidden].astype(int) - picture[hidden]).max(-1)
            assert (changed > 3).mean() > 0.7
    assert np.mean(shares) > 0.01, shares
    assert max(shares) > 0.03, shares


def test_random_occlusion_unoccluded_share_and_zero_weights(data: OccluderDataModule) -> None:
    labelled = data.training.labelled
    covering = occlude({"shape": 1.0, "glasses": 1.0, "hand": 0.0}, unoccluded=0.5)
    done = [
        covering(labelled.faces.images[0], labelled.faces.landmarks[0], np.random.default_rng(seed))
        for seed in range(60)
    ]
    families = [one.family for one in done]
    assert 15 < families.count(UNOCCLUDED) < 45
    assert set(families) == {UNOCCLUDED, "shape", "glasses"}
    untouched = next(one for one in done if one.family == UNOCCLUDED)
    assert np.array_equal(untouched.picture, labelled.faces.images[0])
    assert untouched.visible.min() == 1


def test_random_textures_held_out_share_no_photograph() -> None:
    assert not set(RandomTextures().photos) & set(RandomTextures(held_out=True).photos)
