"""Every family covers something, and says exactly what."""

import numpy as np
import pytest

from facesmith.methods.occluder.data import OccluderDataModule
from facesmith.methods.occluder.families import FAMILIES
from facesmith.methods.occluder.families.drawing import FaceCanvas
from facesmith.methods.occluder.families.skin import photographed_hand
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


def test_random_occlusion_thin_rim_hides_whole_pixels(data: OccluderDataModule) -> None:
    labelled = data.training.labelled
    picture, landmarks = labelled.faces.images[0], labelled.faces.landmarks[0]
    face = FaceCanvas(picture, landmarks)
    hidden, drawn, seen = 0, 0, list[float]()
    for seed in range(DRAWS):
        layer = FAMILIES["glasses"](face, RandomTextures(), np.random.default_rng(seed))
        assert layer.hides is not None
        hidden += int((layer.hides > 0.5).sum())
        drawn += int((layer.alpha > 0.6).sum())  # reflections are fainter
        done = occlude({"glasses": 1.0})(picture, landmarks, np.random.default_rng(seed))
        irises = np.rint(landmarks[[468, 473], :2]).astype(int)
        seen += done.visible[irises[:, 1], irises[:, 0]].tolist()
    assert hidden > 1.1 * drawn
    assert np.mean(np.array(seen) > 0.4) > 0.8  # through clear lenses


def test_photographed_hand_has_face_tone_and_its_own_outline(data: OccluderDataModule) -> None:
    labelled = data.training.labelled
    face = FaceCanvas(labelled.faces.images[0], labelled.faces.landmarks[0])
    textures, ratios = RandomTextures(), []
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        layer = photographed_hand(face, textures.hand(rng), rng)
        assert layer.scene_lit
        solid = layer.alpha > 0.9
        if solid.sum() > 20:
            ratios.append(np.median(layer.rgb[solid].mean(-1)) / face.skin_colour().mean())
    assert len(ratios) > DRAWS / 2
    assert 0.4 < float(np.median(ratios)) < 1.8


def test_random_textures_held_out_share_no_photograph() -> None:
    training, held_out = RandomTextures(), RandomTextures(held_out=True)
    assert not set(training.photos) & set(held_out.photos)
    assert training.hands
    assert held_out.hands
    assert not set(training.hands) & set(held_out.hands)
