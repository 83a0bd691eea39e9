"""Who the person is, what is held out, which frames meet, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from facesmith.config.schema import TrainConfig
from facesmith.errors import UserError
from facesmith.methods.swap_lora.data import SwapLoraDataModule

Settings = Callable[..., TrainConfig]


@pytest.fixture(scope="module")
def data(lora: Settings, places: Path) -> SwapLoraDataModule:
    module: SwapLoraDataModule = lora(places / "data", "data.shares.prior=1").data.build()
    module.prepare_data()
    module.setup("fit")
    return module


def test_swap_lora_data_holds_out_the_tail(data: SwapLoraDataModule) -> None:
    (split,) = data.splits
    assert split.scenes[0].rows.tolist() == list(range(9))
    assert split.held_out_scenes[0].rows.tolist() == [9, 10, 11]
    assert split.frames.faces.key == data.base.face_set
    assert split.held_out_frames.rows.tolist() == [14, 15]  # those the base never saw either
    assert (data.size, data.train_size, data.identity) == (128, 64, "carphone")


def test_swap_lora_data_batch_begins_with_neighbours(data: SwapLoraDataModule) -> None:
    met = 0
    for batch in data.train_dataloader():
        first = int(batch["after"][0])
        assert first < 0 or first == int(batch["item"][1])
        met += first >= 0
        assert batch["prior"].dtype == torch.bool
    assert met
    assert int(data.training.tensors["prior"].sum()) == 2  # the base learnt no scene: portraits


def test_swap_lora_data_neighbours_are_augmented_alike(data: SwapLoraDataModule) -> None:
    data.trainer = type("Training", (), {"training": True, "global_rank": 0, "world_size": 1})()  # type: ignore[assignment]
    pair = data.training.__getitems__([0, 0])
    pair["item"], pair["after"] = torch.tensor([0, 1]), torch.tensor([1, -1])
    torch.manual_seed(0)
    ready = data.on_after_batch_transfer(pair, 0)
    data.trainer = None
    assert torch.equal(ready["truth"][0], ready["truth"][1])
    assert torch.equal(ready["canonical"][0], ready["canonical"][1])
    assert not torch.equal(ready["target"][0], ready["target"][1])  # a camera's noise is its own


def test_swap_lora_data_name_is_of_the_scene(lora: Settings, tmp_path: Path) -> None:
    assert lora(tmp_path).name == "scene"
    assert lora(tmp_path, "data.target=[asset:My Clip.mp4,b.mp4]").name == "my-clip"
    assert lora(tmp_path, "data.name=stage").name == "stage"


def test_swap_lora_data_missing_consent_is_refused(lora: Settings, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^data\.consent: required"):
        lora(tmp_path, "data.consent=null")


def refused(lora: Settings, run: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        lora(run, *overrides).data.build().prepare_data()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_swap_lora_data_scene_without_face_is_refused(lora: Settings, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((128, 128, 3), 90, np.uint8))
    assert refused(lora, tmp_path, f"data.target={tmp_path / 'wall.png'}").startswith("data.target")


def test_swap_lora_data_unusable_base_is_refused(lora: Settings, base: Path, tmp_path: Path) -> None:
    assert refused(lora, tmp_path, "model.base=nowhere").startswith("model.base=nowhere: no such file")
    assert refused(lora, tmp_path, f"model.base={tmp_path}").startswith(f"model.base={tmp_path}: no run")
    missing = refused(lora, tmp_path, f"paths.face_sets={tmp_path / 'none'}")
    assert "give data.source=" in missing
    checkpoint = torch.load(base / "checkpoints/best.ckpt", weights_only=True)
    del checkpoint["facesmith"]["provenance"]["identity"]
    torch.save(checkpoint, tmp_path / "other.ckpt")
    assert "holds no face swapper" in refused(lora, tmp_path, f"model.base={tmp_path / 'other.ckpt'}")


def test_swap_lora_data_base_of_other_recogniser_is_refused(lora: Settings, base: Path, tmp_path: Path) -> None:
    checkpoint = torch.load(base / "checkpoints/best.ckpt", weights_only=True)
    checkpoint["facesmith"]["provenance"]["embedder"] = "arcface_w600k_r50"
    torch.save(checkpoint, tmp_path / "arc.ckpt")
    data = lora(tmp_path, f"model.base={tmp_path / 'arc.ckpt'}").data.build()
    data.prepare_data()
    with pytest.raises(UserError, match=r"was trained with embeddings of arcface_w600k_r50.*sface"):
        data.require_embedder(None, None)


def test_swap_lora_data_person_in_scene_is_warned_of(
    lora: Settings, tmp_path: Path, asset: Callable[[str], Path], caplog: Any
) -> None:
    lora(tmp_path, f"data.target={asset('carphone_pristine.mp4')}", "data.max_frames=4").data.build().split_identities()
    assert "shows carphone already, the person to be swapped in" in caplog.text
