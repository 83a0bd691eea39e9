"""Another look is another picture of the same face."""

import cv2
import numpy as np

from facesmith.occluder.data import OccluderDataModule
from facesmith.occluder.dataset import OccludedFaces
from facesmith.occluder.looks import another_look


def test_a_look_changes_tone_and_keeps_the_face(data: OccluderDataModule) -> None:
    picture = data.training.labelled.faces.images[0]
    looks = [another_look(picture, np.random.default_rng(seed)) for seed in range(12)]
    assert all(look.dtype == np.uint8 and look.shape == picture.shape for look in looks)
    assert np.array_equal(looks[3], another_look(picture, np.random.default_rng(3)))
    colours = np.array([look[20:50, 20:50].reshape(-1, 3).mean(0) for look in looks])
    assert colours.std(axis=0).min() > 12
    edges = [cv2.GaussianBlur(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY), (0, 0), 1.5) for one in (picture, *looks)]
    alike = [np.corrcoef(edges[0].ravel(), edge.ravel())[0, 1] for edge in edges[1:]]
    assert min(alike) > 0.6
    assert np.median(alike) > 0.85


def test_looks_change_no_mask_and_are_drawn_as_often_as_asked(data: OccluderDataModule) -> None:
    labelled = data.training.labelled
    bare = data._occlude({"shape": 1}, data.training.occlude._surfaces, clear=1)  # type: ignore[arg-type]
    always, half = (OccludedFaces(labelled, bare, share, seed=0) for share in (1.0, 0.5))
    original = labelled.faces.images[1].transpose(2, 0, 1)
    changed = [not np.array_equal(half[1, number]["picture"].numpy(), original) for number in range(40)]
    assert 10 < sum(changed) < 30
    assert not np.array_equal(always[1, 0]["picture"].numpy(), original)
    assert np.array_equal(always[1, 0]["mask"][0].numpy(), labelled.masks[1])
