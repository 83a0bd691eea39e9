"""Small graphs of each contract whose output tells what they were fed."""

import numpy as np
import onnx
import pytest

from facesmith.errors import UserError
from facesmith.models.onnx.info import FOREIGN
from facesmith.models.onnx.session import load_swapper

RANDOM = np.random.default_rng(0)
SOURCE = RANDOM.normal(size=512).astype(np.float32)
SOURCE /= np.linalg.norm(SOURCE)
EMAP = (RANDOM.normal(size=(512, 512)) / 20).astype(np.float32)
RAW = 20.0
HALF, NONE, IMAGENET = (0.5, 0.5), (0.0, 1.0), ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
ROWS = {
    ("hyperswap", 256): HALF,
    ("inswapper", 128): NONE,
    ("ghost", 256): HALF,
    ("hififace", 256): HALF,
    ("simswap", 256): IMAGENET,
    ("simswap", 512): NONE,
    ("blendswap", 256): NONE,
    ("uniface", 256): HALF,
}


@pytest.fixture
def swapper(graph_file):
    """Write a swapper of a row: output = target * keep + the first three numbers of source, or its mean colour."""

    def write(name, size, keep=1.0, side=None, uses_source=True, source=512, emap=True):
        photo = FOREIGN[name][0].photo
        inputs = {"target": [1, 3, size, size]}
        weights = {"keep": np.float32(keep), "emap": EMAP} if emap else {"emap": EMAP[:2], "keep": np.float32(keep)}
        nodes = [("Mul", ["target", "keep"], ["kept"], {})]
        if not uses_source:
            nodes.append(("Identity", ["kept"], ["output"], {}))
        elif photo:
            inputs["source"] = [1, 3, side or photo[1], side or photo[1]]
            nodes += [
                ("ReduceMean", ["source"], ["colour"], {"axes": [2, 3], "keepdims": 1}),
                ("Add", ["kept", "colour"], ["output"], {}),
            ]
        else:
            inputs["source"] = [1, source]
            nodes += [
                ("Slice", ["source", "start", "end", "axis"], ["first"], {}),
                ("Reshape", ["first", "shape"], ["colour"], {}),
                ("Add", ["kept", "colour"], ["output"], {}),
            ]
            more = {"start": np.array([0]), "end": np.array([3]), "axis": np.array([1])}
            weights = {**more, "shape": np.array([1, 3, 1, 1]), **weights}
        return graph_file(f"{name}_{size}.onnx", nodes, inputs, {"output": [1, 3, size, size]}, weights)

    return write


@pytest.fixture
def crossface(graph_file):
    """Write a converter: twice its input, and a half."""

    def write(size=512):
        nodes = [("Mul", ["input", "two"], ["double"], {}), ("Add", ["double", "half"], ["output"], {})]
        weights = {"two": np.float32(2), "half": np.float32(0.5)}
        return graph_file(f"crossface_{size}.onnx", nodes, {"input": [1, size]}, {"output": [1, size]}, weights)

    return write


def photo_of(name: str) -> np.ndarray:
    side = FOREIGN[name][0].photo[1]
    return np.broadcast_to(np.array([0.1, 0.2, 0.3], np.float32)[:, None, None], (3, side, side))


@pytest.mark.parametrize(("name", "size"), ROWS)
def test_foreign_swapper_kind_is_fed_by_its_contract(swapper, crossface, name, size):
    kind = FOREIGN[name][0]
    converter = crossface() if "converter" in kind.source_encoding else None
    encoded = {
        "embedding": SOURCE,
        "emap": SOURCE @ EMAP,
        "converter": 2 * RAW * SOURCE + 0.5,
        "unit_converter": (2 * RAW * SOURCE + 0.5) / np.linalg.norm(2 * RAW * SOURCE + 0.5),
        "photo": np.array([0.1, 0.2, 0.3]),
    }[kind.source_encoding][:3]
    model = load_swapper(swapper(name, size), converter=converter, raw_length=RAW)
    assert (model.info.size, model.info.template) == (size, kind.template)
    assert model.info.photo == kind.photo
    if kind.photo is None:
        assert (model.info.embedder, model.info.embedding_size) == ("arcface_w600k_r50", 512)
    crops = RANDOM.integers(0, 256, (2, size, size, 3), np.uint8)
    source = photo_of(name) if kind.photo else SOURCE
    picture, mask = model(crops, source)
    mean, std = (np.broadcast_to(np.asarray(value), 3) for value in ROWS[name, size])
    output = (crops / 255 - mean) / std + encoded
    wanted = np.clip((output * std + mean if name in ("hyperswap", "ghost", "hififace", "uniface") else output), 0, 1)
    assert np.abs(picture - wanted * 255).max() < 0.52
    assert mask.shape == crops.shape[:3]
    assert mask.min() == 1


def test_foreign_swapper_mask_output_is_used(graph_file):
    shape = [1, 3, 256, 256]
    nodes = [
        ("Identity", ["target"], ["output"], {}),
        ("ReduceMean", ["target"], ["mask"], {"axes": [1], "keepdims": 1}),
    ]
    path = graph_file("hyperswap.onnx", nodes, {"target": shape}, {"output": shape, "mask": [1, 1, 256, 256]})
    model = load_swapper(path)
    assert model.info.identity_baked_in
    assert model(np.full((1, 256, 256, 3), 204, np.uint8))[1].mean() == pytest.approx(0.6, abs=1e-3)


def test_foreign_swapper_converts_embedding_once(swapper, crossface, monkeypatch):
    from facesmith.models.onnx.graph import OnnxGraph

    model = load_swapper(swapper("ghost", 256), converter=crossface(), raw_length=1.0)
    runs = []
    original = OnnxGraph.run
    monkeypatch.setattr(OnnxGraph, "run", lambda self, *a, **k: runs.append(self.path.stem) or original(self, *a, **k))
    crop = np.zeros((1, 256, 256, 3), np.uint8)
    for _ in range(3):
        model(crop, SOURCE)
    assert runs.count("crossface_512") == 1
    assert runs.count("ghost_256") == 3


def error_message(*arguments, **settings) -> str:
    with pytest.raises(UserError) as error:
        load_swapper(*arguments, **settings)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_foreign_swapper_wrong_contract_raises(swapper, crossface, graph_file, tmp_path):
    good = swapper("inswapper", 128)
    assert "input target is tensor(float) 1x3x128x128, not tensor(float) Nx3x256x256" in error_message(
        good, model_type="hyperswap"
    )
    bare = swapper("inswapper", 128, emap=False)
    assert "its last initializer is one number, not the 512x512 emap (inswapper)" in error_message(bare)
    assert "input source is tensor(float) 1x128, not tensor(float) Nx512" in error_message(
        swapper("hyperswap", 256, source=128)
    )
    assert "needs one; give task.converter=crossface_ghost.onnx" in error_message(swapper("ghost", 256))
    assert "takes no input Nx512" in error_message(swapper("ghost", 256), converter=crossface(256))
    assert "omit task.converter" in error_message(swapper("hyperswap", 256), converter=crossface())
    assert "its inputs are target, not source, target" in error_message(swapper("uniface", 256, uses_source=False))
    assert "input source is tensor(float) 1x3x64x64" in error_message(swapper("uniface", 256, side=64))
    other = graph_file("hyperswap.onnx", [("Identity", ["x"], ["y"], {})], {"x": [1]}, {"y": [1]})
    assert "its inputs are x, not source, target" in error_message(other)


def test_load_swapper_wrong_model_type_raises(swapper_file):
    words = error_message(swapper_file, model_type="inswapper")
    assert words.startswith("task.model_type=inswapper: ")
    assert "states that it is facesmith; omit task.model_type" in words


def test_load_swapper_unknown_name_needs_model_type(swapper):
    path = swapper("hyperswap", 256)
    unnamed = path.rename(path.with_name("mine.onnx"))
    assert "give task.model_type=facesmith, dfm, hyperswap" in error_message(unnamed)
    assert load_swapper(unnamed, model_type="hyperswap").info.size == 256


def test_swapper_output_of_wrong_size_raises(graph_file):
    """A file that leaves its sizes free shows them only when it runs."""
    free = ["N", 3, "H", "W"]
    nodes = [("MaxPool", ["target"], ["output"], {"kernel_shape": [2, 2], "strides": [2, 2]})]
    model = load_swapper(graph_file("hyperswap.onnx", nodes, {"target": free}, {"output": ["N", 3, "h", "w"]}))
    with pytest.raises(UserError, match="an output is 1x3x128x128, its target 1x3x256x256"):
        model(np.zeros((1, 256, 256, 3), np.uint8))


def test_inswapper_emap_is_last_initializer(swapper):
    path = swapper("inswapper", 128)
    assert onnx.load(path).graph.initializer[-1].name == "emap"
