"""Reference photos: as diffusers prepares them, drawn for batches, scaled, and in generated videos."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import WanVACEPipeline
from PIL import Image

from facesmith.cli.composition import load_config
from facesmith.config.schema import InferConfig, TrainConfig
from facesmith.errors import UserError
from facesmith.faces.face import Analyzer
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.media.images import read_image
from facesmith.methods.video_lora.adapter_bundle import AdapterBundle, collect_bundle, load_bundle
from facesmith.methods.video_lora.base import open_base
from facesmith.methods.video_lora.face_embeddings import crop_head
from facesmith.methods.video_lora.generation import GenerationConfig, VideoGenerator
from facesmith.methods.video_lora.latents import encode_video, vace_control
from facesmith.methods.video_lora.references import letterbox, sample_references
from facesmith.tasks.generate.references import choose_references

Settings = Callable[..., TrainConfig]


def build_analyzer() -> Analyzer:
    given = ["task=generate", "task.model=.", "source=.", "output=out"]
    built: Analyzer = load_config("infer", InferConfig, given).analyzer.build()
    return built


def noise_picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def media(demo: Settings, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the demo's data, encoded."""
    data: Any = demo(tmp_path_factory.mktemp("data")).data.build()
    data.prepare_data()
    data.setup("fit")
    return data


@pytest.fixture(scope="module")
def bundle(demo: Settings, media: Any, tmp_path_factory: pytest.TempPathFactory) -> AdapterBundle:
    folder: Path = tmp_path_factory.mktemp("exports")
    module: Any = demo(folder).model.build()
    module.configure_model()
    provenance = {**media.provenance(), "base": module.base.name, "base_hash": module.base.fingerprint}
    collect_bundle(module.transformer, module.mapper, provenance).save(folder)
    return load_bundle(folder)


def test_letterbox_and_control_equal_diffusers(base: Path) -> None:
    pipe: Any = WanVACEPipeline.from_pretrained(base)
    photos = [noise_picture(32, 24, 1), noise_picture(24, 48, 2)]  # sizes that diffusers does not change first
    poses = [Image.fromarray(noise_picture(64, 64, number)) for number in range(9)]
    video, mask, theirs = pipe.preprocess_conditions(
        poses, None, [Image.fromarray(one) for one in photos], 1, 64, 64, 9, torch.float32, torch.device("cpu")
    )
    for photo, canvas in zip(photos, theirs[0], strict=True):
        ours = torch.from_numpy(letterbox(photo, 64, 64)).permute(2, 0, 1) / 127.5 - 1
        assert float((ours - canvas).abs().max()) < 0.02  # bytes are rounded
    latents = pipe.prepare_video_latents(video, mask, theirs, None, torch.device("cpu"))
    expected = torch.cat([latents, pipe.prepare_masks(mask, theirs)], 1)
    opened = open_base(str(base))
    vae = opened.load_vae()
    encoded = [encode_video(vae, letterbox(one, 64, 64)[None]) for one in reversed(photos)]
    steer = encode_video(vae, np.stack([np.asarray(pose) for pose in poses]))
    blank = encode_video(vae, np.full((9, 64, 64, 3), 127.5, np.float32))
    ours = vace_control(steer[None], blank[None], 8, torch.cat(encoded, 1)[None])
    assert ours.shape == expected.shape
    assert float((ours - expected).abs().max()) < 0.05


def test_crop_head_stays_inside_the_photo() -> None:
    picture = noise_picture(100, 80)
    assert crop_head(picture, (30, 40, 50, 60)).shape == (44, 44, 3)
    assert crop_head(picture, (60, 0, 80, 20)).shape == (32, 32, 3)


def test_sample_references_differ_and_never_show_the_clip_itself() -> None:
    photos = [torch.arange(5.0).view(5, 1, 1, 1), torch.arange(10.0, 12.0).view(2, 1, 1, 1)]
    white = torch.full((1, 1, 1), -1.0)
    for _ in range(20):
        found = sample_references(
            photos,
            white,
            identities=torch.tensor([0, 1, 0]),
            prior=torch.tensor([False, False, True]),
            own=torch.tensor([2, 1, -1]),
            count=3,
        )
        first, second, third = found[:, 0, :, 0, 0].tolist()
        assert len(set(first)) == 3
        assert 2.0 not in first
        assert second == [10.0] * 3
        assert third == [-1.0] * 3


def test_batches_have_photos_as_often_as_asked(media: Any) -> None:
    batch = next(iter(media.train_dataloader()))
    media.trainer = type("Trainer", (), {"training": True})()
    try:
        torch.manual_seed(0)
        found = [media.on_after_batch_transfer(batch, 0) for _ in range(60)]
    finally:
        media.trainer = None
    counts = [one["references"].shape[2] if "references" in one else 0 for one in found]
    assert 18 <= counts.count(0) <= 42
    assert set(counts) == {0, 1, 2, 3}
    for one, count in zip(found, counts, strict=True):
        assert one["control"].shape[2] == 3 + count
        if count:
            assert torch.equal(one["control"][:, :24, :count], one["references"])
            assert not one["control"][:, 24:, :count].any()


def test_video_generator_photos_are_dropped_and_scaled(bundle: AdapterBundle, base: Path, media: Any) -> None:
    poses = media.validation_clip(0).poses
    generator = VideoGenerator(open_base(str(base)), bundle, scheduler="base", offload="none")
    photos = choose_references(2, bundle, None)

    def generate(scale: float, shown: list[Any]) -> Any:
        config = GenerationConfig("a person", "blurry", 1.0, 1.0, 1.0, 1.0, 2, scale)
        return generator.generate(poses, config, 42, references=shown)

    bare, seen = generate(1.0, []), generate(1.0, photos)
    assert seen.shape == bare.shape == poses.shape
    assert not np.array_equal(bare, seen)
    assert np.array_equal(generate(0.0, photos), bare)
    assert np.abs(generate(0.999, photos).astype(int) - seen).max() <= 2
    pipe: Any = generator._pipe
    theirs = pipe(
        video=[Image.fromarray(frame) for frame in poses],
        reference_images=[Image.fromarray(photo) for photo in reversed(photos)],
        height=64,
        width=64,
        num_frames=9,
        num_inference_steps=2,
        guidance_scale=1.0,
        prompt_embeds=generator.conditioning(GenerationConfig("a person", "", 1.0, 1.0, 1.0, 1.0, 2))[
            "encoder_hidden_states"
        ],
        generator=torch.Generator().manual_seed(42),
        output_type="np",
    ).frames[0]
    assert np.abs(seen - theirs * 255).max() <= 1


@pytest.mark.parametrize(("frames", "count"), [(9, 4), (9, 2), (1, 3)])
def test_video_generator_takes_more_photos_than_latent_frames(
    bundle: AdapterBundle, base: Path, media: Any, frames: int, count: int
) -> None:
    poses = media.validation_clip(0).poses[:frames]
    generator = VideoGenerator(open_base(str(base)), bundle, scheduler="base", offload="none")
    config = GenerationConfig("a person", "blurry", 1.0, 1.0, 1.0, 1.0, 1, 1.0)
    photos = [noise_picture(16, 16, number) for number in range(count)]
    assert generator.generate(poses, config, 42, references=photos).shape == poses.shape
    mask, pictures = torch.rand(1, 3, frames, 64, 64).round(), [[torch.zeros(3, 64, 64)] * count]
    pipe = generator._pipe
    masks = pipe.prepare_masks(mask, pictures)
    latents = (frames + 3) // 4
    assert masks.shape == (1, 64, count + latents, 8, 8)
    if count <= latents:  # else diffusers makes too few
        assert torch.equal(masks, WanVACEPipeline.prepare_masks(pipe, mask, pictures))


def test_choose_references_of_somebody_else_are_not_the_persons(
    bundle: AdapterBundle, two_people: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ben = IdentityProfile.create(
        id="ben", embedder="clip", embedding_mean=np.ones(4), embedding_std=np.ones(4), num_frames=3, consent="self"
    )
    caplog.set_level("INFO")
    assert choose_references(None, bundle, None, ben) == []
    assert "no photos are shown, for the model holds those of dancer; give ben's as task.references" in caplog.text
    assert choose_references(0, bundle, None, ben) == []
    with pytest.raises(
        UserError, match=r"references=2: the model holds photos of dancer, not of ben; give files, or 0"
    ):
        choose_references(2, bundle, None, ben)
    with closing(build_analyzer()) as analyzer:
        woman = max(analyzer(read_image(two_people / "woman0.jpg")), key=lambda face: face.score)
        embedding = torch.from_numpy(woman.embedding)
        recogniser = analyzer.embedder
    known = replace(bundle, recognised=-embedding, facts={**bundle.facts, "recogniser": recogniser})
    photo = str(two_people / "more" / "both.png")
    assert len(choose_references(photo, known, build_analyzer, ben)) == 1  # ben has another network's embedding
    assert "not compared with ben" in caplog.text
    assert "shows 2 faces" in caplog.text
    same = ben.model_copy(update={"embedder": recogniser, "embedding_mean": embedding.tolist()})
    assert len(choose_references(photo, known, build_analyzer, same)) == 1
    man = str(two_people / "man0.png")
    with pytest.raises(UserError, match=r"task.references: .*man0.png shows somebody else than ben"):
        choose_references(man, known, build_analyzer, same)


def test_choose_references_numbers_and_files(bundle: AdapterBundle, tmp_path: Path) -> None:
    assert len(choose_references(None, bundle, None)) == 3
    assert choose_references(0, bundle, None) == []
    with pytest.raises(UserError, match=r"references=4: the model holds 3 photos of dancer; give files, or fewer"):
        choose_references(4, bundle, None)
    for number in range(5):
        Image.fromarray(noise_picture(16, 16)).save(tmp_path / f"{number}.png")
    with pytest.raises(UserError, match=r"holds 5 photos; give 1 to 4"):
        choose_references(str(tmp_path), bundle, None)
