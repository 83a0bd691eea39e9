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
from facesmith.methods.video_lora.adapter_bundle import load_person
from facesmith.methods.video_lora.identities import References, dancers, some_photos, sources_of
from facesmith.models.checkpoint import read_checkpoint


def references(*rows: list[float]) -> References:
    return References(
        torch.tensor(rows), torch.ones(len(rows)), torch.zeros(4, 4, 3, dtype=torch.uint8), "e", np.ones(2, np.float32)
    )


def test_one_person_dances_in_every_video() -> None:
    assert sources_of("photos/", "ada") == {"ada": "photos/"}
    assert dancers(["dance_1", "dance_2"], ["ada"]) == [0, 0]


def test_videos_of_several_people_say_who_dances() -> None:
    assert dancers(["ada_1", "ada_lee_1", "ada_lee", "ben_7"], ["ada", "ada_lee", "ben"]) == [0, 1, 1, 2]
    with pytest.raises(UserError, match=r"data.videos: adam_1 does not say who dances; .* such as ada_adam_1"):
        dancers(["ada_1", "adam_1"], ["ada", "ben"])
    with pytest.raises(UserError, match=r"data.videos: nobody dances as ben; add videos such as ben_001.mp4"):
        dancers(["ada_1"], ["ada", "ben"])


def test_photos_are_drawn_among_the_dancers_own() -> None:
    people = [references([1.0, 0.0]), references([2.0, 0.0], [3.0, 0.0], [4.0, 0.0])]
    who = torch.tensor([0, 1]).repeat(50)
    face = torch.full((100, 2), 9.0)
    assert torch.equal(some_photos(people, face, who, 0.0), face)
    drawn = some_photos(people, face, who, 1.0)[:, 0]
    assert set(drawn[who == 0].tolist()) == {1.0}
    assert set(drawn[who == 1].tolist()) == {2.0, 3.0, 4.0}


def test_two_people_are_taught_at_once_and_blended(demo: Callable[..., TrainConfig], tmp_path: Path) -> None:
    names = ["dancer_000", "dancer_001"]
    overrides = ["data.people=[0,1]", f"data.holdout=[{names[1]}_dance_004]", "trainer.max_epochs=1"]
    train(demo(tmp_path, *overrides))
    provenance = read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["facesmith"]["provenance"]
    assert provenance["identity"] == "dancer_000,dancer_001"
    one, two = (IdentityProfile.load(tmp_path / "exports" / "profiles" / f"{name}.json") for name in names)
    person = load_person(tmp_path / "exports")
    assert person.facts["identity"] == "dancer_000,dancer_001"
    assert one.embedder == person.facts["encoder"]
    assert torch.allclose(person.embedding, torch.tensor(one.embedding_mean), atol=1e-6)
    mixed = np.asarray(blend_profiles([one, two], [1, 1], "both").embedding_mean)
    alike = [float(mixed @ np.asarray(each.embedding_mean)) for each in (one, two)]
    assert alike[0] == pytest.approx(alike[1], abs=1e-4)
    assert alike[0] > float(np.asarray(one.embedding_mean) @ np.asarray(two.embedding_mean))
