"""The toy world: drawn as it says, coded as it should, and its base a pipeline like any other."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import WanVACEPipeline
from PIL import Image

from facesmith.errors import UserError
from facesmith.methods.video_lora.base import open_base
from facesmith.methods.video_lora.face_embeddings import FaceEmbeddings
from facesmith.methods.video_lora.latents import decode_latents, initial_noise, sample_latents, vace_control
from facesmith.methods.video_lora.text_encoding import pad_rows
from facesmith.methods.video_lora.toy_wan import faces, train_base
from facesmith.methods.video_lora.toy_wan.codec import BlockVideoCodec
from facesmith.methods.video_lora.toy_wan.pipeline import TEXT_LENGTH, TransformerInputs, fit_codec
from facesmith.methods.video_lora.toy_wan.train_base import train_refiner
from facesmith.methods.video_lora.toy_wan.world import render_portraits, sample_clips, sample_dance_pool, sample_people


def test_sample_clips_layers_are_shares() -> None:
    some = sample_clips(3, torch.Generator().manual_seed(1))
    assert some.videos.shape == (3, 3, 9, 64, 64)
    assert float(some.videos.abs().max()) <= 1
    assert float(some.dances.layers.sum(1).max()) <= 1 + 1e-5
    assert some.prompts[0].startswith("a person in ")


def test_codec_keeps_shapes_and_most_of_the_picture() -> None:
    codec = fit_codec(0.5, 0, clips_fitted=60)
    videos = sample_clips(8, torch.Generator().manual_seed(2)).videos
    latents = codec.encode(videos).latent_dist.mode()
    assert latents.shape == (8, 24, 3, 8, 8)
    error = (codec.decode(latents).sample - videos).square().mean()
    assert float(-10 * torch.log10(error / 4)) > 20


def test_toy_evaluator_tells_faces_apart() -> None:
    random = torch.Generator().manual_seed(3)
    who = sample_people(4, random)
    pictures = (render_portraits(who) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    targets = faces.portrait_colours(pictures)
    some = sample_clips(1, random, who[2])
    frames, poses = (
        (video[0].permute(1, 2, 3, 0) * 255).round().to(torch.uint8).numpy()
        for video in ((some.videos + 1) / 2, some.dances.poses)
    )
    boxes = faces.find_rings(poses)
    assert np.abs(boxes - some.dances.boxes()[0].numpy()).max() < 1.5
    found = faces.head_colours(torch.from_numpy(frames), torch.from_numpy(boxes))
    metrics = [faces.compare_colours(found, target) for target in targets]
    assert int(np.argmax([each["likeness"] for each in metrics])) == 2
    assert metrics[2]["projection"] == pytest.approx(1.0, abs=0.1)
    assert faces.body_overlap(frames, frames, boxes) == 1.0


def test_toy_evaluator_stray_white_and_off_centre_photo() -> None:
    random = torch.Generator().manual_seed(3)
    who = sample_people(1, random)
    some = sample_clips(1, random, who[0])
    frames, poses = (
        (video[0].permute(1, 2, 3, 0) * 255).round().to(torch.uint8).numpy()
        for video in ((some.videos + 1) / 2, some.dances.poses)
    )
    poses[:, 50:52, 60:62] = 255
    assert np.abs(faces.find_rings(poses) - some.dances.boxes()[0].numpy()).max() < 1.5
    photo = (render_portraits(who, random) * 255).round().to(torch.uint8)[0].permute(1, 2, 0)
    embeddings = FaceEmbeddings(torch.zeros(1, 768), torch.ones(1), photo, "portrait", np.zeros(768, np.float32))
    metrics = faces.ToyEvaluator().evaluate(frames, frames, poses, embeddings)
    assert metrics["projection"] == pytest.approx(1.0, abs=0.03)
    assert metrics["likeness"] > 0.995


def test_sample_latents_equals_diffusers_pipeline(base: Path) -> None:
    pipe = WanVACEPipeline.from_pretrained(base)
    pipe.set_progress_bar_config(disable=True)
    some = sample_clips(1, torch.Generator().manual_seed(4))
    poses = [Image.fromarray(p.permute(1, 2, 0).mul(255).byte().numpy()) for p in some.dances.poses[0].unbind(1)]
    theirs = pipe(
        prompt=some.prompts[0],
        negative_prompt="blurry",
        video=poses,
        height=64,
        width=64,
        num_frames=9,
        num_inference_steps=3,
        guidance_scale=3.0,
        max_sequence_length=TEXT_LENGTH,
        generator=torch.Generator().manual_seed(7),
        output_type="np",
    ).frames

    opened = open_base(str(base))
    inputs = TransformerInputs(pipe)
    steer = inputs.latents((some.dances.poses * 255).to(torch.uint8).float() / 127.5 - 1)
    text, negative = (
        pipe.encode_prompt(p, None, False, max_sequence_length=TEXT_LENGTH)[0] for p in (some.prompts[0], "blurry")
    )
    latents = sample_latents(
        opened.load_transformer(torch.float32),
        opened.load_scheduler(),
        noise=initial_noise(steer.shape, [7], steer.device),
        control=vace_control(steer, inputs.blank, opened.spatial_compression),
        text=text,
        negative=negative,
        cfg_scale=3.0,
        steps=3,
    )
    ours = decode_latents(opened.load_vae(), latents).numpy()
    assert np.abs(ours / 255 - theirs).max() < 0.02


def test_pad_rows_adds_zeros() -> None:
    rows = torch.randn(3, 8)
    assert torch.equal(pad_rows(rows, 5)[:3], rows)
    assert not pad_rows(rows, 5)[3:].any()


def test_open_base_wrong_folder_raises(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is no diffusers pipeline"):
        open_base(str(tmp_path))
    with pytest.raises(UserError, match=r"there is no such folder"):
        open_base(str(tmp_path / "nowhere"))
    other = tmp_path / "other"
    for part in base.iterdir():
        (other / part.name).parent.mkdir(exist_ok=True)
        (other / part.name).symlink_to(part)
    (other / "transformer").unlink()
    (other / "transformer").mkdir()
    (other / "transformer" / "config.json").write_text('{"_class_name": "WanTransformer3DModel"}')
    with pytest.raises(UserError, match=r"its transformer is a WanTransformer3DModel, not a WanVACETransformer3DModel"):
        open_base(str(other))


def test_open_base_saved_by_an_earlier_version_loads_its_codec(base: Path, tmp_path: Path) -> None:
    for part in base.iterdir():
        if part.name != "model_index.json":
            (tmp_path / part.name).symlink_to(part)
    index = json.loads((base / "model_index.json").read_text())
    index["vae"] = ["facesmith.video_lora.tiny.codec", "BlockVideoCodec"]
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    assert type(open_base(str(tmp_path)).load_vae()) is BlockVideoCodec


def test_train_base_resume_equals_uninterrupted(tmp_path: Path) -> None:
    def training(batch: int = 2) -> train_base.BaseTraining:
        recipe = train_base.Recipe(steps=3, motions=4, batch=batch, references=(0.0, 0.5, 0.5))
        return train_base.BaseTraining(recipe, tmp_path, clips_fitted=6)

    whole = training()
    losses = [whole._advance() for _ in range(3)]
    stopped = training()
    stopped._advance()
    stopped._save()
    again = training()
    again._resume()
    assert [again._advance() for _ in range(2)] == losses[1:]
    with pytest.raises(UserError, match=r"was begun with other settings"):
        training(batch=3)._resume()


def test_train_refiner_improves_decoding() -> None:
    codec = fit_codec(0.5, 0, clips_fitted=24)
    videos = sample_clips(8, torch.Generator().manual_seed(5)).videos
    latents = codec.encode(videos).latent_dist.mode()
    before = codec.decode(latents).sample
    train_refiner(codec, sample_dance_pool(24, torch.Generator().manual_seed(6)), steps=40, seed=0)
    with torch.no_grad():
        after = codec.decode(latents).sample
    assert float((after - videos).abs().mean()) < 0.975 * float((before - videos).abs().mean())
    assert torch.equal(codec.encode(videos).latent_dist.mode(), latents)
    assert not any(p.requires_grad for p in codec.parameters())


def test_demo_refuses_media_it_would_not_read(demo: Callable[..., object], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.videos=mine: the demo writes its own media"):
        demo(tmp_path, "data.videos=mine")
    with pytest.raises(UserError, match=r"data\.poses=mine: the demo writes its own media"):
        demo(tmp_path, "data.poses=mine")


def test_head_colours_without_a_head_says_the_mend() -> None:
    with pytest.raises(UserError, match=r"data\.evaluator=toy: the poses show no head"):
        faces.head_colours(torch.zeros(2, 8, 8, 3, dtype=torch.uint8), torch.full((2, 4), torch.nan))
