"""Open and run any ONNX file, with a one-line error when that fails."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from facesmith.errors import UserError
from facesmith.models.onnx.grid_sampling import StagedGraph, load_staged
from facesmith.models.onnx.providers import create_session, is_accelerated

Array = npt.NDArray[Any]
Run = Callable[[list[str], dict[str, Array]], Sequence[Any]]
"""From names of outputs and inputs by name to the outputs."""

_CHECKPOINTS: Final = (".ckpt", ".pt", ".pth")


@dataclass(frozen=True)
class Value:
    """An input or output of a graph.

    Attributes:
        name: Its name.
        type: ONNX type, such as `tensor(float)`.
        shape: Sizes; names or None where a size is free.
    """

    name: str
    type: str
    shape: tuple[int | str | None, ...]

    def __str__(self) -> str:
        return f"{self.type} {'x'.join(str(step) for step in self.shape)}"

    def fits(self, *wanted: int | None) -> bool:
        """Return whether this is float32 of these sizes; None accepts any size, and so does a free size of the file."""
        return (
            self.type == "tensor(float)"
            and len(self.shape) == len(wanted)
            and all(
                want is None or not isinstance(found, int) or found == want
                for found, want in zip(self.shape, wanted, strict=True)
            )
        )


class OnnxGraph:
    """An ONNX file ready to run, on the device of `providers.use_device`; may be called from several threads.

    Attributes:
        path: The file.
        inputs: Inputs by name.
        optional: Inputs by name that need not be fed.
        outputs: Outputs by name.
        metadata: The file's metadata_props.
    """

    def __init__(self, path: Path, setting: str, threads: int = 1, data: bytes | None = None) -> None:
        """Open a file.

        Args:
            path: The file.
            setting: Key that named it, for errors.
            threads: Number of threads that one call may use.
            data: Serialised model to run in place of what the file holds.

        Raises:
            UserError: The file is missing, or onnxruntime cannot read it.
        """
        self.path, self.setting = path, setting
        if not path.is_file():
            raise UserError(f"{self}: {'is a folder' if path.is_dir() else 'no such file'}; give an ONNX file")
        if path.suffix in _CHECKPOINTS:
            raise UserError(f"{self}: is a checkpoint; make a file of it: facesmith export ckpt_path={path} to=...")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            model = None if is_accelerated() else load_staged(data or path)
            if model is None:
                session = create_session(data or str(path), options, path)
                self._run: Run = session.run
            else:
                self._run = StagedGraph(model, options).run
                options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
                session = create_session(data or str(path), options, path)  # it only tells what the file holds
        except Exception as error:  # onnxruntime's errors share no base class of their own
            first = str(error).strip().splitlines()[0]
            raise UserError(f"{self}: onnxruntime cannot read it ({first}); export or download it again") from error
        self.inputs = _values(session.get_inputs())
        self.optional = _values(session.get_overridable_initializers())
        self.outputs = _values(session.get_outputs())
        self.metadata: Mapping[str, str] = session.get_modelmeta().custom_metadata_map

    def __str__(self) -> str:
        return f"{self.setting}={self.path}"

    def run(self, feed: Mapping[str, Array], outputs: Sequence[str] | None = None) -> list[Array]:
        """Run the graph; where the file fixes the batch size to 1, once for each item.

        Args:
            feed: Inputs by name, which share their first axis; those of one axis, such as a .dfm's morph value, have
                no batch.
            outputs: Names of the outputs to return; None for all.

        Raises:
            UserError: It gives numbers that are not finite: a picture would be spoilt, or left as it is, in silence.
        """
        names = list(outputs) if outputs is not None else list(self.outputs)
        count = max(len(value) for value in feed.values())
        declared = {**self.inputs, **self.optional}
        fixed = any(value.ndim == 1 or declared[name].shape[:1] == (1,) for name, value in feed.items())
        if count == 1 or not fixed:
            return self._checked([np.asarray(one) for one in self._run(names, dict(feed))])
        ones = [
            self._run(names, {name: value if value.ndim == 1 else value[i : i + 1] for name, value in feed.items()})
            for i in range(count)
        ]
        return self._checked([np.concatenate(parts) for parts in zip(*ones, strict=True)])

    def _checked(self, made: list[Array]) -> list[Array]:
        if not all(np.isfinite(one).all() for one in made):
            raise UserError(f"{self}: gives numbers that are not finite; the file is damaged, export it again")
        return made


def _values(found: Sequence[Any]) -> dict[str, Value]:
    return {each.name: Value(each.name, each.type, tuple(each.shape)) for each in found}


def format_shape(array: Array) -> str:
    """Return a shape for messages, such as `1x512`."""
    return "x".join(str(step) for step in array.shape) or "one number"
