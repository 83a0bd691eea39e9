"""Real assets for real tests."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from facesmith.faces.face_set.face_set import FaceSet
from facesmith.media.video import open_video
from facesmith.training.run.log import ConsoleHandler, LogFileHandler

from .small_media import extract_small

# one thread for each of the workers that share the cores; read when torch is first imported
os.environ.setdefault("OMP_NUM_THREADS", "1")


# the files that take longest, by their folder and name; others follow in their order
LONGEST = (
    "resuming/test_exactness.py",
    "swapper/test_module.py",
    "annotate/test_page.py",
    "occluder/test_module.py",
    "evaluate/test_evaluate.py",
    "face_set/test_extraction.py",
    "config/test_configs.py",
    "swap_lora/test_module.py",
    "cli/test_hostile_values.py",
    "sweep/test_sweep.py",
    "training/test_processes.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the files that take longest first: short ones at the end let both workers stop together."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(f"{item.path.parent.name}/{item.path.name}", len(places)))


@pytest.fixture(scope="session", autouse=True)
def _own_configuration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the signing key and the durations of a test out of the user's own; subprocesses inherit it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def _own_log_files() -> Iterator[None]:
    """Take away the handlers of a command that ran in this process: their files end with the test's folder."""
    yield
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one, LogFileHandler | ConsoleHandler)]:
        root.removeHandler(handler)
        handler.close()


@pytest.fixture(scope="session")
def asset() -> Callable[[str], Path]:
    """Return the verified local path of a named asset."""
    from facesmith.assets import fetch

    return fetch


@pytest.fixture
def swapper_file(tmp_path: Path) -> Path:
    """Write a small real swapper, 32 px, made of plain ONNX nodes: a magenta disc over the face."""
    import onnx
    from onnx import helper, numpy_helper

    from facesmith.models.onnx.info import SwapperInfo

    size = 32
    away = np.hypot(*np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j])
    disc = np.clip((0.6 - away) * 8, 0, 1).astype(np.float32)[None, None]
    colour = np.array([1, -1, 1], np.float32).reshape(1, 3, 1, 1)
    graph = helper.make_graph(
        [
            helper.make_node("Sub", ["one", "disc"], ["rest"]),
            helper.make_node("Mul", ["target", "rest"], ["kept"]),
            helper.make_node("Mul", ["colour", "disc"], ["laid"]),
            helper.make_node("Add", ["kept", "laid"], ["output"]),
            helper.make_node("ReduceMean", ["target"], ["grey"], axes=[1], keepdims=1),
            helper.make_node("Mul", ["grey", "zero"], ["nothing"]),
            helper.make_node("Add", ["nothing", "disc"], ["mask"]),
        ],
        "disc",
        [helper.make_tensor_value_info("target", onnx.TensorProto.FLOAT, ["N", 3, size, size])],
        [
            helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, ["N", 3, size, size]),
            helper.make_tensor_value_info("mask", onnx.TensorProto.FLOAT, ["N", 1, size, size]),
        ],
        [
            numpy_helper.from_array(np.float32(1), "one"),
            numpy_helper.from_array(np.float32(0), "zero"),
            numpy_helper.from_array(disc, "disc"),
            numpy_helper.from_array(colour, "colour"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    contract = SwapperInfo("arcface_128", size, "sface", None, "disc", "synthetic", "", "", 0)
    helper.set_model_props(model, contract.metadata())
    onnx.checker.check_model(model, full_check=True)
    path = tmp_path / "disc.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture
def keyless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have no W&B key, forget what a logger sets in the environment, and leave no run open."""
    import wandb

    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_MODE", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, os.environ.get(name, ""))  # so that it is undone
        monkeypatch.delenv(name)
    yield
    wandb.finish()


@pytest.fixture
def graph_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a real ONNX file of a few nodes: nodes are (operator, inputs, outputs, attributes), weights arrays."""
    import onnx
    from onnx import helper, numpy_helper

    def write(name, nodes, inputs, outputs, weights=None, metadata=None) -> Path:
        def values(shapes):
            return [helper.make_tensor_value_info(key, onnx.TensorProto.FLOAT, shape) for key, shape in shapes.items()]

        arrays = {key: np.asarray(value) for key, value in (weights or {}).items()}
        graph = helper.make_graph(
            [helper.make_node(operator, given, made, **more) for operator, given, made, more in nodes],
            "graph",
            values(inputs),
            values(outputs),
            [
                numpy_helper.from_array(value.astype(np.int64 if value.dtype.kind == "i" else np.float32), key)
                for key, value in arrays.items()
            ],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(model, metadata or {})
        onnx.checker.check_model(model, full_check=True)
        path = tmp_path / name
        onnx.save(model, path)
        return path

    return write


@pytest.fixture(scope="session")
def carphone_frames(asset: Callable[[str], Path]) -> list[np.ndarray]:
    """All 120 frames (144,176,3) RGB of the man in the car."""
    with open_video(asset("carphone_pristine.mp4")) as reader:
        return [frame for _, frame in reader.frames(range(120))]


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """A public-domain portrait (512,512,3) RGB."""
    return np.asarray(skimage.data.astronaut())


@pytest.fixture(scope="session")
def carphone_set(asset: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> FaceSet:
    """The face set of every fourth frame of carphone."""
    root = tmp_path_factory.mktemp("carphone")
    return extract_small(asset("carphone_pristine.mp4"), root)


@pytest.fixture(scope="session")
def two_people_set(two_people: Path, tmp_path_factory: pytest.TempPathFactory) -> FaceSet:
    """The face set of the man in that folder."""
    return extract_small(two_people, tmp_path_factory.mktemp("two_people_set"))


@pytest.fixture(scope="session")
def two_people(
    carphone_frames: list[np.ndarray],
    astronaut: np.ndarray,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Nested folder: six pictures of a man, two of a woman, one of both, one of nobody, a text as .jpg."""
    folder = tmp_path_factory.mktemp("two_people")
    (folder / "more").mkdir()
    for i in range(6):
        Image.fromarray(carphone_frames[20 * i]).save(folder / f"man{i}.png")
    Image.fromarray(astronaut).save(folder / "woman0.jpg")
    Image.fromarray(astronaut[:300, 100:400]).save(folder / "more" / "woman1.jpg")
    man = np.asarray(Image.fromarray(carphone_frames[50]).resize((352, 288)))
    woman = np.asarray(Image.fromarray(astronaut).resize((288, 288)))
    Image.fromarray(np.concatenate([man, woman], axis=1)).save(folder / "more" / "both.png")
    Image.fromarray(np.full((90, 120, 3), 80, np.uint8)).save(folder / "nobody.png")
    (folder / "text.jpg").write_text("not a picture")
    return folder
