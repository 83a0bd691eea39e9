"""Settings that a file holds: names of earlier versions, kinds, plain values."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from facesmith.cli.composition import compose_config
from facesmith.config.renamed import TARGETS, upgrade, upgrade_override
from facesmith.config.saved import read_settings
from facesmith.config.settings import GeneratorConfig, LossConfig, ModuleConfig, settings_class
from facesmith.config.targets import locate
from facesmith.errors import UserError
from facesmith.models.checkpoint import RECORD, checkpoint_record, load_module

SMALL = ["model.generator.encoder_channels=[8,8]", "model.generator.decoder_channels=[8,8]"]


def settings(*overrides: str) -> dict[str, Any]:
    cfg = compose_config("train", ["experiment=identity", "model/generator=aad_fast", "data.name=ada", *overrides])
    return OmegaConf.to_container(cfg.model, resolve=True)  # type: ignore[return-value]


def test_load_module_of_a_checkpoint_with_names_of_an_earlier_version(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    module = read_settings(settings(), ModuleConfig, "test").build()
    record = checkpoint_record(module.config, {"face_set": "key"})
    old = {new: old for old, new in TARGETS.items()}
    for place in (record["settings"], record["settings"]["loss"], record["settings"]["generator"]):
        place["_target_"] = old[place["_target_"]]
    assert record["settings"]["_target_"] == "facesmith.swapper.module.SwapperModule"
    assert record["settings"]["generator"]["_target_"] == "facesmith.generators.aad.Aad"
    path = tmp_path / "old.ckpt"
    torch.save({RECORD: record, "state_dict": module.state_dict(), "callbacks": {}}, path)
    with caplog.at_level(logging.INFO, "facesmith"):
        again = load_module(path)
    assert again.config == module.config
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in module.state_dict().items())
    lines = [one.message for one in caplog.records if "earlier version" in one.message]
    assert lines == [f"{path}: was saved under names of an earlier version; they are read as today's"]


@pytest.mark.parametrize("target", sorted(set(TARGETS.values())))
def test_renamed_target_is_a_class_with_settings(target: str) -> None:
    from facesmith.config.settings import Component

    settings_class(target, Component, from_file=True)
    assert locate(target).__name__ == target.rpartition(".")[2]


def test_upgrade_leaves_todays_settings_and_changes_nothing_given() -> None:
    today = settings()
    before = OmegaConf.to_container(OmegaConf.create(today))
    assert upgrade(today) == today == before


def test_upgrade_override_renames_targets_inside_values() -> None:
    old = "+callbacks.mean={_target_: facesmith.callbacks.average.AverageWeights, decay: 0.9}"
    assert upgrade_override(old) == old.replace("facesmith.callbacks", "facesmith.training.callbacks")
    assert upgrade_override("data.source=facesmith.png") == "data.source=facesmith.png"


def test_read_settings_of_another_kind_names_it() -> None:
    plain = settings()
    assert type(read_settings(plain["loss"], LossConfig, "x.ckpt")).__name__ == "AadLossConfig"
    with pytest.raises(UserError, match=r"^x\.ckpt: its settings do not fit .*AadLoss is no generator"):
        read_settings(plain["loss"], GeneratorConfig, "x.ckpt")


def test_read_settings_with_a_wrong_value_names_its_key() -> None:
    plain = settings()
    plain["generator"]["size"] = "wide"
    with pytest.raises(UserError, match=r"generator\.size=wide: must be a whole number"):
        read_settings(plain, ModuleConfig, "x.ckpt", version="0.1")
