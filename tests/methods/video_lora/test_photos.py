"""Photos of the person as training data: videos of one frame, in batches of their own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from facesmith.config.schema import TrainConfig
from facesmith.methods.video_lora.dataset import BucketSampler
from facesmith.methods.video_lora.framing import crop_to_shape, locate_crop
from facesmith.methods.video_lora.latents import encode_video

Settings = Callable[..., TrainConfig]


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_bucket_sampler_photos_have_their_share_of_batches(share: float) -> None:
    buckets = ["clip"] * 12 + ["wide"] * 4 + ["clip"] * 6 + ["still"] * 3
    prior = np.arange(25) >= 16
    photos = np.arange(25) >= 22
    prior &= ~photos
    sampler = BucketSampler(
        buckets, prior, batch_size=2, prior_share=0.5, repeats=4, seed=0, photos=photos, photos_share=share
    )
    batches = list(sampler)
    stills = [batch for batch in batches if photos[batch].any()]
    assert len(stills) / len(batches) == pytest.approx(share, abs=0.02)
    assert all(photos[batch].all() and len(batch) == 2 for batch in stills)
    assert {number for batch in stills for number in batch} == {22, 23, 24}


def test_crop_to_shape_keeps_the_face() -> None:
    picture = np.zeros((200, 100, 3), np.uint8)
    picture[20:40, 40:60] = 255
    cut = crop_to_shape(picture, (40, 20, 60, 40), 50, 50)
    top, left, scale = locate_crop((200, 100), (40, 20, 60, 40), 50, 50)
    assert (top, left, scale) == (0, 0, 0.5)
    assert cut.shape == (50, 50, 3)
    assert cut[10:20, 20:30].min() > 200
    assert cut.mean() == pytest.approx(255 * 0.04, rel=0.05)


def test_data_module_photos_captions_and_trigger(demo: Settings, tmp_path: Path) -> None:
    config = demo(tmp_path, "data.photos_share=0.3", "data.trigger=woman", "data.caption_dropout=0.5")
    data: Any = config.data.build()
    data.prepare_data()
    data.setup("fit")
    stills = [item for item in data.training.items if item.photo >= 0]
    assert [item.photo for item in stills] == [0, 1, 2]
    assert data.provenance()["prompt"] == "woman, a person dancing on a stage"
    assert data.provenance()["clips"] == 4
    texts = {kind: {item.text for item in data.training.items if item.prior == kind} for kind in (True, False)}
    assert not texts[True] & texts[False]  # the base's own clips do not show who the trigger stands for
    sample = data.training[data.training.items.index(stills[0])]
    assert sample["latents"].shape == sample["poses"].shape == (24, 1, 8, 8)
    portrait = next(iter(data.people.values())).portraits[0].numpy()
    assert torch.allclose(sample["latents"], encode_video(data.base.load_vae(), portrait[None]), atol=1e-5)
    data.trainer = type("Trainer", (), {"training": True, "world_size": 1})()
    batches = list(data.train_dataloader())
    still = next(batch for batch in batches if (batch["photo"] >= 0).all())
    torch.manual_seed(2)
    complete = [data.on_after_batch_transfer(still, 0) for _ in range(12)]
    data.trainer = None
    own = data._references._photos[64, 64][0]
    for one in complete:
        for row, number in enumerate(one["photo"].tolist()):
            for k in range(one["references"].shape[2] if "references" in one else 0):
                assert not torch.equal(one["references"][row, :, k], own[number])
    empty = sum(bool(torch.equal(row, data._empty)) for one in complete for row in one["text"])
    assert 30 < empty < 66  # of 96
