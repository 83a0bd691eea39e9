from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from skimage.data import astronaut

from facesmith.cli.composition import compose_config, load_config
from facesmith.cli.export import export
from facesmith.config.saved import read_settings
from facesmith.config.schema import ExportConfig
from facesmith.config.settings import ModuleConfig
from facesmith.errors import UserError
from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.models.checkpoint import RECORD, checkpoint_record
from facesmith.models.onnx.session import load_swapper
from facesmith.tasks.swap.frame_swap import FrameSwapper

from ..small_swapper import astronaut_pictures

CROPS = np.stack([astronaut()[40:168, 150:278], astronaut()[56:184, 160:288]])
PROVENANCE = {
    "embedder": "sface",
    "identity": "ada",
    "consent": "synthetic",
    "consent_note": "",
    "face_set": "key1",
    "faces": 3,
    "gate": {"val/nme": 0.03},
}


def checkpoint(path: Path, generator: str) -> Path:
    """Write a swapper as training leaves it, but with random weights."""
    small = ["model.generator.size=128", "model.generator.pictures=2"] if generator == "mesh_warp" else []
    cfg = compose_config("train", ["experiment=identity", f"model/generator={generator}", "name=ada", *small])
    plain = OmegaConf.to_container(cfg.model, resolve=True)
    settings = read_settings(plain, ModuleConfig, "test")
    torch.manual_seed(0)
    module = settings.build()
    if generator == "mesh_warp":
        pictures = vars(astronaut_pictures(module.generator.picture_size))
        module.generator.set_pictures(**{name: torch.from_numpy(part) for name, part in pictures.items()})
        with torch.no_grad():
            for value in module.generator.parameters():
                value.add_(torch.randn_like(value) / 50)
    torch.save({"state_dict": module.state_dict(), RECORD: checkpoint_record(settings, PROVENANCE)}, path)
    return path


def configured(path: Path, output: Path, *more: str) -> ExportConfig:
    return load_config("export", ExportConfig, [f"ckpt_path={path}", f"output={output}", *more])


@pytest.mark.slow
def test_export_identity_conditioned_swapper_keeps_its_source(tmp_path):
    path = checkpoint(tmp_path / "last.ckpt", "aad_fast")
    report = export(configured(path, tmp_path / "exports"))
    model = load_swapper(report.path)
    assert model.info.embedding_size == 128
    embedding = np.eye(128, dtype=np.float32)[0]
    assert np.abs(model(CROPS, embedding)[0].astype(int) - load_swapper(path)(CROPS, embedding)[0]).max() <= 1


def test_export_no_checkpoint_raises(tmp_path):
    (tmp_path / "text.ckpt").write_text("not a checkpoint")
    with pytest.raises(UserError, match=r"text\.ckpt"):
        export(configured(tmp_path / "text.ckpt", tmp_path))
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(UserError, match=r"other\.ckpt: is not a checkpoint of facesmith"):
        load_swapper(tmp_path / "other.ckpt")


def test_export_output_that_names_a_file_raises(tmp_path):
    with pytest.raises(UserError, match=r"output=.*ada\.onnx: is the folder, .*; give output="):
        configured(tmp_path / "last.ckpt", tmp_path / "ada.onnx")
    (tmp_path / "kept.onnx").mkdir()
    assert configured(tmp_path / "last.ckpt", tmp_path / "kept.onnx").output.name == "kept.onnx"


def test_export_checkpoint_of_another_class_raises(tmp_path):
    """One that facesmith can rebuild, but that swaps nothing."""
    other = {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 2}
    record = {"settings": other, "provenance": {}, "version": "0.1.0"}
    torch.save({"state_dict": torch.nn.Linear(2, 2).state_dict(), RECORD: record}, tmp_path / "linear.ckpt")
    for use in (load_swapper, lambda path: export(configured(path, tmp_path))):
        with pytest.raises(UserError, match=r"linear\.ckpt") as caught:
            use(tmp_path / "linear.ckpt")
        assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("client", "files"),
    [
        ("dfm", {"dfm/ada.dfm", "dfm/__ada.md"}),
        ("hyperswap", {f"hyperswap/ada/hyperswap_1a_256.{kind}" for kind in ("onnx", "hash", "md")}),
    ],
)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_export_swaps_alike_in_every_client(tmp_path, client, files, precision):
    """The same frame, through our own file at 256 px and through the client's."""
    path = checkpoint(tmp_path / "last.ckpt", "mesh_warp")
    output = tmp_path / "exports"
    report = export(configured(path, output, f"to={client}", f"precision={precision}"))
    assert {str(p.relative_to(output)) for p in output.rglob("*") if p.is_file()} == files
    assert report.parity <= {"fp32": 1e-4, "fp16": 0.02}[precision]
    own = export(configured(path, tmp_path / "own", "size=256"))
    with closing(MediaPipeAnalyzer(detector_sizes=[640], min_score=0.7)) as analyzer:
        faces = analyzer(astronaut())
    ours = load_swapper(own.path)
    ours.info = replace(ours.info, takes_landmarks=False)  # clients feed none
    results = [
        FrameSwapper(swapper).swap(astronaut(), faces).astype(int) for swapper in (load_swapper(report.path), ours)
    ]
    changed = (results[1] != astronaut()).any(-1)
    assert changed.sum() > 500
    assert np.abs(results[0] - results[1])[changed].mean() < 0.25 * np.abs(results[1] - astronaut())[changed].mean()
