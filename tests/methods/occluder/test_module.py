"""Training end to end on real frames: it learns, is judged, saved, rebuilt, exported and used."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.optim import AdamW

from facesmith import assets
from facesmith.cli.composition import load_config
from facesmith.cli.export import export as export_job
from facesmith.cli.train import train
from facesmith.config.schema import ExportConfig, TrainConfig
from facesmith.errors import UserError
from facesmith.faces.geometry.masks import soften_mask
from facesmith.media.images import read_image
from facesmith.methods.occluder.data import OccluderDataModule
from facesmith.methods.occluder.dataset import FAMILY_NAMES, bytes_to_floats
from facesmith.methods.occluder.families import FAMILIES
from facesmith.methods.occluder.landmark_planes import PLANES, LandmarkPlanes, to_unit
from facesmith.methods.occluder.module import OccluderModule
from facesmith.methods.occluder.networks import MaskNetwork, ResizedMask
from facesmith.methods.occluder.package import package
from facesmith.models.checkpoint import load_module, read_checkpoint
from facesmith.models.landmarks.face_mesh import FaceMesh
from facesmith.models.onnx.clients import XsegGraph
from facesmith.models.onnx.export import export
from facesmith.models.onnx.export_spec import ExportSpec
from facesmith.models.onnx.landmark_input import landmark_example
from facesmith.models.onnx.occlusion import Occluder

from ...last_screen import next_paths


@pytest.fixture(scope="module")
def run(tiny_occluder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("runs") / "run"
    config = tiny_occluder(folder, "trainer.max_epochs=2", "callbacks.checkpoint.every_n_epochs=1")
    objective = train(config)
    assert isinstance(objective, float)
    assert 0 <= objective <= 1
    return folder


def test_occluder_run_writes_metrics_render_and_model(run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "completed"
    figures = record["metrics"]["last"]
    wanted = {"mask_iou", "mask_iou_unseen", "boundary_iou", "occluded_recall", "occluded_precision", "flicker"}
    wanted |= {f"iou_{name}" for name in FAMILY_NAMES}
    assert {f"val/{name}" for name in wanted} <= set(figures)
    grid = read_image(run / "renders/epoch_0002.png")
    assert grid.shape[1] == 4 * 68
    sheet = read_image(run / "renders/occlusions.png")
    assert sheet.shape == (len(FAMILIES) * (72 + 24 + 4), 2 * 6 * 76, 3)  # with the margin
    assert {path.suffix for path in (run / "exports").iterdir()} == {".onnx", ".hash", ".md"}


def test_occluder_without_export_is_told_how_to_make_one(
    tiny_occluder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tiny_occluder(tmp_path, "trainer.max_epochs=1", "callbacks.export=null"))
    (path,) = next_paths(capsys.readouterr().out)
    assert path.endswith("checkpoints/last.ckpt")
    report = export_job(
        load_config("export", ExportConfig, [f"ckpt_path={path}", "to=xseg", f"output={tmp_path / 'masks'}"])
    )
    assert report is not None
    assert report.path.is_file()


def test_occluder_checkpoint_rebuilds_module(run: Path) -> None:
    module = load_module(run / "checkpoints/last.ckpt")
    assert isinstance(module, OccluderModule)
    assert not module.training
    assert module.provenance["identity"] == "carphone"
    assert module.provenance["size"] == 64
    assert module.provenance["gate"]["val/mask_iou"] > 0
    assert module.config.encoder_weights is None
    batch = {"picture": torch.rand(1, 3, 64, 64), "points": torch.rand(1, 478, 3) * 64}
    again = load_module(run / "checkpoints/last.ckpt")
    assert isinstance(again, OccluderModule)
    assert torch.equal(module.predict(batch), again.predict(batch))
    assert module.network.planes.canonical.any()
    record = read_checkpoint(run / "checkpoints/last.ckpt")
    assert record["facesmith"]["provenance"]["consent"] == "licensed"


def test_occluder_export_equals_what_swap_reads(run: Path, data: OccluderDataModule) -> None:
    occluder = Occluder(run / "exports/carphone.onnx")
    assert occluder.size == 256
    faces = data.consecutive.labelled.faces
    large = np.stack([np.kron(crop, np.ones((4, 4, 1), np.uint8)) for crop in faces.images[:2]])
    landmarks = (faces.landmarks[:2] + 0.5) * 4 - 0.5
    assert occluder.takes_landmarks
    module = load_module(run / "checkpoints/last.ckpt")
    assert isinstance(module, OccluderModule)
    resized = ResizedMask(module.network, 64, FaceMesh())
    given = torch.from_numpy(large).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        told = resized(given, torch.from_numpy(landmarks) + torch.tensor([0.5, 0.5, 0]), torch.ones(2))[:, 0].numpy()
        alone = resized(given, *resized.find_landmarks(given))[:, 0].numpy()
    for found, wanted in ((occluder(large, 256, landmarks), told), (occluder(large, 256), alone)):
        assert np.abs(found - np.stack([soften_mask(mask) for mask in wanted])).max() < 1e-3
    card = (run / "exports/carphone.md").read_text()
    assert "licensed" in card
    assert "val/occluded_recall" in card


def test_occluder_export_other_than_xseg_is_refused(run: Path, tmp_path: Path) -> None:
    def given(*more: str) -> ExportConfig:
        return load_config(
            "export", ExportConfig, [f"ckpt_path={run / 'checkpoints/last.ckpt'}", f"output={tmp_path}", *more]
        )

    for more, words in (
        ([], "to=facesmith: .*holds an occluder; give to=xseg"),
        (["to=dfm"], "to=dfm: .*holds an occluder; give to=xseg"),
        (["to=xseg", "size=512"], "size=512: .*256 px"),
        (["to=xseg", "profile=ada.json"], r"profile=ada\.json: an occluder has no identity"),
    ):
        with pytest.raises(UserError, match=words):
            export_job(given(*more))
    assert not list(tmp_path.iterdir())


def test_occluder_export_untrained_is_refused(tiny_occluder, tmp_path: Path) -> None:
    module = tiny_occluder(tmp_path / "run").model.build()
    with pytest.raises(UserError, match="was not trained"):
        module.export_spec()


def test_occluder_module_overfits_few_faces(tiny_occluder, data: OccluderDataModule, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = tiny_occluder(tmp_path / "run").model.build()
    items = [data.validation[number] for number in range(4)]
    batch = bytes_to_floats({key: torch.stack([item[key] for item in items]) for key in items[0]})
    optimizer = AdamW(module.network.parameters(), 3e-3)
    for _ in range(60):
        loss = module.loss(module.predict(batch), batch["mask"])["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = module.predict(batch) > 0
    wanted = batch["mask"] > 0.5
    assert (found & wanted).sum() / (found | wanted).sum() > 0.93


def test_occluder_data_training_crops_margin_validation_does_not(run: Path, data: OccluderDataModule) -> None:
    assert data.training[0, 0]["picture"].shape == (3, 72, 72)
    assert data.validation[0]["picture"].shape == (3, 64, 64)
    trained = load_module(run / "checkpoints/last.ckpt")
    assert isinstance(trained, OccluderModule)
    first, second = trained.configure_groups()
    assert len(first["params"]) + len(second["params"]) == len(list(trained.network.parameters()))
    assert second["lr"] == pytest.approx(0.3 * trained.config.optimizer.lr)


def test_mask_network_detail_layers_see_full_resolution() -> None:
    torch.manual_seed(0)
    network = MaskNetwork("unet", "timm-mobilenetv3_small_minimal_100", None, [32, 16, 16, 8], 12, 4).eval()
    picture, points = torch.rand(1, 3, 64, 64), torch.rand(1, 478, 3) - 0.5
    fine_grid = picture + 0.2 * (-1.0) ** (torch.arange(64)[:, None] + torch.arange(64))
    assert network(picture, points).shape == (1, 1, 64, 64)
    network.detail[0].weight.data[:, :8] = 0  # deaf to the library's network, it still tells the pictures apart
    assert not torch.allclose(network(picture, points), network(fine_grid, points))


def test_mask_network_skin_tone_and_exposure_do_not_matter() -> None:
    torch.manual_seed(0)
    network = MaskNetwork("unet", "timm-mobilenetv3_small_minimal_100", None, [32, 16, 16, 8], 12, 4).eval()
    picture, points = torch.rand(1, 3, 64, 64), torch.rand(1, 478, 3) - 0.5
    darker = picture * 0.5 + torch.tensor([0.1, 0.05, 0.0])[:, None, None]
    bright, dark = network(picture, points), network(darker, points)
    assert (bright - dark).abs().mean() < 0.1 * bright.std()


def test_landmark_planes_tell_place_and_outline(data: OccluderDataModule) -> None:
    planes = LandmarkPlanes(0.35)
    planes.set_face(*data.canonical_face())
    points = torch.from_numpy(data.consecutive.labelled.faces.landmarks[:1])
    found, outline = planes(to_unit(points, 64), 64)
    assert found.shape == (1, PLANES, 64, 64)
    for index in (1, 33, 263, 152):  # nose, eye corners, chin
        x, y = points[0, index, :2].round().long().clamp(0, 63)
        assert (found[0, :2, y, x] - planes.canonical[index, :2]).abs().max() < 0.08
    wanted = data.consecutive.labelled.masks[0] > 127
    drawn = outline[0, 0].numpy() > 0.5
    assert (drawn & wanted).sum() / (drawn | wanted).sum() > 0.9


def test_mask_network_unknown_architecture_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UserError, match=r"model\.architecture=unet, model\.encoder=resnet99"):
        MaskNetwork("unet", "resnet99")
    with pytest.raises(UserError, match=r"model\.architecture=onet"):
        MaskNetwork("onet", "resnet18")


@pytest.mark.slow
def test_mask_network_other_architecture_exports(tmp_path: Path) -> None:
    network = MaskNetwork("fpn", "timm-mobilenetv3_small_minimal_100").eval()
    assert network(torch.rand(2, 3, 64, 64), torch.rand(2, 478, 3)).shape == (2, 1, 64, 64)
    graph = XsegGraph(ResizedMask(network, 64, FaceMesh()))
    spec = ExportSpec(graph, {"p": torch.zeros(1, 64, 64, 3)}, ["m"], {}, "bgr", "m", landmark_example(), lambda _: "")
    assert export(spec, tmp_path / "fpn.onnx").parity < 1e-4


def test_occluder_init_from_other_network_is_refused(run: Path, tiny_occluder, tmp_path: Path) -> None:
    other = tiny_occluder(
        tmp_path / "run", "model.encoder=resnet18", f"model.init_from={run / 'checkpoints/last.ckpt'}"
    )
    with pytest.raises(UserError, match=r"model\.init_from=.*choose the same"):
        train(other)


@pytest.mark.slow
def test_package_writes_checkpoint_and_graph_of_the_same_weights(run: Path, tmp_path: Path) -> None:
    checkpoint, graph = package(run, tmp_path)
    module, original = load_module(checkpoint), load_module(run / "checkpoints/last.ckpt")
    assert checkpoint.stat().st_size < 0.6 * (run / "checkpoints/last.ckpt").stat().st_size
    for name, tensor in module.state_dict().items():
        assert torch.allclose(tensor, original.state_dict()[name], rtol=1e-3, atol=1e-6)
    assert Occluder(graph).takes_landmarks
    with pytest.raises(UserError, match="holds no occluder"):
        package(tmp_path / "nowhere", tmp_path)


def test_occluder_starts_from_the_packaged_one(tmp_path: Path) -> None:
    given = ["experiment=occluder", "data.source=x.mp4", "data.name=stage", "data.consent=self"]
    config = load_config("train", TrainConfig, given, run=tmp_path / "run").model
    module = config.build()
    packaged = load_module(assets.fetch("occluder_general.ckpt"))
    assert not module.network.planes.canonical.any()
    module.start_from(packaged)
    assert torch.equal(module.network.planes.canonical, packaged.network.planes.canonical)  # type: ignore[union-attr]
