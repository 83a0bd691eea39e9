"""Foreign and own ONNX files behind one class: opened, described and run, with one clear line when that fails."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from facesmith.errors import UserError
from facesmith.models.onnx.info import DFM_INPUT, DFM_MORPH, MASK, OUTPUT, SOURCE, TARGET, SwapperInfo

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Value:
    """An input or output: name, ONNX type such as `tensor(float)`, shape with names where a size is free."""

    name: str
    type: str
    shape: tuple[int | str | None, ...]

    def __str__(self) -> str:
        return f"{self.type} {'x'.join(str(step) for step in self.shape)}"

    def fits(self, *wanted: int | None) -> bool:
        """Say whether this is float32 of these sizes; None takes any, and so does a free size of the file."""
        return (
            self.type == "tensor(float)"
            and len(self.shape) == len(wanted)
            and all(
                want is None or not isinstance(found, int) or found == want
                for found, want in zip(self.shape, wanted, strict=True)
            )
        )


class OnnxGraph:
    """An ONNX file ready to run, on CUDA where onnxruntime has it; may be called from several threads.

    setting: the key that named the file, for errors. threads: how many one call may use. data: what to run in place
    of what the file holds.

    Raises:
        UserError: missing, or not readable by onnxruntime.
    """

    def __init__(self, path: Path, setting: str, threads: int = 1, data: bytes | None = None) -> None:
        self.path, self.setting = path, setting
        if not path.is_file():
            raise UserError(f"{self}: no such file; give an ONNX file")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(data or str(path), options, providers=_providers())
        except Exception as error:  # onnxruntime's errors share no base class of their own
            first = str(error).strip().splitlines()[0]
            raise UserError(f"{self}: onnxruntime cannot read it ({first}); export or download it again") from error
        self.inputs = _values(self._session.get_inputs())
        self.outputs = _values(self._session.get_outputs())
        self.metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map

    def __str__(self) -> str:
        return f"{self.setting}={self.path}"

    def run(self, feed: Mapping[str, Array], outputs: Sequence[str] | None = None) -> list[Array]:
        """Return the outputs, all or the named ones, of inputs by name, which share their first axis.

        Where the file fixes the batch to 1, it runs once for each.
        """
        names = list(outputs) if outputs is not None else list(self.outputs)
        count = len(next(iter(feed.values())))
        fixed = any(self.inputs[name].shape[:1] == (1,) for name in feed)
        if count == 1 or not fixed:
            return [np.asarray(one) for one in self._session.run(names, dict(feed))]
        ones = [
            self._session.run(names, {name: value[i : i + 1] for name, value in feed.items()}) for i in range(count)
        ]
        return [np.concatenate(parts) for parts in zip(*ones, strict=True)]


def _values(found: Sequence[Any]) -> dict[str, Value]:
    return {each.name: Value(each.name, each.type, tuple(each.shape)) for each in found}


def _providers() -> list[str]:
    return [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in onnxruntime.get_available_providers()]


def check_own(contract: SwapperInfo, graph: OnnxGraph) -> None:
    """Hold a graph of facesmith against what it says of itself.

    Raises:
        UserError: another input or output; says which.
    """
    side = contract.size
    inputs: dict[str, Sequence[int]] = {TARGET: (3, side, side)}
    if contract.embedding_size is not None:
        inputs[SOURCE] = (contract.embedding_size,)
    outputs: dict[str, Sequence[int]] = {OUTPUT: (3, side, side), MASK: (1, side, side)}
    for kind, wanted, given in (("input", inputs, graph.inputs), ("output", outputs, graph.outputs)):
        if set(given) != set(wanted):
            raise UserError(
                f"{graph}: wrong contract: its {kind}s are {_names(given)}, not {_names(wanted)}; export it again"
            )
        for name, shape in wanted.items():
            if given[name].type != "tensor(float)" or given[name].shape[1:] != tuple(shape):
                raise UserError(
                    f"{graph}: wrong contract: {kind} {name} is {given[name]}, not "
                    f"tensor(float) {'x'.join(str(step) for step in ['N', *shape])}; export it again"
                )


def _names(values: Mapping[str, Any]) -> str:
    return ", ".join(sorted(values)) or "none"


def dfm_size(graph: OnnxGraph) -> int:
    """Return the side of a `.dfm`'s crops in px.

    Raises:
        UserError: the graph is no `.dfm`; says why.
    """
    if DFM_INPUT not in graph.inputs or set(graph.inputs) - {DFM_INPUT, DFM_MORPH}:
        raise UserError(f"{graph}: wrong contract: its inputs are {', '.join(graph.inputs)}, not {DFM_INPUT} (dfm)")
    given = graph.inputs[DFM_INPUT]
    side = given.shape[1] if len(given.shape) == 4 else None
    if not isinstance(side, int) or not given.fits(None, side, side, 3) or given.shape[2] != side:
        raise UserError(f"{graph}: wrong contract: {DFM_INPUT} is {given}, not tensor(float) NxSxSx3 (dfm)")
    if len(graph.outputs) != 3:
        raise UserError(f"{graph}: wrong contract: it has {len(graph.outputs)} outputs, not mask, face, mask (dfm)")
    return side
