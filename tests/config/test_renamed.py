from facesmith.config.renamed import KEYS, TARGETS, find_removed, upgrade, upgrade_override
from facesmith.config.settings import Component, settings_class


def test_upgrade_kinds_of_pairs_are_words() -> None:
    saved = {
        "data": {
            "_target_": "facesmith.swapper.lora.data.SwapLoraDataModule",
            "shares": {"P": 5, "V": 1, "R": 1, "I": 1},
            "elsewhere": 0.5,
            "batch_size": 4,
        },
        "model": {
            "_target_": "facesmith.swapper.lora.module.SwapLoraModule",
            "loss": {"identity": 3.0, "elsewhere": 1},
        },
    }
    assert upgrade(saved) == {
        "data": {
            "_target_": "facesmith.methods.swap_lora.data.SwapLoraDataModule",
            "shares": {"target": 5, "reposed": 1, "reversed": 1, "self": 1, "prior": 0.5},
            "batch_size": 4,
        },
        "model": {
            "_target_": "facesmith.methods.swap_lora.module.SwapLoraModule",
            "loss": {"identity": 3.0, "prior": 1},
        },
    }
    assert saved["data"]["elsewhere"] == 0.5


def test_upgrade_occluder_keys_say_what_they_are() -> None:
    saved = {
        "data": {
            "_target_": "facesmith.occluder.data.OccluderDataModule",
            "occlusions": {"families": {"hand": 1.0}, "clear": 0.1, "several": 0.2, "motion": 0.3, "soft": 0.4},
            "validation_each": 8,
            "augment": {"_target_": "facesmith.occluder.augment.AugmentMasks", "sharp": 0.3},
        },
        "model": {
            "_target_": "facesmith.occluder.module.OccluderModule",
            "detail": 12,
            "encoder": "resnet34",
            "optimizer": {"lr": 1e-3, "encoder": 0.3},
        },
    }
    occlusions = {"unoccluded": 0.1, "second_occluder": 0.2, "motion_blur": 0.3, "defocus": 0.4}
    assert upgrade(saved) == {
        "data": {
            "_target_": "facesmith.methods.occluder.data.OccluderDataModule",
            "occlusions": {"families": {"hand": 1.0}, **occlusions},
            "validation_faces": 8,
            "augment": {"_target_": "facesmith.methods.occluder.augment.AugmentMasks", "sharpen": 0.3},
        },
        "model": {
            "_target_": "facesmith.methods.occluder.module.OccluderModule",
            "detail_channels": 12,
            "encoder": "resnet34",
            "optimizer": {"lr": 1e-3, "encoder_lr_factor": 0.3},
        },
    }
    assert upgrade_override("data.occlusions.clear=1.0") == "data.occlusions.unoccluded=1.0"
    assert upgrade_override("model.optimizer.encoder=0.1") == "model.optimizer.encoder_lr_factor=0.1"


def test_upgrade_settings_of_this_version_stay() -> None:
    target = "facesmith.methods.swapper.data.SwapperDataModule"
    settings = {"_target_": target, "shares": {"target": 4, "self": 1}, "callbacks": [{"_target_": "torch.nn.ReLU"}]}
    assert upgrade(settings) == settings


def test_renamed_targets_and_keys_lead_to_settings_that_exist() -> None:
    for target in {*TARGETS.values(), *KEYS}:
        settings_class(target, Component)


def test_upgrade_override_kinds_of_pairs_are_words() -> None:
    assert upgrade_override("data.shares.P=3") == "data.shares.target=3"
    assert upgrade_override("data.elsewhere=1") == "data.shares.prior=1"
    assert upgrade_override("model.loss.elsewhere=0.5") == "model.loss.prior=0.5"


def test_find_removed_names_the_generator_that_is_gone() -> None:
    for package in ("generators", "models.swapper"):
        target = f"facesmith.{package}.texture_warp.TextureWarp"
        why = find_removed({"model": [{"generator": {"_target_": target, "size": 128}}]})
        assert why is not None
        assert "train again with facesmith train experiment=identity" in why
    assert find_removed("model/generator=texture_warp") is not None
    assert find_removed("data.name=texture_warpers") is None
    assert find_removed({"_target_": "facesmith.models.swapper.mesh_warp.MeshWarp", "note": "texture_warp"}) is None


def test_upgrade_dropped_keys_are_forgotten() -> None:
    target = "facesmith.methods.swapper.data.PretrainDataModule"
    saved = {"_target_": target, "pseudo_truth": {"textures": 12, "frames": 100}}
    assert upgrade(saved) == {"_target_": target, "pseudo_truth": {"frames": 100}}
