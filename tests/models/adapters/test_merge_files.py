"""Adapters in use: swapped with, exported with, named in marks."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from skimage.data import astronaut

from facesmith.cli.composition import load_config
from facesmith.cli.export import export
from facesmith.config.adapters import LoraSettings
from facesmith.config.schema import InferConfig
from facesmith.errors import UserError
from facesmith.media.images import read_image, write_image
from facesmith.media.verification import verify_provenance
from facesmith.models.adapters.card import BaseReference
from facesmith.models.adapters.lora import add_lora, base_hash, lora_state
from facesmith.models.adapters.spec import load_adapters
from facesmith.models.adapters.store import save_adapter
from facesmith.models.checkpoint import load_module
from facesmith.models.onnx.info import SwapperInfo
from facesmith.models.onnx.session import load_swapper
from facesmith.models.onnx.swapper_file import read_info
from facesmith.models.onnx.to_torch.generator import load_generator

from ...cli.test_export import CROPS, checkpoint, configured
from ...foreign_swappers import write_foreign
from .test_store import card


@pytest.fixture
def own_file(graph_file):
    """Write a swapper of 64 px: a convolution of the target under a disc."""
    weight = np.zeros((3, 3, 3, 3), np.float32)
    weight[[0, 1, 2], [2, 1, 0], 1, 1] = 0.8
    away = np.hypot(*np.mgrid[-1:1:64j, -1:1:64j])
    disc = np.clip((0.6 - away) * 8, 0, 1).astype(np.float32)[None, None]
    nodes = [
        ("Conv", ["target", "paint.weight"], ["painted"], {"pads": [1] * 4}),
        ("Clip", ["painted", "low", "high"], ["face"], {}),
        ("Sub", ["face", "target"], ["change"], {}),
        ("Mul", ["change", "disc"], ["seen"], {}),
        ("Add", ["target", "seen"], ["output"], {}),
        ("ReduceMean", ["target"], ["grey"], {"axes": [1], "keepdims": 1}),
        ("Mul", ["grey", "zero"], ["nothing"], {}),
        ("Add", ["nothing", "disc"], ["mask"], {}),
    ]
    weights = {
        "paint.weight": weight,
        "disc": disc,
        "low": np.float32(-1),
        "high": np.float32(1),
        "zero": np.float32(0),
    }
    contract = SwapperInfo("arcface_128", 64, "sface", None, "ada", "synthetic", "", "face5", 1)
    shapes = {"target": ["N", 3, 64, 64]}, {"output": ["N", 3, 64, 64], "mask": ["N", 1, 64, 64]}
    return graph_file("ada.onnx", nodes, *shapes, weights, contract.metadata())


def adapter_for(generator, folder, path, kind="onnx", change=0.3):
    torch.manual_seed(3)
    hashed = base_hash(generator)
    settings = LoraSettings(rank=4, alpha=None, dropout=0.0, rslora=False, dora=False, targets=None)
    layers = add_lora(generator, settings)
    with torch.no_grad():
        for name, value in generator.named_parameters():
            if "lora_B" in name:
                value.normal_(0, change)
    base = BaseReference(str(path), hashed, kind, "it", "sface")
    save_adapter(folder, lora_state(generator), card(base=base, rank=4, alpha=4.0, targets=tuple(layers)))
    return folder


def infer(*overrides):
    config = load_config("infer", InferConfig, ["task=swap", *overrides])
    return config.task.build(analyzer=config.analyzer.build, progress=False).run()


def test_swap_task_adapter_changes_picture_and_mark(own_file, tmp_path, asset):
    folder = adapter_for(load_generator(read_info(own_file)), tmp_path / "adapter", own_file)
    picture = tmp_path / "scene.png"
    write_image(picture, astronaut(), mark=None)
    made = {}
    for name, more in {"base": [], "half": ["task.adapter_scale=0.5"], "whole": []}.items():
        given = [] if name == "base" else [f"task.adapter={folder}"]
        (path,) = infer(f"task.model={own_file}", f"source={picture}", f"output={tmp_path / name}.png", *given, *more)
        made[name] = read_image(path).astype(int)
        assert verify_provenance(path).mark.adapter == (
            ""
            if name == "base"
            else f"ada/stage {load_adapters(folder, None, 1.0).cards[0].weights[:12]} x "
            + ("0.5" if name == "half" else "1")
        )
    apart = {name: np.abs(made[name] - made["base"]).mean() for name in ("half", "whole")}
    assert 0.02 < apart["half"] < apart["whole"]


def test_write_merged_file_equals_base_with_adapter(own_file, tmp_path, capsys):
    folder = adapter_for(load_generator(read_info(own_file)), tmp_path / "adapter", own_file)
    report = export(configured(own_file, tmp_path / "exports", f"adapter={folder}", "adapter_scale=0.8"))
    assert report.path == tmp_path / "exports" / "ada_stage.onnx"
    assert report.parity <= 1e-5
    adapters = load_adapters(folder, None, 0.8)
    crops = CROPS[:, 32:96, 32:96]
    merged, alone = load_swapper(report.path), load_swapper(own_file)
    laid = load_swapper(own_file, adapters=adapters)
    assert np.array_equal(merged(crops)[0], laid(crops)[0])
    assert np.abs(merged(crops)[0].astype(int) - alone(crops)[0]).max() > 10
    said = onnxruntime.InferenceSession(report.path).get_modelmeta().custom_metadata_map
    assert said["adapter"] == adapters.name
    assert said["adapter_base"] == adapters.cards[0].base.sha256
    assert f"Merged into it: the adapter {adapters.name}" in report.card_path.read_text()
    assert len(report.hash_path.read_text()) == 8
    assert "parity with torch" in capsys.readouterr().out


def test_write_merged_foreign_file_keeps_name_and_contract(tmp_path):
    path = write_foreign(tmp_path, "hyperswap")
    folder = adapter_for(load_generator(read_info(path)), tmp_path / "adapter", path)
    report = export(configured(path, tmp_path / "exports", f"adapter={folder}"))
    assert report.path == tmp_path / "exports" / "stage" / "hyperswap.onnx"
    assert report.parity <= 1e-5
    assert "The face swapper `hyperswap.onnx` of another project" in report.card_path.read_text()
    before, after = (onnx.load(each).graph for each in (path, report.path))
    assert [value.name for value in before.input] == [value.name for value in after.input]
    assert load_swapper(report.path).info.embedding_size == 512


def test_load_swapper_checkpoint_with_adapter(tmp_path):
    path = checkpoint(tmp_path / "last.ckpt", "mesh_warp")
    folder = adapter_for(load_module(path).generator, tmp_path / "adapter", path, "checkpoint", 0.5)
    laid = load_swapper(path, adapters=load_adapters(folder, None, 1.0))
    assert np.abs(load_swapper(path)(CROPS)[0].astype(int) - laid(CROPS)[0]).max() > 10
    with pytest.raises(UserError, match="was made for"):
        load_swapper(checkpoint(tmp_path / "other.ckpt", "aad_fast"), adapters=load_adapters(folder, None, 1.0))


@pytest.mark.slow
@pytest.mark.parametrize("client", ["facesmith", "dfm", "hyperswap"])
def test_export_checkpoint_with_adapter_equals_both(tmp_path, client):
    path = checkpoint(tmp_path / "last.ckpt", "mesh_warp")
    folder = adapter_for(load_module(path).generator, tmp_path / "adapter", path, "checkpoint", 0.5)
    report = export(configured(path, tmp_path / "exports", f"adapter={folder}", f"to={client}"))
    assert (report.path.parent.name if client == "hyperswap" else report.path.stem) == "ada_stage"
    assert report.parity <= 1e-4
    if client == "facesmith":
        laid = load_swapper(path, adapters=load_adapters(folder, None, 1.0))
        assert np.abs(load_swapper(report.path)(CROPS)[0].astype(int) - laid(CROPS)[0]).max() <= 1


def error_message(work) -> str:
    with pytest.raises(UserError) as error:
        work()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_adapter_mistakes_are_one_line(own_file, swapper_file, tmp_path):
    folder = adapter_for(load_generator(read_info(own_file)), tmp_path / "adapter", own_file)
    adapters = load_adapters(folder, None, 1.0)
    assert "was made for" in error_message(lambda: load_swapper(swapper_file, adapters=adapters))
    assert "is an exported file already" in error_message(lambda: export(configured(own_file, tmp_path)))
    assert "size: a file keeps its own" in error_message(
        lambda: export(configured(own_file, tmp_path, f"adapter={folder}", "size=128"))
    )
    assert "to=dfm: " in error_message(lambda: export(configured(own_file, tmp_path, f"adapter={folder}", "to=dfm")))
    assert "adapter_weights: 2 for 1 adapters" in error_message(
        lambda: configured(own_file, tmp_path, f"adapter={folder}", "adapter_weights=[1,2]")
    )
    assert "adapter_scale" in error_message(
        lambda: configured(own_file, tmp_path, f"adapter={folder}", "adapter_scale=3")
    )
