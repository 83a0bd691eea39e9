"""Adapters found again: under a folder, in a profile, by their base, and when a person is to go."""

import json
import shutil

import numpy as np
import pytest
import torch

from facesmith.cli.main import main
from facesmith.errors import UserError
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.models.adapters.card import CARD, BaseReference, Scene
from facesmith.models.adapters.lora import base_hash
from facesmith.models.adapters.store import find_adapters, register_in_profile, save_adapter
from facesmith.models.checkpoint import load_module
from facesmith.purge.artefacts import traces_in_folders, traces_of_adapters

from ...cli.test_export import checkpoint
from ...made_profiles import made_profile
from .test_store import card


def write(folder, **more):
    figures = {"base_holdout/judge_distance": 0.61, "val_holdout/judge_distance": 0.42}
    save_adapter(folder, {"see.lora_A.weight": torch.zeros(4, 3, 3, 3)}, card(figures=figures, **more))
    return folder


@pytest.fixture
def profile(tmp_path):
    path = tmp_path / "profiles" / "ada.json"
    made_profile("ada", np.eye(128, dtype=np.float32)[0], face_set="face5").save(path)
    return path


def test_register_in_profile_twice_lists_once(tmp_path, profile):
    stage = write(tmp_path / "runs" / "1" / "adapter", created="2026-01-02T00:00:00+00:00")
    beach = write(tmp_path / "runs" / "2" / "adapter", scene=Scene("k2", "beach"), created="2026-01-01T00:00:00+00:00")
    for folder in (stage, beach, stage):
        assert register_in_profile(profile.parent, folder) == profile
    known = IdentityProfile.load(profile).adapters
    assert [(one.scene, one.scene_key, one.rank) for one in known] == [("beach", "k2", 5), ("stage", "5cene", 5)]
    assert [folder for folder, _ in find_adapters(profile)] == [beach, stage]
    shutil.rmtree(beach)
    assert [folder for folder, _ in find_adapters(profile)] == [stage]
    assert profile.stat().st_mode & 0o777 == 0o600
    assert not register_in_profile(tmp_path / "none", stage).exists()


def test_adapters_command_filters_by_base(tmp_path, capsys):
    base = checkpoint(tmp_path / "last.ckpt", "aad_fast")
    sha256 = base_hash(load_module(base).generator)
    write(tmp_path / "runs" / "1" / "adapter", base=BaseReference(str(base), sha256, "checkpoint", "Aad", "sface"))
    write(tmp_path / "runs" / "2" / "adapter", scene=Scene("k2", "beach"))
    assert main(["adapters", str(tmp_path / "runs")]) == 0
    output = capsys.readouterr().out
    assert "stage" in output
    assert "beach" in output
    assert "0.610 -> 0.420" in output
    assert main(["adapters", str(tmp_path / "runs"), f"base={base}"]) == 0
    output = capsys.readouterr().out
    assert "stage" in output
    assert "beach" not in output
    assert main(["adapters", str(tmp_path / "profiles")]) == 1
    assert "no such folder" in capsys.readouterr().err
    assert main(["adapters"]) == 1
    assert main(["adapters", "a", "b"]) == 1


def test_purge_removes_every_adapter_of_person(tmp_path, profile):
    exports = tmp_path / "exports"
    mine = write(exports / "mine", face_set="other")
    learnt = write(exports / "learnt", identity="eve")
    scene = write(exports / "scene", identity="eve", face_set="other", scene=Scene("face5", "ada"))
    write(exports / "stays", identity="eve", face_set="other")
    found = traces_in_folders("ada", {"face5"}, [exports], [], media=False)
    assert {(trace.kind, trace.files[0]) for trace in found} == {
        ("adapter", folder) for folder in (mine, learnt, scene)
    }
    assert "trained on a scene with this face, for eve" in {trace.why for trace in found}
    elsewhere = write(tmp_path / "elsewhere" / "adapter")
    register_in_profile(profile.parent, elsewhere)
    assert [trace.files for trace in traces_of_adapters("ada", profile.parent)] == [(elsewhere,)]
    (elsewhere / CARD).write_text(json.dumps({"identity": "eve"}))
    assert not traces_of_adapters("ada", profile.parent)


def test_find_adapters_damaged_card_raises(tmp_path):
    folder = write(tmp_path / "adapter")
    (folder / CARD).write_text("{}")
    with pytest.raises(UserError, match=r"adapter\.json is damaged"):
        list(find_adapters(tmp_path))
