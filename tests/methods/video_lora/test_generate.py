"""Videos of a trained person, drawn by diffusers' own pipeline."""

import importlib.util
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from facesmith.config.schema import TrainConfig
from facesmith.errors import UserError
from facesmith.media.video import open_video
from facesmith.media.video_writer import VideoWriter
from facesmith.methods.video_lora.adapter_bundle import Person, load_person, person_of
from facesmith.methods.video_lora.base import open_base
from facesmith.methods.video_lora.generation import VideoGenerator, Wish
from facesmith.tasks.generate.task import GenerateTask

from .stock import drawn_by_diffusers

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
    person_of(module.transformer, module.mapper, provenance).save(folder)
    return folder


def task(exports: Path, source: Path, output: Path, **more: Any) -> GenerateTask:
    settings: dict[str, Any] = {
        "base": None,
        "embedding": None,
        "prompt": None,
        "negative_prompt": None,
        "height": None,
        "width": None,
        "num_frames": 65,
        "fps": None,
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
        "progress": False,
    }
    return GenerateTask(model=exports, source=str(source), output=output, **{**settings, **more})


def test_without_tokens_and_lora_the_stock_base_is_drawn_bit_for_bit(exports: Path, base: Path, media: Any) -> None:
    _, poses = media.frames(0)
    prompt, negative = media.config.prompt, media.config.negative_prompt
    theirs = drawn_by_diffusers(base, poses, prompt, negative)
    generator = VideoGenerator(open_base(str(base)), load_person(exports), scheduler="base", offload="none")
    bare = generator.draw(poses, Wish(prompt, negative, 0.0, 0.0, 1.0, 2.0, 2), 42)
    person = generator.draw(poses, Wish(prompt, negative, 1.0, 1.0, 1.0, 2.0, 2), 42)
    again = generator.draw(poses, Wish(prompt, negative, 0.0, 0.0, 1.0, 2.0, 2), 42)
    assert np.array_equal(bare, theirs)
    assert np.array_equal(bare, again)
    assert not np.array_equal(bare, person)


def test_a_batch_is_drawn_marked_and_resumed(
    exports: Path, media: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poses = tmp_path / "poses"
    poses.mkdir()
    for clip in sorted(Path(media.config.poses).glob("*.mp4"))[:2]:
        (poses / clip.name).symlink_to(clip)
    paths = task(exports, poses, tmp_path / "out", seeds=[1, 2]).run()
    names = ["dance_000_seed1.mp4", "dance_000_seed2.mp4", "dance_001_seed1.mp4", "dance_001_seed2.mp4"]
    assert [path.name for path in paths] == [*names, "contact_sheet.png"]
    with open_video(paths[0]) as video:
        assert (len(video), video.height, video.width) == (9, 64, 64)
    assert b"dancer" in paths[0].read_bytes()
    before = paths[0].stat().st_mtime_ns
    paths[1].unlink()
    capsys.readouterr()
    task(exports, poses, tmp_path / "out", seeds=[1, 2]).run()
    assert "3 of 4 are drawn already" in capsys.readouterr().out
    assert paths[1].exists()
    assert paths[0].stat().st_mtime_ns == before
    task(exports, poses, tmp_path / "out", seeds=[1, 2], face_scale=0.5).run()
    assert paths[0].stat().st_mtime_ns != before


@pytest.mark.parametrize("scheduler", ["unipc", "euler", "dpm"])
def test_every_scheduler_draws(exports: Path, media: Any, tmp_path: Path, scheduler: str) -> None:
    clip = sorted(Path(media.config.poses).glob("*.mp4"))[0]
    (path,) = task(exports, clip, tmp_path / "one.mp4", scheduler=scheduler, cfg_scale=1.0).run()
    assert path.stat().st_size > 500


def test_blocks_in_files_and_smaller_weights(exports: Path, base: Path, media: Any) -> None:
    _, poses = media.frames(0)
    person, opened = load_person(exports), open_base(str(base))
    wish = Wish(media.config.prompt, media.config.negative_prompt, 1.0, 1.0, 1.0, 1.0, 2)

    def drawn(offload: Any, storage: Any) -> Any:
        return VideoGenerator(opened, person, scheduler="base", offload=offload, storage=storage).draw(poses, wish, 42)

    whole = drawn("none", "as_computed")
    assert np.array_equal(drawn("disk", "as_computed"), whole)
    small = drawn("none", "float8").astype(int)
    assert 0 < np.abs(small - whole).mean() < 8
    if importlib.util.find_spec("torchao") is not None:
        assert 0 < np.abs(drawn("none", "int8").astype(int) - whole).mean() < 8
    for offload in ("model", "group", "sequential"):
        if not torch.cuda.is_available():
            with pytest.raises(UserError, match=f"offload={offload}: there is no GPU .* use none or disk"):
                drawn(offload, "as_computed")
    with pytest.raises(UserError, match=r"offload=disk: cannot move weights of base_storage=int8"):
        drawn("disk", "int8")


def test_a_checkpoint_and_its_exports_are_the_same_person(exports: Path, demo: Settings, tmp_path: Path) -> None:
    from facesmith.methods.video_lora.module import VideoLoraModule
    from facesmith.models.checkpoint import describe

    person = load_person(exports)
    module: Any = demo(tmp_path).model.build()
    assert isinstance(module, VideoLoraModule)
    module.configure_model()
    module.mapper.load_state_dict(person.mapper.state_dict())
    state = module.state_dict()
    for name, value in person.lora.items():
        state[name.replace(".weight", ".face.weight")] = value
    provenance = {**person.facts, "embedding": person.embedding.tolist()}
    record = describe(module.config, provenance)
    torch.save({"state_dict": state, "facesmith": record}, tmp_path / "last.ckpt")
    other: Person = load_person(tmp_path / "last.ckpt")
    assert other.lora.keys() == person.lora.keys()
    assert all(torch.equal(other.lora[name], person.lora[name]) for name in person.lora)
    assert other.facts == person.facts
    assert (other.lora_config["r"], other.lora_config["lora_alpha"]) == (4, 4)


def test_odd_poses_and_scales_are_drawn_and_told(
    exports: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with VideoWriter(tmp_path / "odd.mp4", mark=None, fps=8.0) as writer:
        for _ in range(12):
            writer.write(np.zeros((70, 90, 3), np.uint8))
    with caplog.at_level(logging.WARNING):
        given = {"cfg_scale": 1.0, "steps": 1}
        (path,) = task(exports, tmp_path / "odd.mp4", tmp_path / "a.mp4", face_scale=2.5, **given).run()
    lines = [record.getMessage() for record in caplog.records]
    assert f"{tmp_path / 'odd.mp4'}: has 12 frames, the first 9 are drawn (task.num_frames)" in lines
    assert any("is 70x90 px, drawn at 64x96, cropped to fit; sizes are multiples of 16" in line for line in lines)
    assert any(line.startswith("face_scale=2.5: 0.5 is subtle") for line in lines)
    with open_video(path) as video:
        assert (len(video), video.height, video.width) == (9, 64, 96)
    with pytest.raises(UserError, match=r"task.width=90: must be a multiple of 16, such as 96"):
        task(exports, tmp_path / "odd.mp4", tmp_path / "a.mp4", width=90)


def test_what_does_not_fit_is_told_in_one_line(exports: Path, base: Path, media: Any, tmp_path: Path) -> None:
    clip = sorted(Path(media.config.poses).glob("*.mp4"))[0]
    with pytest.raises(UserError, match=r"model=.*: is neither a checkpoint"):
        task(tmp_path / "nothing", clip, tmp_path / "a.mp4")
    with pytest.raises(UserError, match=r"lacks lora.safetensors, mapper.safetensors"):
        task(tmp_path, clip, tmp_path / "a.mp4")
    with pytest.raises(UserError, match=r"is a file, but 2 videos are wanted"):
        task(exports, clip, tmp_path / "a.mp4", seeds=[1, 2])
    with pytest.raises(UserError, match=r"a person .*: has \d+ tokens, 12 fit beside 4 face tokens"):
        task(exports, clip, tmp_path / "a.mp4", prompt="a person dancing " * 6).run()
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
        task(exports, clip, tmp_path / "a.mp4", base=str(other)).run()
