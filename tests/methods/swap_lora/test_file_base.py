"""Bases that are only a file: trained on a scene, written back, used with what was learnt."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from skimage.data import astronaut

from facesmith.cli.composition import load_config
from facesmith.config.schema import TrainConfig
from facesmith.models.adapters.lora import base_hash
from facesmith.models.adapters.spec import load_adapters
from facesmith.models.onnx.session import load_swapper

from ...foreign_swappers import write_foreign

pytestmark = pytest.mark.slow
SHORT = [
    "data.consent=public_domain",
    "data.identity=man",
    "data.source=asset:carphone_pristine.mp4",
    "data.max_frames=16",
    "data.pseudo_truth.frames=8",
    "data.pseudo_truth.variants=4",
    "data.progress=false",
    "data.validation_faces=2",
    "callbacks.progress.refresh_rate=0",
    "model.rank=4",
    "trainer.max_epochs=1",
    "trainer.check_val_every_n_epoch=1",
]


def composed(run: Path, *overrides: str) -> TrainConfig:
    given = ["experiment=swap_lora", f"paths.face_sets={run / 'face_sets'}", f"paths.profiles={run}", *overrides]
    return load_config("train", TrainConfig, given, run=run)


@pytest.mark.parametrize("name", ["blendswap", "hyperswap"])
def test_swap_lora_onnx_base_learns_a_scene(fit, scene, tmp_path, name):
    """Blendswap takes a photo, on another template; this hyperswap has its identity baked in."""
    path = write_foreign(tmp_path, name)
    if name == "hyperswap":
        _bake(path)
    before = path.read_bytes()
    run = tmp_path / "run"
    trainer = fit(composed(run, f"model.base={path}", f"data.target={scene}", *SHORT), run)
    assert path.read_bytes() == before
    assert base_hash(trainer.lightning_module.generator) == trainer.lightning_module.base_hash
    assert np.isfinite(trainer.callback_metrics["val/judge_distance"])
    trained = load_adapters(run / "adapter", None, 1.0)
    (card,) = trained.cards
    assert (card.base.kind, card.base.generator, card.identity, card.consent.kind) == (
        "onnx",
        name,
        "man",
        "public_domain",
    )
    (merged,) = (run / "exports").rglob("*.onnx")
    assert merged.name == path.name
    changed = {
        weight.name
        for weight, other in zip(onnx.load(path).graph.initializer, onnx.load(merged).graph.initializer, strict=True)
        if weight != other
    }
    assert changed
    crops = astronaut()[None, :256, 100:356]
    source = np.full((3, 112, 112), 0.5, np.float32) if name == "blendswap" else None
    laid, alone, whole = (
        load_swapper(given, adapters=adapters)(crops, source)[0].astype(int)
        for given, adapters in ((path, trained), (path, None), (merged, None))
    )
    assert np.array_equal(laid, whole)
    assert np.abs(laid - alone).max() > 0


def _bake(path: Path) -> None:
    """Make the source a constant of the file."""
    model = onnx.load(path)
    source = torch.nn.functional.normalize(torch.ones(1, 512)).numpy()
    model.graph.initializer.append(onnx.numpy_helper.from_array(source, "source"))
    kept = [value for value in model.graph.input if value.name != "source"]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    onnx.save(model, path)
