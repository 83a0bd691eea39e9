"""Runs, checkpoints and .onnx files predict masks; other files are refused."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from omegaconf import OmegaConf

from facesmith.annotate.prediction import load_predictor
from facesmith.cli.composition import compose_config
from facesmith.errors import UserError
from facesmith.faces.face_set.face_set import FaceSet


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the folder of a run with an untrained occluder of 64 px."""
    import torch

    from facesmith.methods.occluder.config import OccluderModuleConfig
    from facesmith.methods.occluder.module import OccluderModule
    from facesmith.models.checkpoint import RECORD, checkpoint_record

    small = ["model.encoder=timm-mobilenetv3_small_minimal_100", "model.decoder_channels=[32,16,16,8]"]
    cfg = compose_config(
        "train", ["experiment=occluder_demo", "model.encoder_weights=null", "model.init_from=null", *small]
    )
    torch.manual_seed(0)
    module = OccluderModule(OccluderModuleConfig.model_validate(OmegaConf.to_container(cfg.model, resolve=True)))
    record = checkpoint_record(module.config, {"size": 64, "face_set": "none", "identity": "nobody"})
    folder = tmp_path_factory.mktemp("run")
    (folder / "checkpoints").mkdir()
    saved = {"state_dict": module.state_dict(), RECORD: record, "optimizer_states": []}
    torch.save(saved, folder / "checkpoints" / "last.ckpt")
    return folder


def test_load_predictor_run_and_checkpoint_equal_network(run: Path, faces: FaceSet) -> None:
    import torch

    from facesmith.models.checkpoint import load_module

    module = load_module(run / "checkpoints" / "last.ckpt")
    small = cv2.resize(faces.crop(0), (64, 64), interpolation=cv2.INTER_AREA)
    points = (faces.landmarks[0] + (0.5, 0.5, 0)) / 8 - (0.5, 0.5, 0)
    batch = {
        "picture": torch.from_numpy(small / np.float32(255)).permute(2, 0, 1)[None],
        "points": torch.from_numpy(points.astype(np.float32))[None],
    }
    with torch.inference_mode():
        found = module.predict(batch)  # type: ignore[operator]
    wanted = cv2.resize(found.sigmoid()[0, 0].numpy(), (512, 512)) > 0.5
    for place in (run, run / "checkpoints" / "last.ckpt"):
        mask = load_predictor(faces, place)(0)
        assert mask.shape == (512, 512)
        assert set(np.unique(mask)) <= {0, 255}
        assert np.array_equal(mask > 127, wanted)


def test_load_predictor_onnx(faces: FaceSet, graph_file: Callable[..., Path]) -> None:
    nodes = [("ReduceMean", ["input"], ["output"], {"axes": [3], "keepdims": 1})]
    bright = graph_file("bright.onnx", nodes, {"input": ["N", 256, 256, 3]}, {"output": ["N", 256, 256, 1]})
    mask = load_predictor(faces, bright)(0)
    grey = faces.crop(0).mean(-1)
    assert ((mask > 127) == (grey > 127)).mean() > 0.97


def test_load_predictor_other_files_are_refused(tmp_path: Path, faces: FaceSet, swapper_file: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no checkpoint; give the folder of an occluder's run"):
        load_predictor(faces, tmp_path / "empty")
    with pytest.raises(UserError, match="wrong contract"):
        load_predictor(faces, swapper_file)
    with pytest.raises(UserError, match=r"none\.ckpt: cannot be read"):
        load_predictor(faces, tmp_path / "none.ckpt")
