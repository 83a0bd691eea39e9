"""The data module on real frames: what is made, kept, held out and batched."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from facesmith.config.schema import TrainConfig
from facesmith.errors import UserError
from facesmith.faces.pseudo_labels.training_items import KINDS
from facesmith.methods.swapper.data import SwapperDataModule
from facesmith.training.swapping.splits import split_scenes

Settings = Callable[..., TrainConfig]


@pytest.fixture(scope="module")
def data(tiny: Settings, tmp_path_factory: pytest.TempPathFactory) -> SwapperDataModule:
    module: SwapperDataModule = tiny(tmp_path_factory.mktemp("run")).data.build()
    module.prepare_data()
    module.setup("fit")
    return module


def test_swapper_data_batches_have_shares_and_training_size(data: SwapperDataModule) -> None:
    torch.manual_seed(0)  # of the batches; another one in five draws no fourth `reversed`
    loader = data.train_dataloader()
    assert len(loader) == data.batches_per_epoch == 7  # 14 frames, two of them a batch
    last = set()
    for batch in loader:
        kinds = [KINDS[kind] for kind in batch["kind"]]
        assert kinds[:3] == ["reversed"] * 3  # 4 : 1 of four; without scenes nothing else
        last.add(kinds[3])
        assert batch["target"].shape == (4, 3, 64, 64)
        assert batch["target"].dtype == torch.uint8
    assert last == {"reversed", "self"}
    assert set(data.training.kinds.tolist()) == last
    ready = data.on_after_batch_transfer(batch, 0)
    assert -1 <= ready["truth"].min() < -0.5 < 0.5 < ready["truth"].max() <= 1
    assert ready["source"].norm(dim=1).allclose(torch.ones(4))


def test_swapper_data_validation_has_roles_at_full_size(data: SwapperDataModule) -> None:
    (batch,) = data.val_dataloader()
    assert batch["target"].shape == (4, 3, 128, 128)
    assert batch["role"].tolist() == [0, 0, 2, 2]
    assert data._names[:2] == ["astronaut.png", "grace_hopper.jpg"]
    assert torch.equal(batch["target"][2], batch["truth"][2])
    assert not torch.equal(batch["target"][0], batch["truth"][0])


def test_swapper_data_of_a_person_like_all_stand_ins_asks_for_scenes(data: SwapperDataModule) -> None:
    everybody = data.config.selection.model_copy(update={"min_similarity": -1.0})
    module = SwapperDataModule(data.config.model_copy(update={"selection": everybody}))
    with pytest.raises(UserError, match=r"^data\.targets: is not given, and those who stand in .* of other people"):
        module._donors(module.person_faces(module.config.source, module.identity))


def test_swapper_data_scenes_are_paired_too(tiny: Settings, tmp_path: Path) -> None:
    module: SwapperDataModule = tiny(tmp_path, "data.targets=[asset:astronaut.png]").data.build()
    module.setup("fit")
    assert set(module.training.kinds.tolist()) == {"target", "reposed", "reversed", "self"}
    with pytest.raises(UserError, match=r"^data\.holdout=.*names targets, but data\.targets is not"):
        tiny(tmp_path, "data.holdout=[astronaut]").data.build().split_identities()


def test_swapper_data_one_photo_is_enough_and_wears_nobody_alike(tiny: Settings, tmp_path: Path) -> None:
    module: SwapperDataModule = tiny(tmp_path, "data.source=asset:astronaut.png").data.build()
    module.setup("fit")
    (split,) = module.splits
    assert [name for part in split.donors for name in part.names()] == ["grace_hopper"]
    assert set(module.training.kinds.tolist()) == {"reversed", "self"}
    assert len(module.validation) == 1
    assert module.person_pictures(4, 128).pictures.shape == (4, 128, 128, 3)


def test_swapper_data_held_out_frames_are_not_trained_on(data: SwapperDataModule) -> None:
    (split,) = data.splits
    assert split.frames.rows.tolist() == list(range(14))
    assert split.held_out_frames.rows.tolist() == [14, 15]


def test_swapper_data_second_time_reuses_items(
    data: SwapperDataModule, tiny: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("pseudo ground truth was made again")

    monkeypatch.setattr("facesmith.faces.pseudo_labels.pseudo_truth.build", never)
    again = tiny(tmp_path).data.build()
    again.prepare_data()
    again.setup("fit")
    assert torch.equal(again.training.tensors["truth"], data.training.tensors["truth"])


def test_swapper_data_profile_and_provenance_name_the_person(data: SwapperDataModule) -> None:
    profile = data.profile()
    assert profile.id == "carphone"
    assert profile.num_frames == 16
    assert profile.embedder == "sface"
    assert np.linalg.norm(profile.embedding_mean) == pytest.approx(1, abs=1e-3)
    assert {"avg_face_score", "landmark_variance"} <= profile.quality_stats.keys()
    assert data.provenance()["consent"] == "licensed"


def test_swapper_data_other_recogniser_is_refused(data: SwapperDataModule) -> None:
    with pytest.raises(UserError, match=r"model\.generator\.embedding_size=512.*gives 128"):
        data.require_embedder(512, "sface")
    with pytest.raises(UserError, match=r"model\.loss\.embedder"):
        data.require_embedder(None, "arcface_w600k_r50")


def test_split_scenes_by_stem_and_by_share(data: SwapperDataModule) -> None:
    faces = data.splits[0].frames.faces
    train, held = split_scenes(faces, 0.25)
    assert (len(train), len(held)) == (12, 4)
    assert held.rows.tolist() == [12, 13, 14, 15]
    with pytest.raises(UserError, match=r"data\.holdout: no target face comes from nobody"):
        split_scenes(faces, ["nobody"])
    with pytest.raises(UserError, match="holds out every target"):
        split_scenes(faces, ["carphone_pristine"])


def test_swapper_data_missing_consent_is_one_line_error(tiny: Settings, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^data\.consent: required; choose one of self, written"):
        tiny(tmp_path, "data.consent=null")
