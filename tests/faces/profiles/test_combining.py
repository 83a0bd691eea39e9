import numpy as np
import pytest

from facesmith.errors import UserError
from facesmith.faces.profiles.combining import blend_profiles, enrich_profile, interpolate_profiles

from .test_profile import make


def one(axis, id, **changes):
    mean = np.zeros(8, np.float32)
    mean[axis] = 1
    return make(id=id, embedding_mean=mean, embedding_std=np.full(8, 0.1, np.float32), **changes)


ADA = one(0, "ada", consent="self", consent_note="on paper", expires="2030-01-31", face_set="key-ada", num_frames=30)
BOB = one(1, "bob", consent="public_domain", expires="2029-06-30", face_set="key-bob", num_frames=10)


def test_blend_profiles_weights_decide_direction():
    both = blend_profiles([ADA, BOB], [3, 1], "both")
    np.testing.assert_allclose(both.mean[:2], np.array([3, 1]) / np.sqrt(10), atol=1e-6)
    assert np.linalg.norm(both.mean) == pytest.approx(1, abs=1e-6)
    assert (both.num_frames, both.gate, both.face_set) == (40, {}, "")
    # .01 from within each, and .75 * .25 from the distance of the means
    np.testing.assert_allclose(both.std[:3], np.sqrt([0.01 + 0.1875, 0.01 + 0.1875, 0.01]), atol=1e-6)


def test_blend_profiles_keeps_lineage_and_strictest_consent():
    both = blend_profiles([ADA, BOB], [1, 1], "both")
    assert [(a.id, a.face_set, a.weight) for a in both.made_from] == [("ada", "key-ada", 0.5), ("bob", "key-bob", 0.5)]
    assert both.consent == "self"
    assert both.consent_note == "ada: self (on paper); bob: public_domain"
    assert both.expires == "2029-06-30"
    later = blend_profiles([both, one(2, "carl", face_set="key-carl")], [1, 1], "later")
    assert later.ancestors == ["ada", "bob", "both", "carl"]
    assert {a.face_set: a.weight for a in later.made_from} == {"key-ada": 0.25, "key-bob": 0.25, "key-carl": 0.5}


def test_interpolate_profiles_moves_evenly_along_arc():
    quarter = interpolate_profiles(ADA, BOB, 0.25, "quarter")
    angle = np.pi / 8
    np.testing.assert_allclose(quarter.mean[:2], [np.cos(angle), np.sin(angle)], atol=1e-6)
    np.testing.assert_allclose(interpolate_profiles(ADA, BOB, 0.0, "a").mean, ADA.mean, atol=1e-7)
    np.testing.assert_allclose(interpolate_profiles(ADA, BOB, 1.0, "b").mean, BOB.mean, atol=1e-7)
    np.testing.assert_allclose(interpolate_profiles(ADA, ADA, 0.5, "same").mean, ADA.mean, atol=1e-7)


def test_enrich_profile_counts_each_face_alike():
    near = np.array([0.8, 0.6, 0, 0, 0, 0, 0, 0], np.float32)
    more = make(id="ada", embedding_mean=near, embedding_std=np.zeros(8, np.float32), num_frames=10, face_set="new")
    richer = enrich_profile(ADA, more, min_similarity=0.36)
    expected = 0.75 * ADA.mean + 0.25 * near
    np.testing.assert_allclose(richer.mean, expected / np.linalg.norm(expected), atol=1e-6)
    assert (richer.id, richer.name, richer.num_frames) == ("ada", ADA.name, 40)
    assert [a.face_set for a in richer.made_from] == ["key-ada", "new"]


def test_combining_impossible_input_explains_in_one_line():
    foreign = make(id="eve", embedder="arcface_w600k_r50", embedding_mean=np.ones(512), embedding_std=np.zeros(512))
    opposite = one(0, "opposite")
    opposite = opposite.model_copy(update={"embedding_mean": [-x for x in ADA.embedding_mean]})
    for action, words in (
        (lambda: blend_profiles([ADA, foreign], [1, 1], "x"), "embedders cannot be mixed"),
        (lambda: interpolate_profiles(ADA, foreign, 0.5, "x"), "embedders cannot be mixed"),
        (lambda: enrich_profile(ADA, foreign, 0.3), "embedders cannot be mixed"),
        (lambda: blend_profiles([ADA, BOB], [1], "x"), "one number >= 0 for each of the 2"),
        (lambda: blend_profiles([ADA, BOB], [0, 0], "x"), "not all 0"),
        (lambda: blend_profiles([ADA, BOB], [2, -1], "x"), "one number >= 0"),
        (lambda: blend_profiles([ADA, opposite], [1, 1], "x"), "cancel each other out"),
        (lambda: interpolate_profiles(ADA, opposite, 0.5, "x"), "opposite directions"),
        (lambda: enrich_profile(ADA, BOB, 0.36), "shows somebody else: similarity 0.00 to ada"),
    ):
        with pytest.raises(UserError, match=words) as caught:
            action()
        assert "\n" not in str(caught.value)
