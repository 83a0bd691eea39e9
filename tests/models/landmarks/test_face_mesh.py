"""The networks inside `face_landmarker.task`, as torch modules, against the runtime they were made for."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from facesmith.models.landmarks.face_mesh import BLENDSHAPE_LANDMARKS, Blendshapes, FaceMesh
from facesmith.models.landmarks.tflite import TfliteModule, UnsupportedGraphError


@pytest.fixture(scope="module")
def bundle(asset: Callable[[str], Path]) -> zipfile.ZipFile:
    return zipfile.ZipFile(asset("face_landmarker.task"))


@pytest.fixture(scope="module")
def crops(carphone_frames: list[np.ndarray], astronaut: np.ndarray) -> np.ndarray:
    """Six face crops (N,256,256,3) RGB 0..1: a man at four moments, a woman, and nobody."""
    man = [cv2.resize(frame[20:110, 30:120], (256, 256)) for frame in carphone_frames[::30]]
    woman = cv2.resize(astronaut[30:230, 130:330], (256, 256))
    return np.stack([*man, woman, np.full_like(woman, 90)]).astype(np.float32) / 255


def interpreted(model: bytes, *inputs: np.ndarray) -> list[np.ndarray]:
    """Run the graph in TensorFlow Lite's own runtime, one sample after the other."""
    interpreter_module = pytest.importorskip("ai_edge_litert.interpreter")
    interpreter: Any = interpreter_module.Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    outputs = []
    for sample in zip(*inputs, strict=True):
        for detail, value in zip(interpreter.get_input_details(), sample, strict=True):
            interpreter.set_tensor(detail["index"], value[None])
        interpreter.invoke()
        outputs.append([interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()])
    return [np.concatenate([one.reshape(1, -1) for one in column]) for column in zip(*outputs, strict=True)]


def test_face_mesh_on_real_crops_equals_the_original_runtime(bundle: zipfile.ZipFile, crops: np.ndarray) -> None:
    points, presence, *_ = interpreted(bundle.read("face_landmarks_detector.tflite"), crops)
    with torch.no_grad():
        found, surely = FaceMesh()(torch.from_numpy(crops).permute(0, 3, 1, 2))
    assert found.shape == (len(crops), 478, 3)
    assert np.abs(found.numpy().reshape(len(crops), -1) - points).max() <= 1e-3 * 256
    assert surely.numpy() == pytest.approx(1 / (1 + np.exp(-presence[:, 0])), abs=1e-4)
    assert surely[:5].min() > 0.9 > 0.5 > surely[5]


def test_blendshapes_of_real_landmarks_equal_the_original_runtime(bundle: zipfile.ZipFile, crops: np.ndarray) -> None:
    with torch.no_grad():
        landmarks, _ = FaceMesh()(torch.from_numpy(crops).permute(0, 3, 1, 2))
        shapes = Blendshapes()(landmarks)
    chosen = landmarks[:, list(BLENDSHAPE_LANDMARKS), :2].contiguous().numpy()
    (expected,) = interpreted(bundle.read("face_blendshapes.tflite"), chosen)
    assert shapes.shape == (len(crops), 52)
    assert shapes.numpy() == pytest.approx(expected, abs=1e-4)


def test_face_mesh_is_differentiable_and_leaves_no_weights_in_checkpoints() -> None:
    mesh = FaceMesh()
    faces = torch.rand(2, 3, 128, 128, requires_grad=True)
    landmarks, _ = mesh(faces)
    Blendshapes()(landmarks).sum().backward()
    assert faces.grad is not None
    assert faces.grad.abs().sum() > 0
    assert not mesh.state_dict()
    assert not list(mesh.parameters())


@pytest.mark.slow
def test_face_mesh_exported_to_onnx_equals_torch(crops: np.ndarray) -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mesh, self.blendshapes = FaceMesh(), Blendshapes()

        def forward(self, faces: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            landmarks, _ = self.mesh(faces)
            return landmarks, self.blendshapes(landmarks)

    faces = torch.from_numpy(crops).permute(0, 3, 1, 2).contiguous()
    module = Both().eval()
    program = torch.onnx.export(
        module, (faces[:2],), dynamo=True, input_names=["faces"], dynamic_shapes=({0: torch.export.Dim("N")},)
    )
    model = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    landmarks, shapes = session.run(None, {"faces": faces.numpy()})
    with torch.no_grad():
        expected, expressions = module(faces)
    assert np.abs(landmarks - expected.numpy()).max() < 0.02
    assert shapes == pytest.approx(expressions.numpy(), abs=1e-3)


def test_tflite_module_of_a_file_that_is_none_is_refused() -> None:
    with pytest.raises(UnsupportedGraphError, match="no TensorFlow Lite file"):
        TfliteModule(b"not a graph at all, certainly")
