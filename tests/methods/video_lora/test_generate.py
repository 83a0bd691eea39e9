"""Videos of a trained person, drawn by diffusers' own pipeline."""

import importlib.util
import json
import logging
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from facesmith.cli.composition import load_config
from facesmith.cli.main import main
from facesmith.config.schema import InferConfig, TrainConfig
from facesmith.errors import UserError
from facesmith.media.video import open_video
from facesmith.media.video_writer import VideoWriter
from facesmith.methods.video_lora.adapter_bundle import AdapterBundle, collect_bundle, load_bundle
from facesmith.methods.video_lora.base import Base, open_base
from facesmith.methods.video_lora.generation import GenerationConfig, VideoGenerator, build_scheduler
from facesmith.tasks.generate.config import GenerateTaskConfig
from facesmith.tasks.generate.task import GenerateTask

from .stock import generate_with_diffusers

Settings = Callable[..., TrainConfig]


@pytest.fixture(scope="module")
def media(demo: Settings, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the demo's data, encoded."""
    data: Any = demo(tmp_path_factory.mktemp("data")).data.build()
    data.prepare_data()
    data.setup("fit")
    return data


@pytest.fixture(scope="module")
def exports(demo: Settings, media: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the files of a person whose LoRA changes something."""
    folder: Path = tmp_path_factory.mktemp("exports")
    module: Any = demo(folder).model.build()
    module.configure_model()
    random = torch.Generator().manual_seed(1)
    for name, value in module.transformer.named_parameters():
        if "lora_B" in name:
            value.data = torch.randn(value.shape, generator=random) * 0.1
    provenance = {**media.provenance(), "base": module.base.name, "base_hash": module.base.fingerprint}
    collect_bundle(module.transformer, module.mapper, provenance).save(folder)
    return folder


def make_task(exports: Path, source: Path, output: Path, **more: Any) -> GenerateTask:
    settings: dict[str, Any] = {
        "_target_": "facesmith.tasks.generate.task.GenerateTask",
        "model": exports,
        "source": str(source),
        "output": output,
        "base": None,
        "embedding": None,
        "prompt": None,
        "negative_prompt": None,
        "height": None,
        "width": None,
        "num_frames": 65,
        "overlap": 9,
        "shift": None,
        "loras": [],
        "fps": None,
        "references": None,
        "reference_scale": 1.0,
        "face_scale": 1.0,
        "lora_scale": 1.0,
        "vace_scale": 1.0,
        "cfg_scale": 2.0,
        "steps": 2,
        "seeds": [42],
        "scheduler": "base",
        "offload": "none",
        "base_storage": "as_computed",
        "crf": 17,
        "resume": True,
    }
    return GenerateTask(GenerateTaskConfig.model_validate({**settings, **more}), progress=False)


def test_video_generator_without_tokens_and_lora_equals_diffusers(exports: Path, base: Path, media: Any) -> None:
    poses = media.validation_clip(0).poses
    prompt, negative = media.config.prompt, media.config.negative_prompt
    theirs = generate_with_diffusers(base, poses, prompt, negative)
    generator = VideoGenerator(open_base(str(base)), load_bundle(exports), scheduler="base", offload="none")
    bare = generator.generate(poses, GenerationConfig(prompt, negative, 0.0, 0.0, 1.0, 2.0, 2), 42)
    person = generator.generate(poses, GenerationConfig(prompt, negative, 1.0, 1.0, 1.0, 2.0, 2), 42)
    again = generator.generate(poses, GenerationConfig(prompt, negative, 0.0, 0.0, 1.0, 2.0, 2), 42)
    assert np.array_equal(bare, theirs)
    assert np.array_equal(bare, again)
    assert not np.array_equal(bare, person)


def test_generate_task_marks_and_resumes(
    exports: Path, media: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poses = tmp_path / "poses"
    poses.mkdir()
    for clip in sorted(Path(media.config.poses).glob("*.mp4"))[:2]:
        (poses / clip.name).symlink_to(clip)
    paths = make_task(exports, poses, tmp_path / "out", seeds=[1, 2]).run()
    names = ["dance_000_seed1.mp4", "dance_000_seed2.mp4", "dance_001_seed1.mp4", "dance_001_seed2.mp4"]
    assert [path.name for path in paths] == [*names, "contact_sheet.png"]
    with open_video(paths[0]) as video:
        assert (len(video), video.height, video.width) == (9, 64, 64)
    assert b"dancer" in paths[0].read_bytes()
    before = paths[0].stat().st_mtime_ns
    paths[1].unlink()
    capsys.readouterr()
    make_task(exports, poses, tmp_path / "out", seeds=[1, 2]).run()
    assert "3 of 4 videos exist already" in capsys.readouterr().out
    assert paths[1].exists()
    assert paths[0].stat().st_mtime_ns == before
    make_task(exports, poses, tmp_path / "out", seeds=[1, 2], face_scale=0.5).run()
    assert paths[0].stat().st_mtime_ns != before


def test_generate_ctrl_c_is_told_and_the_same_command_goes_on(
    exports: Path, media: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    poses = min(Path(media.config.poses).glob("*.mp4"))
    given = [f"model={exports}", f"source={poses}", f"output={tmp_path / 'out'}", "steps=1", "cfg_scale=1"]
    command = ["infer", "task=generate", *given, "seeds=[1,2,3]"]
    real, seeds = VideoGenerator.generate_long, []

    def stopped(self: VideoGenerator, frames: Any, config: Any, seed: int, **more: Any) -> Any:
        seeds.append(seed)
        if seeds == [1, 2]:
            signal.raise_signal(signal.SIGINT)
        return real(self, frames, config, seed, **more)

    monkeypatch.setattr(VideoGenerator, "generate_long", stopped)
    assert main(command) == 130
    said = capsys.readouterr()
    assert "1 of 3 videos are made; the same command makes the rest" in said.out
    assert said.err.splitlines()[-1] == "stopped by Ctrl-C"
    assert "Traceback" not in said.err
    assert main(command) == 0
    assert seeds == [1, 2, 2, 3]
    assert len(list((tmp_path / "out").glob("*.mp4"))) == 3


@pytest.mark.parametrize("scheduler", ["unipc", "euler", "dpm"])
def test_generate_task_scheduler_generates(exports: Path, media: Any, tmp_path: Path, scheduler: str) -> None:
    clip = sorted(Path(media.config.poses).glob("*.mp4"))[0]
    (path,) = make_task(exports, clip, tmp_path / "one.mp4", scheduler=scheduler, cfg_scale=1.0).run()
    assert path.stat().st_size > 500


def test_video_generator_offload_and_storage_stay_close(exports: Path, base: Path, media: Any) -> None:
    poses = media.validation_clip(0).poses
    bundle, opened = load_bundle(exports), open_base(str(base))
    config = GenerationConfig(media.config.prompt, media.config.negative_prompt, 1.0, 1.0, 1.0, 1.0, 2)

    def generate(offload: Any, storage: Any) -> Any:
        generator = VideoGenerator(opened, bundle, scheduler="base", offload=offload, storage=storage)
        return generator.generate(poses, config, 42).astype(int)

    whole = generate("none", "as_computed")
    # Blocks read back from files lie elsewhere in memory than the loaded ones, and BLAS may choose another kernel for
    # another alignment: the same sums in another order, which after rounding is at most a level here and there.
    assert np.abs(generate("disk", "as_computed") - whole).max() <= 1
    small = generate("none", "float8")
    assert 0 < np.abs(small - whole).mean() < 8
    if importlib.util.find_spec("torchao") is not None:
        assert 0 < np.abs(generate("none", "int8") - whole).mean() < 8
    for offload in ("model", "group", "sequential"):
        if not torch.cuda.is_available():
            with pytest.raises(UserError, match=f"offload={offload}: there is no GPU .* use none or disk"):
                generate(offload, "as_computed")
    with pytest.raises(UserError, match=r"offload=disk: cannot move weights of base_storage=int8"):
        generate("disk", "int8")


def test_load_bundle_checkpoint_equals_exports(exports: Path, demo: Settings, tmp_path: Path) -> None:
    from facesmith.methods.video_lora.module import VideoLoraModule
    from facesmith.models.checkpoint import checkpoint_record

    person = load_bundle(exports)
    module: Any = demo(tmp_path).model.build()
    assert isinstance(module, VideoLoraModule)
    module.configure_model()
    module.mapper.load_state_dict(person.mapper.state_dict())
    state = module.state_dict()
    for name, value in person.lora.items():
        state[name.replace(".weight", ".face.weight")] = value
    provenance = {**person.facts, "embedding": person.embedding.tolist()}
    record = checkpoint_record(module.config, provenance)
    torch.save({"state_dict": state, "facesmith": record}, tmp_path / "last.ckpt")
    other: AdapterBundle = load_bundle(tmp_path / "last.ckpt")
    assert other.lora.keys() == person.lora.keys()
    assert all(torch.equal(other.lora[name], person.lora[name]) for name in person.lora)
    assert other.facts == person.facts
    assert (other.lora_config["r"], other.lora_config["lora_alpha"]) == (4, 4)


def test_generate_task_odd_poses_and_scales_warn(
    exports: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with VideoWriter(tmp_path / "odd.mp4", mark=None, fps=8.0) as writer:
        for _ in range(12):
            writer.write(np.full((70, 90, 3), 90, np.uint8))
    with caplog.at_level(logging.WARNING):
        given = {"cfg_scale": 1.0, "steps": 1}
        (path,) = make_task(exports, tmp_path / "odd.mp4", tmp_path / "a.mp4", face_scale=2.5, **given).run()
    lines = [record.getMessage() for record in caplog.records]
    assert f"{tmp_path / 'odd.mp4'}: has 12 frames, the first 9 are used (one more than a multiple of 4)" in lines
    assert any(
        "is 70x90 px, generated at 64x96 and cropped to fit; sizes are multiples of 16" in line for line in lines
    )
    assert any(line.startswith("face_scale=2.5: 0.25 is subtle") for line in lines)
    with open_video(path) as video:
        assert (len(video), video.height, video.width) == (9, 64, 96)
    with pytest.raises(UserError, match=r"task.width=90: must be a multiple of 16, such as 96"):
        make_task(exports, tmp_path / "odd.mp4", tmp_path / "a.mp4", width=90)


def write_poses(path: Path, frames: int, fps: float) -> Path:
    """Write a grey disc that moves: its place is the time."""
    with VideoWriter(path, mark=None, fps=fps, crf=1) as writer:
        for number in range(frames):
            picture = np.zeros((64, 64, 3), np.uint8)
            picture[20:40, round(number / fps * 20) :][:, :12] = 200
            writer.write(picture)
    return path


def test_generate_task_poses_of_any_rate_keep_their_time(exports: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"cfg_scale": 1.0, "steps": 1, "fps": 16.0}
    for rate in (8.0, 16.0, 60.0):
        poses = write_poses(tmp_path / f"{rate:g}.mp4", round(rate) + 1, rate)
        (path,) = make_task(exports, poses, tmp_path / f"out{rate:g}.mp4", **given).run()
        with open_video(path) as video:
            assert video.fps == pytest.approx(16.0)
            assert len(video) == 17  # 0 to 1 s


def test_generate_task_long_poses_are_continued(exports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    own = VideoGenerator.generate

    def generate(self: Any, poses: Any, config: Any, seed: int, *rest: Any) -> Any:
        calls.append((len(poses), seed, rest[2].copy() if len(rest) > 2 else None))
        return own(self, poses, config, seed, *rest)

    monkeypatch.setattr(VideoGenerator, "generate", generate)
    poses = write_poses(tmp_path / "long.mp4", 21, 8.0)
    given: dict[str, Any] = {"cfg_scale": 1.0, "steps": 1, "num_frames": 9, "crf": 0}
    (path,) = make_task(exports, poses, tmp_path / "long_out.mp4", overlap=5, **given).run()
    with open_video(path) as video:
        frames = np.stack([frame for _, frame in video.frames(range(len(video)))])
    assert len(frames) == 21
    assert [(one[0], one[1]) for one in calls] == [(9, 42), (9, 43), (9, 44), (9, 45)]
    assert np.abs(calls[1][2].astype(int) - frames[4:9]).mean() < 8  # colours are subsampled
    (cut,) = make_task(exports, poses, tmp_path / "cut.mp4", overlap=0, **given).run()
    with open_video(cut) as video:
        assert len(video) == 9


def test_video_generator_continues_as_diffusers_does(exports: Path, base: Path, media: Any) -> None:
    from PIL import Image

    poses = media.validation_clip(0).poses
    generator = VideoGenerator(open_base(str(base)), load_bundle(exports), scheduler="base", offload="none")
    config = GenerationConfig("a person", "", 0.0, 0.0, 1.0, 1.0, 2)
    before = np.full((5, 64, 64, 3), 200, np.uint8)
    ours = generator.generate(poses, config, 42, before=before)
    pipe: Any = generator._pipe
    kept, new = (Image.new("L", (64, 64), level) for level in (0, 255))
    theirs = pipe(
        video=[Image.fromarray(frame) for frame in np.concatenate([before, poses[5:]])],
        mask=[kept.convert("RGB")] * 5 + [new.convert("RGB")] * 4,
        height=64,
        width=64,
        num_frames=9,
        num_inference_steps=2,
        guidance_scale=1.0,
        prompt_embeds=generator.conditioning(config)["encoder_hidden_states"],
        generator=torch.Generator().manual_seed(42),
        output_type="np",
    ).frames[0]
    assert np.array_equal(ours, np.rint(theirs * 255).astype(np.uint8))
    assert not np.array_equal(ours, generator.generate(poses, config, 42))


def test_build_scheduler_shift_is_taken(base: Path) -> None:
    own = open_base(str(base)).load_scheduler()
    for name in ("base", "euler", "unipc", "dpm"):
        plain, shifted = build_scheduler(own, name), build_scheduler(own, name, 16.0)
        for one in (plain, shifted):
            one.set_timesteps(8)
        assert float(shifted.timesteps[4]) > float(plain.timesteps[4]) + 50


def test_generate_task_folder_with_a_dot_and_black_poses(
    exports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    poses = write_poses(tmp_path / "a.mp4", 9, 8.0)
    given: dict[str, Any] = {"cfg_scale": 1.0, "steps": 1}
    (path,) = make_task(exports, poses, tmp_path / "dances.v2", **given).run()
    assert path == tmp_path / "dances.v2" / "a_seed42.mp4"
    caplog.clear()
    make_task(exports, path, tmp_path / "again", **given).run()  # a film, and no drawing
    assert "a_seed42.mp4: is no drawing on black" in caplog.text
    monkeypatch.setattr(GenerateTask, "_load_generator", lambda *_: pytest.fail("the base was loaded"))
    with VideoWriter(tmp_path / "black.mp4", mark=None, fps=8.0) as writer:
        for _ in range(9):
            writer.write(np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(UserError, match=r"black.mp4: is black, nobody is drawn"):
        make_task(exports, tmp_path / "black.mp4", tmp_path / "b.mp4", **given).run()


def test_open_base_two_experts_raises(base: Path, tmp_path: Path) -> None:
    for part in base.iterdir():
        (tmp_path / part.name).symlink_to(part)
    (tmp_path / "transformer_2").mkdir()
    with pytest.raises(UserError, match=r"^task.base=.*has two transformers, one for high and one for low noise"):
        open_base(str(tmp_path), "task.base")


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("task.references=5", "task.references=5: must be less than or equal to 4, or text, or a list: [a, b]"),
        (
            "task.loras=[style.safetensors]",
            "task.loras.0=style.safetensors: must be {file: <a LoRA of Wan>, scale: 1.0}",
        ),
        ("task.loras=[{file: style.safetensors}]", "task.loras.0: must be {file: <a LoRA of Wan>, scale: 1.0}"),
        ("task.loras=[{file: style.safetensors, scale: a}]", "task.loras.0.scale=a: must be a number"),
    ],
)
def test_generate_settings_that_cannot_be_are_one_line(given: str, line: str, tmp_path: Path) -> None:
    flat = [f"task.model={tmp_path}", f"source={tmp_path}", f"output={tmp_path / 'out'}"]
    with pytest.raises(UserError) as caught:
        load_config("infer", InferConfig, ["task=generate", *flat, given])
    assert str(caught.value) == line


def test_generate_bad_lora_is_refused_before_the_base_is_loaded(
    exports: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "style.safetensors").write_bytes(b"")
    monkeypatch.setattr(Base, "load_vae", lambda *_: pytest.fail("the base was loaded"))
    with pytest.raises(UserError, match=r"^task.loras: .*style.safetensors: is no safetensors file"):
        VideoGenerator(
            open_base(str(base)),
            load_bundle(exports),
            scheduler="base",
            offload="none",
            loras=[(tmp_path / "style.safetensors", 1.0)],
        )


def test_load_text_encoder_of_zeros_raises(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import UMT5EncoderModel

    own = UMT5EncoderModel.from_pretrained

    def broken(*args: Any, **kwargs: Any) -> Any:
        model = own(*args, **kwargs)
        model.get_input_embeddings().weight.data.zero_()
        return model

    monkeypatch.setattr(UMT5EncoderModel, "from_pretrained", broken)
    with pytest.raises(UserError, match=r"word embeddings of zeros"):
        open_base(str(base)).load_text_encoder()


def test_generate_task_wrong_input_raises(exports: Path, base: Path, media: Any, tmp_path: Path) -> None:
    clip = sorted(Path(media.config.poses).glob("*.mp4"))[0]
    with pytest.raises(UserError, match=r"model=.*: is neither a checkpoint"):
        make_task(tmp_path / "nothing", clip, tmp_path / "a.mp4")
    with pytest.raises(UserError, match=r"lacks lora.safetensors, mapper.safetensors"):
        make_task(tmp_path, clip, tmp_path / "a.mp4")
    with pytest.raises(UserError, match=r"is a file, but 2 videos are wanted"):
        make_task(exports, clip, tmp_path / "a.mp4", seeds=[1, 2])
    with pytest.raises(UserError, match=r"a person .*: has \d+ tokens, 12 fit beside 4 face tokens"):
        make_task(exports, clip, tmp_path / "a.mp4", prompt="a person dancing " * 6).run()
    other = tmp_path / "other"
    other.mkdir()
    for part in base.iterdir():
        if part.name != "transformer":
            (other / part.name).symlink_to(part)
    (other / "transformer").mkdir()
    for part in (base / "transformer").iterdir():
        (other / "transformer" / part.name).write_bytes(part.read_bytes())
    config = json.loads((other / "transformer" / "config.json").read_text())
    (other / "transformer" / "config.json").write_text(json.dumps({**config, "eps": 1e-5}))
    with pytest.raises(UserError, match=r"is not the base that dancer was trained on"):
        make_task(exports, clip, tmp_path / "a.mp4", base=str(other)).run()
