"""Keep translated graphs between exports: translating the landmark network takes far longer than to run it.

Only graphs that hold no person's data are kept: purge does not look here.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import onnx
from google.protobuf.message import DecodeError
from torch.export import ExportedProgram

from facesmith import assets
from facesmith.errors import UserError
from facesmith.files import write_bytes

log = logging.getLogger(__name__)

_TRANSLATORS: Final = ("torch", "onnx", "onnxscript", "onnx_ir")
_DIGEST: Final = 32  # bytes of the SHA-256 before the graph


def load_or_translate(
    captured: ExportedProgram, options: str, translate: Callable[[], onnx.ModelProto]
) -> onnx.ModelProto:
    """Return the graph of a captured program: that of an earlier export of the same program, or else a new one.

    Args:
        captured: Its code, the shapes of its inputs, and the weights that it uses decide what is the same, with the
            versions of the packages that translate.
        options: All else that the translation depends on.
        translate: Translates it.
    """
    path = assets.cache_directory("graphs") / f"{_hash_program(captured, options)}.onnx"
    kept = _read(path)
    if kept is not None:
        return kept
    model = translate()
    data = model.SerializeToString(deterministic=True)
    try:
        write_bytes(path, hashlib.sha256(data).digest() + data)
    except UserError as error:
        log.debug("%s; the graph is translated again next time", error)
    return model


def _hash_program(captured: ExportedProgram, options: str) -> str:
    digest = hashlib.sha256(options.encode())
    for package in _TRANSLATORS:
        digest.update(f"{package} {version(package)}\n".encode())
    for part in _describe_program(captured):
        digest.update(part)
    return digest.hexdigest()[:32]


def _describe_program(captured: ExportedProgram) -> Iterator[bytes]:
    yield captured.graph_module.code.encode()
    signature = captured.graph_signature
    stored = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    values: dict[str, Any] = {**captured.constants, **captured.state_dict}
    for node in captured.graph.nodes:
        if node.op != "placeholder" or not node.users:
            continue
        yield f"{node.name} {node.meta['val'].dtype} {tuple(node.meta['val'].shape)}\n".encode()
        if node.name in stored:
            yield values[stored[node.name]].detach().cpu().contiguous().numpy().tobytes()


def _read(path: Path) -> onnx.ModelProto | None:
    """Return a kept graph; None where there is none, or where the file was damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    data = content[_DIGEST:]
    if hashlib.sha256(data).digest() != content[:_DIGEST]:
        return None
    try:
        return onnx.load_model_from_string(data)
    except DecodeError:
        return None
