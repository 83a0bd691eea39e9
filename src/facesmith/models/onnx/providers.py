"""Where ONNX files run: onnxruntime's execution providers by the name of a device."""

import logging
from pathlib import Path
from typing import Any, Final, Literal

import onnxruntime

Device = Literal["auto", "cpu", "cuda", "tensorrt", "coreml", "directml", "openvino", "rocm"]

_CPU: Final = "CPUExecutionProvider"
_PROVIDERS: Final[dict[str, tuple[str, ...]]] = {
    "cuda": ("CUDAExecutionProvider",),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider"),
    "coreml": ("CoreMLExecutionProvider",),
    "directml": ("DmlExecutionProvider",),
    "openvino": ("OpenVINOExecutionProvider",),
    "rocm": ("ROCMExecutionProvider", "MIGraphXExecutionProvider"),
}
"""Providers of a device, the one to be preferred first."""

_AUTOMATIC: Final = ("cuda", "rocm", "directml", "coreml")  # TensorRT compiles a file for minutes: only when asked for
_PACKAGES: Final = {
    "cuda": "onnxruntime-gpu",
    "tensorrt": "onnxruntime-gpu",
    "directml": "onnxruntime-directml",
    "openvino": "onnxruntime-openvino",
    "rocm": "onnxruntime-rocm",
}

log = logging.getLogger(__name__)
_device: Device = "auto"


def use_device(device: Device) -> None:
    """Choose where this process runs ONNX files from now on.

    What onnxruntime cannot use is told in one line, and files run on the CPU instead.

    Args:
        device: auto takes the fastest one that onnxruntime has; tensorrt is taken only when named.
    """
    global _device
    _device = device
    if device in _PROVIDERS and len(find_providers()) == 1:
        package = f"; it comes with the package {_PACKAGES[device]}" if device in _PACKAGES else ""
        missing = _PROVIDERS[device][0]
        log.warning("device=%s: this onnxruntime has no %s; ONNX files run on the CPU%s", device, missing, package)


def find_providers() -> list[str]:
    """Return the execution providers of the chosen device that this onnxruntime has, the CPU's last."""
    available = onnxruntime.get_available_providers()
    devices = _AUTOMATIC if _device == "auto" else (_device,)
    for device in devices:
        found = [name for name in _PROVIDERS.get(device, ()) if name in available]
        if found:
            return [*found, _CPU]
    return [_CPU]


def is_accelerated() -> bool:
    """Return whether ONNX files run on something else than the CPU."""
    return len(find_providers()) > 1


def create_session(model: str | bytes, options: onnxruntime.SessionOptions, path: Path) -> onnxruntime.InferenceSession:
    """Open a session on the chosen device, or where that fails on the CPU, which is told.

    Args:
        model: Path or serialised model.
        options: Of the session.
        path: The file, for messages.

    Raises:
        Exception: Whatever onnxruntime raises for a file that it cannot read.
    """
    wanted = find_providers()
    if wanted == [_CPU]:
        return onnxruntime.InferenceSession(model, options, providers=wanted)
    try:
        session: Any = onnxruntime.InferenceSession(model, options, providers=wanted)
    except Exception as error:  # onnxruntime's errors share no base class of their own
        session = onnxruntime.InferenceSession(model, options, providers=[_CPU])
        log.warning("%s: runs on the CPU, %s cannot (%s)", path, wanted[0], str(error).strip().splitlines()[0])
        return session
    used = session.get_providers()
    if wanted[0] not in used:
        log.warning("%s: runs on %s, onnxruntime could not start %s", path, used[0], wanted[0])
    return session
