"""Face embeddings end to end: photos in by `infer.py task=embed`, profiles out, blended and interpolated."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors import safe_open
from skimage.data import astronaut
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    DINOv3ViTConfig,
    DINOv3ViTModel,
)

from facesmith.cli.composition import load_config
from facesmith.cli.infer import infer
from facesmith.config.schema import InferConfig
from facesmith.errors import UserError
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.media.images import write_image
from facesmith.media.video import open_video


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, asset: Callable[[str], Path]) -> Path:
    """Write photos of a man, of another person and of nobody, and encoders of full width with random weights."""
    folder = tmp_path_factory.mktemp("embed")
    with open_video(asset("carphone_pristine.mp4")) as reader:
        for index, frame in reader.frames([0, 40, 80, 100]):
            write_image(folder / "man" / f"{index}.png", np.repeat(np.repeat(frame, 2, 0), 2, 1), mark=None)
    woman = astronaut()
    for number, picture in enumerate((woman, cv2.convertScaleAbs(woman, alpha=0.9, beta=8), woman[:, ::-1])):
        write_image(folder / "woman" / f"{number}.png", np.ascontiguousarray(picture), mark=None)
    write_image(folder / "nobody.png", np.full((256, 256, 3), 90, np.uint8), mark=None)
    torch.manual_seed(0)
    common = {"num_hidden_layers": 1, "num_attention_heads": 16, "hidden_size": 1024, "intermediate_size": 1024}
    clip = CLIPVisionConfig(**common, image_size=224, patch_size=14, projection_dim=768)
    CLIPVisionModelWithProjection(clip).save_pretrained(folder / "clip-wide")
    CLIPImageProcessor().save_pretrained(folder / "clip-wide")
    DINOv3ViTModel(DINOv3ViTConfig(**common, image_size=224, patch_size=16)).save_pretrained(folder / "dino-wide")
    CLIPImageProcessor().save_pretrained(folder / "dino-wide")
    return folder


def embed(root: Path, name: str, *overrides: str, **sources: Any) -> Path:
    given = [
        "task=embed",
        f"source={sources.get('source', root / name)}",
        f"task.name={name}",
        "task.consent=licensed",
        f"paths.face_sets={root / 'sets'}",
        f"paths.profiles={root / 'profiles'}",
        *overrides,
    ]
    return infer(load_config("infer", InferConfig, given))[0]


@pytest.mark.parametrize(
    ("encoder", "name", "size", "aggregation"),
    [
        ("sface", "sface", 128, "weighted_mean"),
        ("clip", "clip:clip-wide", 768, "median"),
        ("dinov3", "dinov3:dino-wide", 1024, "mean"),
    ],
)
def test_embed_task_photos_become_profiles_that_blend(
    root: Path, encoder: str, name: str, size: int, aggregation: str
) -> None:
    folder = root / f"{encoder[:4]}-wide"
    given = [f"encoder={encoder}", f"task.aggregation={aggregation}"]
    given += [f"task.encoder.model={folder}"] if folder.is_dir() else []
    paths = {
        who: embed(
            root,
            who,
            *given,
            f"output={root / encoder / who}.json",
            f"task.per_image={root / encoder / who}.safetensors",
        )
        for who in ("man", "woman")
    }
    man, woman = (IdentityProfile.load(path) for path in paths.values())
    assert (man.embedder, len(man.embedding_mean), man.num_frames, woman.num_frames) == (name, size, 4, 3)
    assert np.linalg.norm(man.mean) == pytest.approx(1.0, abs=1e-5)
    with safe_open(root / encoder / "man.safetensors", "np") as file:
        each, weights, said = file.get_tensor("embeddings"), file.get_tensor("weights"), file.metadata()
    assert each.shape == (4, size)
    assert np.linalg.norm(each, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert weights.sum() == pytest.approx(1.0)
    assert (said["identity"], said["encoder"]) == ("man", name)
    assert [Path(one).name for one in json.loads(said["sources"])] == ["0.png", "40.png", "80.png", "100.png"]
    if aggregation == "mean":
        assert man.mean @ (each.mean(0) / np.linalg.norm(each.mean(0))) == pytest.approx(1.0, abs=1e-5)
    for task, more in (("blend", "task.weights=[0.5,0.5]"), ("interpolate", "task.t=0.5")):
        source = f"source=[{paths['man']},{paths['woman']}]"
        output = f"{root / encoder / task}.json"
        infer(load_config("infer", InferConfig, [f"task={task}", source, "task.name=x", f"output={output}", more]))
        both = IdentityProfile.load(Path(output))
        assert both.mean @ man.mean == pytest.approx(both.mean @ woman.mean, abs=1e-4)
        assert len(both.embedding_mean) == size


def test_embed_task_few_photos_no_face_and_other_persons_are_reported(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    few = f"[{root / 'woman' / '0.png'},{root / 'nobody.png'}]"
    with caplog.at_level(logging.WARNING):
        profile = embed(root, "few", source=few)
    assert IdentityProfile.load(profile).num_frames == 1
    lines = [record.getMessage() for record in caplog.records]
    assert f"Skipped {root / 'nobody.png'}: no face" in lines
    assert "source: 1 photos with a face are few; give 3 to 20 of one person" in lines
    mixed = f"[{root / 'man'},{root / 'woman' / '0.png'}]"
    with caplog.at_level(logging.WARNING):
        profile = embed(root, "mixed", source=mixed)
    assert IdentityProfile.load(profile).num_frames == 4
    assert any("0.png: another person (similarity" in record.getMessage() for record in caplog.records)
    with pytest.raises(UserError, match=r"source: 0.png shows another person than the other pictures; .*=leave_out"):
        embed(root, "mixed2", "task.strangers=refuse", source=mixed)
    with pytest.raises(UserError, match=r"no face"):
        embed(root, "nobody", source=root / "nobody.png")
