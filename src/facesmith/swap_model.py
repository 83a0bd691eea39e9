"""Load a trained swapper for use, from an ONNX file or a checkpoint, behind one class."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from facesmith.errors import UserError
from facesmith.swapper_contract import MASK, OUTPUT, SOURCE, TARGET, SwapperContract

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Run = Callable[[dict[str, Floats]], tuple[Floats, Floats]]


class SwapModel:
    """A swapper ready for use; may be called from several threads.

    contract: what it promises. run: from named inputs to (output, mask), all float32 as the contract says.
    """

    def __init__(self, contract: SwapperContract, run: Run) -> None:
        self.contract = contract
        self.template = contract.template
        self.size = contract.size
        self.embedder = contract.embedder
        self.embedding_size = contract.embedding_size
        self._run = run

    def __call__(self, crops: Pixels, source: Floats | None = None) -> tuple[Pixels, Floats]:
        """Swap aligned faces.

        crops: (N,S,S,3) RGB uint8 on `template`. source: (E,) or (N,E), L2-normalised, exactly when
        `embedding_size` is not None. Gives the finished crops, like `crops`, and (N,S,S) float32 in 0..1:
        what of them was changed. Raises ValueError on other shapes.
        """
        side = self.size
        if crops.ndim != 4 or crops.shape[1:] != (side, side, 3) or crops.dtype != np.uint8:
            raise ValueError(f"crops are {crops.dtype} {crops.shape}, not uint8 (N, {side}, {side}, 3)")
        if (source is None) != (self.embedding_size is None):
            raise ValueError(f"source is {'missing' if source is None else 'not taken'}: see embedding_size")
        target = crops.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(127.5) - np.float32(1)
        feed = {TARGET: np.ascontiguousarray(target)}
        if source is not None:
            feed[SOURCE] = np.broadcast_to(source, (len(crops), source.shape[-1])).astype(np.float32)
        output, mask = self._run(feed)
        picture = np.clip(np.rint((output + 1) * 127.5), 0, 255).astype(np.uint8)
        return np.ascontiguousarray(picture.transpose(0, 2, 3, 1)), mask[:, 0]


def load_swap_model(path: Path, *, threads: int = 1) -> SwapModel:
    """Load a facesmith ONNX file, or a checkpoint of a swapper (.ckpt; imports torch).

    threads: how many one call may use.

    Raises:
        UserError: missing, of another suffix, unreadable, or not a swapper by contract; says what is wrong.
    """
    if not path.is_file():
        raise UserError(f"model={path}: no such file; give a swapper made by export.py (.onnx) or train.py (.ckpt)")
    if path.suffix == ".onnx":
        return _load_onnx(path, threads)
    if path.suffix == ".ckpt":
        return _load_checkpoint(path)
    raise UserError(f"model={path}: neither .onnx nor .ckpt; give a swapper made by export.py or train.py")


def _load_onnx(path: Path, threads: int) -> SwapModel:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=_providers())
    except Exception as error:  # onnxruntime's errors share no base class of their own
        first = str(error).strip().splitlines()[0]
        raise UserError(f"model={path}: onnxruntime cannot read it ({first}); export it again") from error
    contract = SwapperContract.read(session.get_modelmeta().custom_metadata_map, path)
    _check_graph(contract, session, path)
    fixed = isinstance(session.get_inputs()[0].shape[0], int)

    def run(feed: dict[str, Floats]) -> tuple[Floats, Floats]:
        count = len(feed[TARGET])
        if not fixed or count == 1:
            output, mask = session.run([OUTPUT, MASK], feed)
            return output, mask
        ones = [session.run([OUTPUT, MASK], {k: v[i : i + 1] for k, v in feed.items()}) for i in range(count)]
        return np.concatenate([one[0] for one in ones]), np.concatenate([one[1] for one in ones])

    return SwapModel(contract, run)


def _providers() -> list[str]:
    """CUDA where this onnxruntime has it, else the CPU."""
    return [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in onnxruntime.get_available_providers()]


def _check_graph(contract: SwapperContract, session: onnxruntime.InferenceSession, path: Path) -> None:
    side = contract.size
    inputs: dict[str, Sequence[int]] = {TARGET: (3, side, side)}
    if contract.embedding_size is not None:
        inputs[SOURCE] = (contract.embedding_size,)
    outputs: dict[str, Sequence[int]] = {OUTPUT: (3, side, side), MASK: (1, side, side)}
    for kind, wanted, found in (
        ("input", inputs, session.get_inputs()),
        ("output", outputs, session.get_outputs()),
    ):
        given = {value.name: value for value in found}
        if set(given) != set(wanted):
            raise UserError(
                f"model={path}: wrong contract: its {kind}s are {_names(given)}, not {_names(wanted)}; export it again"
            )
        for name, shape in wanted.items():
            value = given[name]
            if value.type != "tensor(float)" or list(value.shape[1:]) != list(shape):
                raise UserError(
                    f"model={path}: wrong contract: {kind} {name} is {value.type} {_shape(value.shape)}, not "
                    f"tensor(float) {_shape(['N', *shape])}; export it again"
                )


def _names(values: dict[str, Any]) -> str:
    return ", ".join(sorted(values)) or "none"


def _shape(shape: Sequence[object]) -> str:
    return "x".join(str(step) for step in shape)


def _load_checkpoint(path: Path) -> SwapModel:
    import torch

    from facesmith.callbacks.protocols import Exports
    from facesmith.checkpoint import load_module

    module = load_module(path)
    if not isinstance(module, Exports):
        raise UserError(f"model={path}: holds a {type(module).__name__}, not a swapper; give a swapper's checkpoint")
    spec = module.export_spec()
    contract = SwapperContract.read(spec.metadata, path)
    network = spec.module.eval()

    def run(feed: dict[str, Floats]) -> tuple[Floats, Floats]:
        with torch.inference_mode():
            output, mask = network(*(torch.from_numpy(feed[name]) for name in spec.inputs))
        return output.numpy(), mask.numpy()

    return SwapModel(contract, run)
