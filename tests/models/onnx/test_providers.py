import logging

import onnxruntime
import pytest

from facesmith.models.onnx import providers
from facesmith.models.onnx.session import load_swapper


@pytest.fixture(autouse=True)
def restore_device():
    yield
    providers.use_device("auto")


def without(name):
    return pytest.mark.skipif(name in onnxruntime.get_available_providers(), reason=f"this onnxruntime has {name}")


@without("CUDAExecutionProvider")
@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_use_device_missing_provider_is_one_line(swapper_file, caplog, device):
    with caplog.at_level(logging.WARNING):
        providers.use_device(device)
        load_swapper(swapper_file)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"device={device}: this onnxruntime has no ")
    assert "run on the CPU; it comes with the package onnxruntime-gpu" in line
    assert not providers.is_accelerated()


def test_use_device_cpu_says_nothing(swapper_file, caplog):
    with caplog.at_level(logging.WARNING):
        providers.use_device("cpu")
        load_swapper(swapper_file)
    assert not caplog.records
    assert providers.find_providers() == ["CPUExecutionProvider"]


def test_create_session_provider_that_cannot_start_falls_back(swapper_file, caplog, monkeypatch):
    monkeypatch.setattr(providers, "find_providers", lambda: ["AzureExecutionProvider", "CPUExecutionProvider"])
    real = onnxruntime.InferenceSession

    def refuse(model, options, providers):
        if providers[0] != "CPUExecutionProvider":
            raise RuntimeError("driver too old\nmore words")
        return real(model, options, providers=providers)

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    with caplog.at_level(logging.WARNING):
        session = providers.create_session(str(swapper_file), onnxruntime.SessionOptions(), swapper_file)
    assert session.get_providers() == ["CPUExecutionProvider"]
    assert [record.getMessage() for record in caplog.records] == [
        f"{swapper_file}: runs on the CPU, AzureExecutionProvider cannot (driver too old)"
    ]
