"""Landmarks as an input of an exported swapper that need not be fed."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from facesmith.errors import UserError
from facesmith.faces.geometry import topology
from facesmith.models.onnx.clients import spec_for
from facesmith.models.onnx.export import export
from facesmith.models.onnx.export_spec import ExportReport, ExportSpec
from facesmith.models.onnx.info import LANDMARKS, SwapperInfo
from facesmith.models.onnx.landmark_input import landmark_example
from facesmith.models.onnx.session import load_swapper
from facesmith.models.onnx.to_torch.module import OnnxModule
from facesmith.models.onnx.to_torch.reading import read
from facesmith.models.swapper.generator import ExportWrapper, LandmarkGenerator, SwapOutput

SIZE = 64
NOSE = 1


class Dot(LandmarkGenerator):
    """A red disc at the nose tip, which a small network finds: the middle of what is bright."""

    template, size, embedding_size = "arcface_128", SIZE, None
    places: Tensor

    def __init__(self) -> None:
        super().__init__()
        at = torch.arange(SIZE) + 0.5
        self.register_buffer("places", torch.stack([at[None].expand(SIZE, SIZE), at[:, None].expand(SIZE, SIZE)]))
        self.look = nn.Conv2d(3, 1, 3, padding=1, bias=False)
        self.colour = nn.Conv2d(3, 3, 1)
        nn.init.constant_(self.look.weight, 1 / 27)

    def find_landmarks(self, target: Tensor) -> tuple[Tensor, Tensor]:
        light = self.look((target + 1) / 2)[:, 0].clamp_min(0) + 1e-6
        middle = (self.places * light[:, None]).sum((2, 3)) / light.sum((1, 2))[:, None]
        points = torch.cat([middle, torch.zeros_like(middle[:, :1])], 1)
        return points[:, None].expand(-1, topology.LANDMARKS, -1), light.mean((1, 2)).mul(1e3).clamp(0, 1)

    def forward(
        self,
        target: Tensor,
        source: Tensor | None = None,
        landmarks: Tensor | None = None,
        presence: Tensor | None = None,
    ) -> SwapOutput:
        if landmarks is None:
            landmarks, presence = self.find_landmarks(target)
        away = (self.places[None] - landmarks[:, NOSE, :2, None, None]).square().sum(1, keepdim=True).sqrt()
        mask = ((10 - away) / 2).clamp(0, 1)
        if presence is not None:
            mask = mask * presence[:, None, None, None]
        face = self.colour(target) * 0 + torch.tensor([1.0, -1.0, -1.0])[None, :, None, None]
        return SwapOutput(face, mask, {})


INFO = SwapperInfo("arcface_128", SIZE, identity="ada", consent="written", takes_landmarks=True)
SPEC = ExportSpec(
    ExportWrapper(Dot()).eval(),
    {"target": torch.zeros(1, 3, SIZE, SIZE)},
    ["output", "mask"],
    INFO.metadata(),
    optional=landmark_example(),
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    return export(SPEC, tmp_path_factory.mktemp("dot") / "dot.onnx")


def bright_at(*places: tuple[int, int]) -> np.ndarray:
    """Return crops (N,3,S,S) that are dark but for a square around (x, y)."""
    crops = np.full((len(places), 3, SIZE, SIZE), -1, np.float32)
    for crop, (x, y) in zip(crops, places, strict=True):
        crop[:, y - 3 : y + 4, x - 3 : x + 4] = 1
    return crops


def nose_at(*places: tuple[float, float]) -> np.ndarray:
    points = np.zeros((len(places), topology.LANDMARKS, 3), np.float32)
    points[:, NOSE, :2] = places
    return points


def middles(masks: np.ndarray) -> np.ndarray:
    return np.stack([np.argwhere(mask[0] > 0.5).mean(0)[::-1] for mask in masks])


def test_landmark_input_is_listed_for_nobody(report: ExportReport) -> None:
    session = onnxruntime.InferenceSession(str(report.path))
    assert [each.name for each in session.get_inputs()] == ["target"]
    (found,) = session.get_overridable_initializers()
    assert (found.name, found.shape[1:]) == (LANDMARKS, [topology.LANDMARKS, 3])


@pytest.mark.parametrize("count", [1, 3])
def test_landmark_input_unfed_is_found_and_fed_is_used(report: ExportReport, count: int) -> None:
    session = onnxruntime.InferenceSession(str(report.path))
    places = [(20, 30), (40, 40), (30, 24)][:count]
    target = bright_at(*places)
    _, found = session.run(None, {"target": target})
    assert middles(found) == pytest.approx(np.array(places), abs=1)
    elsewhere = [(y, x) for x, y in places]
    _, fed = session.run(None, {"target": target, LANDMARKS: nose_at(*elsewhere)})
    assert middles(fed) == pytest.approx(np.array(elsewhere), abs=1)
    with torch.no_grad():
        _, expected = SPEC.module(torch.from_numpy(target), landmarks=torch.from_numpy(nose_at(*elsewhere)))
    assert fed == pytest.approx(expected.numpy(), abs=1e-4)


def test_landmark_input_fed_runs_no_network(report: ExportReport, tmp_path: Path) -> None:
    @contextmanager
    def profiled() -> Iterator[tuple[onnxruntime.InferenceSession, set[str]]]:
        options = onnxruntime.SessionOptions()
        options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "profile")
        session = onnxruntime.InferenceSession(str(report.path), options)
        names: set[str] = set()
        yield session, names
        names.update(
            event["args"].get("op_name", "") for event in json.loads(Path(session.end_profiling()).read_text())
        )

    target = bright_at((20, 30))
    with profiled() as (session, unfed):
        session.run(None, {"target": target})
    with profiled() as (session, fed):
        session.run(None, {"target": target, LANDMARKS: nose_at((20, 30))})
    assert "ReduceMean" in unfed
    assert "ReduceMean" not in fed
    assert "If" in fed


def test_landmark_input_read_into_torch_is_left_at_its_default(report: ExportReport) -> None:
    module = OnnxModule(read(onnx.load(str(report.path))), report.path)
    assert module.inputs == ("target",)
    target = bright_at((20, 30), (40, 40))
    with torch.no_grad():
        _, mask = module(torch.from_numpy(target))
    (expected,) = onnxruntime.InferenceSession(str(report.path)).run(["mask"], {"target": target})
    assert mask.numpy() == pytest.approx(expected, abs=1e-3)


def test_load_swapper_with_landmark_input_is_fed_pixels_of_crops(report: ExportReport) -> None:
    swapper = load_swapper(report.path)
    assert swapper.info.takes_landmarks
    crops = np.full((2, SIZE, SIZE, 3), 90, np.uint8)
    _, masks = swapper(crops, None, nose_at((20, 30), (40, 44)))
    assert middles(masks[:, None]) == pytest.approx(np.array([(20, 30), (40, 44)]), abs=0.3)


def test_load_swapper_without_landmark_input_refuses_them(swapper_file: Path) -> None:
    swapper = load_swapper(swapper_file)
    with pytest.raises(ValueError, match="landmarks are not taken"):
        swapper(np.zeros((1, 32, 32, 3), np.uint8), None, nose_at((1, 1)))


def test_load_swapper_whose_metadata_promise_landmarks_raises(swapper_file: Path) -> None:
    model = onnx.load(swapper_file)
    onnx.helper.set_model_props(
        model, {**{p.key: p.value for p in model.metadata_props}, "landmarks": INFO.metadata()["landmarks"]}
    )
    onnx.save(model, swapper_file)
    with pytest.raises(UserError, match="its optional inputs are none, not landmarks"):
        load_swapper(swapper_file)


@pytest.mark.parametrize("client", ["hyperswap", "dfm"])
def test_spec_for_clients_with_crops_only_has_no_landmark_input(client: str) -> None:
    spec = spec_for(client, SPEC, origin=Path("last.ckpt"), size=None, profile=None)
    assert not spec.optional
    assert not spec.metadata["landmarks"]


@pytest.mark.parametrize(("size", "kept"), [(None, True), (96, False)])
def test_spec_for_facesmith_keeps_landmark_input_of_own_crops(size: int | None, kept: bool) -> None:
    spec = spec_for("facesmith", SPEC, origin=Path("last.ckpt"), size=size, profile=None)
    assert bool(spec.optional) == bool(spec.metadata["landmarks"]) == kept
