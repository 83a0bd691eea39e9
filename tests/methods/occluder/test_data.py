"""The same draw is the same picture; the order is found again; what is held out stays out."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from facesmith.assets import fetch
from facesmith.errors import UserError
from facesmith.faces.geometry import topology
from facesmith.methods.occluder.data import DrawBatches, OccluderDataModule
from facesmith.methods.occluder.dataset import FAMILY_NAMES
from facesmith.methods.occluder.families import FAMILIES
from facesmith.methods.occluder.labels import face_mask
from facesmith.methods.occluder.variations import FaceVariations
from facesmith.training.loaders import ResumableLoader


def test_occluded_faces_item_is_function_of_draw_number(data: OccluderDataModule) -> None:
    first, again, other = data.training[1, 7], data.training[1, 7], data.training[1, 8]
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["picture"], other["picture"])
    assert first["mask"].dtype == torch.uint8
    assert (first["mask"] <= first["hull"]).all()


def test_draw_batches_epoch_visits_each_face_repeats_times() -> None:
    sampler = DrawBatches(7, 3, 4, seed=5)
    sampler.start_epoch(2, 0)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 6
    assert {len(batch) for batch in batches} == {4}
    rows = [row for batch in batches for row, _ in batch][:21]
    assert all(rows.count(row) == 3 for row in range(7))
    numbers = [number for batch in batches for _, number in batch]
    sampler.start_epoch(3, 0)
    assert not {number for batch in sampler for _, number in batch} & set(numbers)


def test_draw_batches_begin_continues_order() -> None:
    whole = DrawBatches(10, 2, 4, seed=1)
    whole.start_epoch(1, 0)
    rest = DrawBatches(10, 2, 4, seed=1)
    rest.start_epoch(1, 3)
    assert list(whole)[3:] == list(rest)


def test_occluder_loader_resume_continues_batches(data: OccluderDataModule) -> None:
    loader, again = data.train_dataloader(), data.train_dataloader()
    assert isinstance(loader, ResumableLoader)
    assert isinstance(again, ResumableLoader)
    batches = iter(loader)
    next(batches)
    again.load_state_dict(loader.state_dict())
    expected, found = next(batches), next(iter(again))
    assert torch.equal(expected["picture"], found["picture"])
    assert torch.equal(expected["mask"], found["mask"])


def test_validation_faces_every_family_per_face(data: OccluderDataModule) -> None:
    families = [FAMILY_NAMES[int(item["family"])] for item in data.validation.items]
    assert families == [*FAMILY_NAMES, *FAMILY_NAMES]
    assert data.unseen == ["foliage", "instrument"]
    assert set(FAMILIES) == set(data.config.occlusions.families)


def test_occluder_data_held_out_faces_not_in_training(data: OccluderDataModule) -> None:
    assert len(data.training) + len(data.consecutive) == len(data.faces)
    assert len(data.consecutive) == round(0.2 * len(data.faces))


def test_augment_masks_moves_masks_with_pictures(data: OccluderDataModule) -> None:
    assert data.augment is not None
    torch.manual_seed(0)
    square = torch.zeros(8, 1, 64, 64)
    square[:, :, 20:44, 24:50] = 1
    corners = torch.tensor([[24.0, 20, 0], [49, 20, 0], [49, 43, 0], [24, 43, 0]])
    points = corners.mean(0).expand(8, 478, 3).clone()
    points[:, :4] = corners
    pictures, masks, moved = data.augment(square.expand(-1, 3, -1, -1) * 0.9, square, points)
    bright = pictures.mean(1, keepdim=True) > 0.45
    overlap = (bright & (masks > 0.5)).sum() / (bright | (masks > 0.5)).sum()
    assert overlap > 0.85
    assert not torch.equal(masks, square)
    where = torch.stack([mask[0].nonzero().float().mean(0).flip(0) for mask in masks > 0.5])
    assert (moved[:, 4:, :2].mean(1) - where).abs().max() < 4


def test_augment_masks_mirror_exchanges_left_and_right(data: OccluderDataModule) -> None:
    faces = data.training.labelled.faces
    points = torch.from_numpy(faces.landmarks[:1]).expand(8, -1, -1)
    picture = torch.from_numpy(faces.images[:1]).permute(0, 3, 1, 2).float().expand(8, -1, -1, -1) / 255
    assert data.augment is not None
    torch.manual_seed(0)
    _, _, moved = data.augment(picture, torch.ones(8, 1, 72, 72), points)
    left, right = (moved[:, index, 0] for index in (topology.LEFT_EYE_OUTER, topology.RIGHT_EYE_OUTER))
    assert (left < right).all()


def test_face_mask_forehead_extends_outline(data: OccluderDataModule) -> None:
    points = data.training.labelled.faces.landmarks[0]
    low, high = face_mask(points, 72, 0.0), face_mask(points, 72, 0.35)
    assert (high >= low).all()
    top = [int(np.flatnonzero(mask.any(1))[0]) for mask in (low, high)]
    assert top[1] < top[0]
    assert np.flatnonzero(low.any(1))[-1] == np.flatnonzero(high.any(1))[-1]


def test_occluder_data_pictures_without_face_skip_or_error(tiny_occluder, tmp_path: Path) -> None:
    shutil.copy(fetch("astronaut.png"), tmp_path / "a.png")
    shutil.copy(fetch("astronaut.png"), tmp_path / "c.png")
    with Image.open(tmp_path / "c.png") as picture:
        picture.rotate(4).save(tmp_path / "c.png")  # another file; the same one twice counts once
    Image.fromarray(np.full((300, 300, 3), 90, np.uint8)).save(tmp_path / "b.png")
    given = [f"data.source={tmp_path}", "data.name=mixed", "data.holdout=0.5"]
    module: OccluderDataModule = tiny_occluder(tmp_path / "run", *given).data.build()
    module.prepare_data()
    module.setup("fit")
    assert len(module.faces) == 2
    assert all(
        labelled.masks.any(axis=(1, 2)).all() for labelled in (module.training.labelled, module.consecutive.labelled)
    )
    strict: OccluderDataModule = tiny_occluder(tmp_path / "run", *given, "data.without_face=error").data.build()
    with pytest.raises(UserError, match=r"b\.png: no face in frame 0 \(1 such .*data\.without_face=skip"):
        strict.prepare_data()


def test_face_variations_keep_landmarks_on_the_face(data: OccluderDataModule) -> None:
    labelled = data.training.labelled
    makes = FaceVariations(labelled, np.arange(len(labelled)) % 3, exchange=0.5)
    made, again = makes.make(6, seed=3), makes.make(6, seed=3)
    assert np.array_equal(made.faces.images, again.faces.images)
    assert not np.array_equal(made.faces.images[0], made.faces.images[1])
    for mask, points in zip(made.masks, made.faces.landmarks, strict=True):
        outline = face_mask(points, mask.shape[0], 0.35) > 0.5
        assert ((mask > 127) & outline).sum() / ((mask > 127) | outline).sum() > 0.9


def test_occluder_data_one_face_is_refused(tiny_occluder, tmp_path: Path) -> None:
    module: OccluderDataModule = tiny_occluder(tmp_path / "run", "data.source=asset:astronaut.png").data.build()
    module.prepare_data()
    with pytest.raises(UserError, match="too few"):
        module.setup("fit")
