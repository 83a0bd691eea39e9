"""Several people in one run: who dances where, whose photos are shown, and their profiles, which blend."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from facesmith.cli.train import train
from facesmith.config.schema import TrainConfig
from facesmith.errors import UserError
from facesmith.faces.profiles.combining import blend_profiles
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.methods.video_lora.adapter_bundle import load_bundle
from facesmith.methods.video_lora.face_embeddings import FaceEmbeddings
from facesmith.methods.video_lora.identities import assign_identities, photo_sources, sample_single_photos
from facesmith.models.checkpoint import read_checkpoint


def embeddings(*rows: list[float]) -> FaceEmbeddings:
    return FaceEmbeddings(
        torch.tensor(rows), torch.ones(len(rows)), torch.zeros(4, 4, 3, dtype=torch.uint8), "e", np.ones(2, np.float32)
    )


def test_assign_identities_one_person_dances_in_every_video() -> None:
    assert photo_sources("photos/", "ada") == {"ada": "photos/"}
    assert assign_identities(["dance_1", "dance_2"], ["ada"]) == [0, 0]


def test_assign_identities_several_people_by_file_name() -> None:
    assert assign_identities(["ada_1", "ada_lee_1", "ada_lee", "ben_7"], ["ada", "ada_lee", "ben"]) == [0, 1, 1, 2]
    with pytest.raises(UserError, match=r"data.videos: adam_1 does not say who dances; .* such as ada_adam_1"):
        assign_identities(["ada_1", "adam_1"], ["ada", "ben"])
    with pytest.raises(UserError, match=r"data.videos: no video of ben; add videos such as ben_001.mp4"):
        assign_identities(["ada_1"], ["ada", "ben"])


def test_sample_single_photos_are_the_dancers_own() -> None:
    people = [embeddings([1.0, 0.0]), embeddings([2.0, 0.0], [3.0, 0.0], [4.0, 0.0])]
    who = torch.tensor([0, 1]).repeat(50)
    face = torch.full((100, 2), 9.0)
    assert torch.equal(sample_single_photos(people, face, who, 0.0), face)
    chosen = sample_single_photos(people, face, who, 1.0)[:, 0]
    assert set(chosen[who == 0].tolist()) == {1.0}
    assert set(chosen[who == 1].tolist()) == {2.0, 3.0, 4.0}


def test_train_two_people_profiles_blend(demo: Callable[..., TrainConfig], tmp_path: Path) -> None:
    names = ["dancer_000", "dancer_001"]
    overrides = ["data.people=[0,1]", f"data.holdout=[{names[1]}_dance_004]", "trainer.max_epochs=1"]
    train(demo(tmp_path, *overrides))
    provenance = read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["facesmith"]["provenance"]
    assert provenance["identity"] == "dancer_000,dancer_001"
    one, two = (IdentityProfile.load(tmp_path / "exports" / "profiles" / f"{name}.json") for name in names)
    bundle = load_bundle(tmp_path / "exports")
    assert bundle.facts["identity"] == "dancer_000,dancer_001"
    assert one.embedder == bundle.facts["encoder"]
    assert torch.allclose(bundle.embedding, torch.tensor(one.embedding_mean), atol=1e-6)
    mixed = np.asarray(blend_profiles([one, two], [1, 1], "both").embedding_mean)
    alike = [float(mixed @ np.asarray(each.embedding_mean)) for each in (one, two)]
    assert alike[0] == pytest.approx(alike[1], abs=1e-4)
    assert alike[0] > float(np.asarray(one.embedding_mean) @ np.asarray(two.embedding_mean))
