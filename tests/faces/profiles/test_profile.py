import json
import os
import stat

import numpy as np
import pytest

from facesmith.errors import UserError
from facesmith.faces.profiles.profile import IdentityProfile


def make(**changes) -> IdentityProfile:
    rng = np.random.default_rng(0)
    fields = {
        "id": "ada",
        "name": "Ada",
        "embedder": "sface",
        "embedding_mean": rng.normal(size=128).astype(np.float32) * 3,
        "embedding_std": rng.random(128).astype(np.float32),
        "num_frames": 100,
        "quality_stats": {"avg_face_score": 0.98},
        "gate": {"val/nme": 0.03},
        "face_set": "key1",
        "consent": "self",
        "consent_note": None,
    }
    return IdentityProfile.create(**(fields | changes))


def test_profile_round_trip_keeps_every_bit(tmp_path):
    profile = make()
    profile.save(tmp_path / "profiles" / "ada.json")
    again = IdentityProfile.load(tmp_path / "profiles" / "ada.json")
    assert again == profile
    assert again.mean.dtype == np.float32
    assert np.linalg.norm(again.mean) == pytest.approx(1, abs=1e-6)
    assert again.similarity(profile.mean[None], "sface")[0] == pytest.approx(1, abs=1e-6)


def test_profile_other_embedder_is_refused():
    profile = make()
    with pytest.raises(UserError, match="made with embedder sface"):
        profile.similarity(np.ones((1, 512), np.float32), "arcface")
    with pytest.raises(UserError, match="embedders cannot be mixed"):
        profile.require_embedder("sface", 512)


@pytest.mark.parametrize("mean", [np.zeros(4, np.float32), np.full(4, np.nan, np.float32)])
def test_profile_create_zero_mean_is_refused(mean):
    with pytest.raises(ValueError, match="no direction"):
        make(embedding_mean=mean, embedding_std=np.zeros(4, np.float32))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.pop("embedder"), "embedder: Field required"),
        (lambda f: f.update(extra=1), "extra: Extra inputs"),
        (lambda f: f.update(embedding_std=[0.1]), "embedding_std has 1 numbers, embedding_mean 128"),
        (lambda f: f.update(embedding_mean=[0.5] * 128), "has length 5.657, not 1"),
        (lambda f: f.update(consent="maybe"), "consent: Input should be"),
        (lambda f: f.update(id="../ada"), "id: String should match pattern"),
        (lambda f: f.update(num_frames="100"), "num_frames: Input should be a valid integer"),
        (
            lambda f: f["embedding_std"].__setitem__(0, float("nan")),
            "embedding_std.0: Input should be a finite number",
        ),
        (lambda f: f.update(created="yesterday"), "Invalid isoformat"),
    ],
)
def test_profile_load_wrong_field_names_it_in_one_line(tmp_path, change, words):
    path = tmp_path / "ada.json"
    fields = make().model_dump()
    change(fields)
    path.write_text(json.dumps(fields))
    with pytest.raises(UserError) as caught:
        IdentityProfile.load(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [None, "", "{", "[]"])
def test_profile_load_other_file_is_refused(tmp_path, content):
    path = tmp_path / "ada.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=r"ada\.json: "):
        IdentityProfile.load(path)


def test_profile_save_any_umask_is_private(tmp_path):
    before = os.umask(0)
    try:
        make().save(tmp_path / "profiles" / "ada.json")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "profiles", tmp_path / "profiles" / "ada.json")]
    assert modes == [0o700, 0o600]


def test_profile_load_older_version_fills_defaults(tmp_path):
    make(expires="2030-01-31").save(tmp_path / "ada.json")
    fields = json.loads((tmp_path / "ada.json").read_text())
    assert fields["expires"] == "2030-01-31"
    for key in ("expires", "made_from", "ancestors"):
        del fields[key]
    (tmp_path / "old.json").write_text(json.dumps(fields))
    assert IdentityProfile.load(tmp_path / "old.json").expires is None
    fields["expires"] = "tomorrow"
    (tmp_path / "bad.json").write_text(json.dumps(fields))
    with pytest.raises(UserError, match="expires: must be a date, such as 2027-12-31"):
        IdentityProfile.load(tmp_path / "bad.json")
