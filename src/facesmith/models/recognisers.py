"""Face recognisers as frozen, differentiable torch modules: what an identity loss looks through.

They compute what the ONNX files say that onnxruntime runs in the analyzers, and answer the same to 1e-4.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from facesmith import assets
from facesmith.errors import UserError
from facesmith.faces.analyzers.onnx_graph import fold_constants

CROP: Final = 112
# An arcface_128 crop holds the recogniser's arcface_112_v2 crop at whole pixels.
_ROWS: Final = slice(0, 112)
_COLUMNS: Final = slice(8, 120)

Array = npt.NDArray[np.float32]
Attributes = dict[str, Any]


class Recogniser(nn.Module):
    """A trained convolutional recogniser read from an ONNX file.

    Always in eval mode, whatever its owner is set to; its weights take no gradient and stay out of
    `state_dict`, as the file is the place they come from. Raises UserError for a file that is no such
    recogniser.
    """

    name: str

    def __init__(self, path: Path) -> None:
        super().__init__()
        graph = _read(path)
        constants = {each.name: np.array(numpy_helper.to_array(each)) for each in graph.initializer}
        self._input, self._output = graph.input[0].name, graph.output[0].name
        self._steps = [_Step(node, path) for node in graph.node]
        _fold_batch_norms(self._steps, constants)
        self._buffer_of: dict[str, str] = {}
        for index, name in enumerate(sorted({each for step in self._steps for each in step.inputs})):
            if name in constants:
                self._buffer_of[name] = f"weight_{index}"
                self.register_buffer(f"weight_{index}", torch.from_numpy(constants[name]), persistent=False)
        self.eval()
        with torch.no_grad():
            shape = self(torch.zeros(1, 3, CROP, CROP)).shape
        if len(shape) != 2:
            raise UserError(f"{path}: gives {tuple(shape)}, not one embedding a face; give a recogniser's file")
        self.embedding_size = int(shape[1])

    def train(self, mode: bool = True) -> Self:
        """Stays in eval mode: its normalisation must not follow the batch."""
        return super().train(False)

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, E), as the file gives it, of pictures (N, 3, 112, 112) RGB on arcface_112_v2, -1..1."""
        values: dict[str, Tensor] = {name: getattr(self, buffer) for name, buffer in self._buffer_of.items()}
        values[self._input] = self._scaled(pictures)
        last_use = {name: index for index, step in enumerate(self._steps) for name in step.inputs}
        for index, step in enumerate(self._steps):
            values[step.output] = step.operation(*(values[name] for name in step.inputs), **step.attributes)
            for name in step.inputs:
                if last_use[name] == index:
                    values.pop(name, None)
        return values[self._output]

    def embed(self, pictures: Tensor) -> Tensor:
        """(N, E), L2-normalised, of RGB pictures in -1..1, differentiable in them.

        pictures: (N, 3, 112, 112) on the template arcface_112_v2 or (N, 3, 128, 128) on arcface_128. Raises
        ValueError for another size.
        """
        if pictures.shape[-2:] == (128, 128):
            pictures = pictures[..., _ROWS, _COLUMNS]
        if pictures.shape[-2:] != (CROP, CROP):
            raise ValueError(f"pictures are {tuple(pictures.shape[-2:])}, not (112, 112) or (128, 128)")
        return functional.normalize(self(pictures), dim=1)

    def _scaled(self, pictures: Tensor) -> Tensor:
        return pictures


class SFace(Recogniser):
    """SFace's MobileFaceNet, E = 128.

    path: sface.onnx; the asset when not given. Source: Zhong et al., SFace, 2021; OpenCV zoo, Apache-2.0.
    """

    name = "sface"

    def __init__(self, path: Path | None = None) -> None:
        super().__init__(path or assets.fetch("sface.onnx"))

    def _scaled(self, pictures: Tensor) -> Tensor:
        return (pictures + 1) * 127.5


class ArcFace(Recogniser):
    """ArcFace's improved ResNet of any depth; E = 512 for buffalo_l, whose weights are non-commercial.

    path: w600k_r50.onnx; that of the asset buffalo_l when not given. Source: Deng et al., ArcFace, 2019;
    insightface.
    """

    name = "arcface_w600k_r50"

    def __init__(self, path: Path | None = None) -> None:
        super().__init__(path or assets.fetch("buffalo_l") / "w600k_r50.onnx")


def _read(path: Path) -> onnx.GraphProto:
    try:
        graph = fold_constants(path).graph
    except (DecodeError, OSError) as error:
        raise UserError(f"{path}: cannot be read as ONNX ({error}); give a recogniser's .onnx file") from None
    if len(graph.input) != 1 or len(graph.output) != 1:
        raise UserError(
            f"{path}: has {len(graph.input)} inputs and {len(graph.output)} outputs, a recogniser has one of"
            " each; give a recogniser's .onnx file"
        )
    return graph


class _Step:
    """One node of the graph: which operation, on which values, into which."""

    def __init__(self, node: onnx.NodeProto, path: Path) -> None:
        if node.op_type not in _OPERATIONS:
            raise UserError(f"{path}: holds the operation {node.op_type}, which no known recogniser has")
        self.kind = node.op_type
        self.operation = _OPERATIONS[node.op_type]
        self.attributes: Attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        self.inputs = [name for name in node.input if name]
        if node.op_type == "Constant":
            self.attributes = {"value": torch.from_numpy(numpy_helper.to_array(self.attributes["value"]).copy())}
        self.output = node.output[0]


def _fold_batch_norms(steps: list[_Step], constants: dict[str, Array]) -> None:
    """Moves each batch norm that follows a convolution into its weights: half the passes over the picture."""
    uses = Counter(name for step in steps for name in step.inputs)
    makers = {step.output: step for step in steps}
    for norm in [step for step in steps if step.kind == "BatchNormalization"]:
        conv = makers.get(norm.inputs[0])
        if conv is None or conv.kind != "Conv" or uses[conv.output] > 1:
            continue
        gamma, beta, mean, var = (constants[name].astype(np.float64) for name in norm.inputs[1:])
        factor = gamma / np.sqrt(var + norm.attributes.get("epsilon", 1e-5))
        weight = constants[conv.inputs[1]]
        bias = constants[conv.inputs[2]] if len(conv.inputs) > 2 else np.zeros(len(weight))
        names = [f"{norm.output}/weight", f"{norm.output}/bias"]
        constants[names[0]] = (weight * factor[:, None, None, None]).astype(np.float32)
        constants[names[1]] = ((bias - mean) * factor + beta).astype(np.float32)
        conv.inputs[1:] = names
        conv.output = norm.output
        steps.remove(norm)


def _convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    strides: tuple[int, int] = (1, 1),
    dilations: tuple[int, int] = (1, 1),
    group: int = 1,
    **_: Any,
) -> Tensor:
    top, left, bottom, right = pads
    padding: tuple[int, int] = (top, left)
    if (top, left) != (bottom, right):
        x, padding = functional.pad(x, (left, right, top, bottom)), (0, 0)
    return functional.conv2d(x, weight, bias, tuple(strides), padding, tuple(dilations), group)


def _normalise(
    x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor, *, epsilon: float = 1e-5, **_: Any
) -> Tensor:
    return functional.batch_norm(x, mean, var, gamma, beta, eps=epsilon)


def _gemm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # noqa: N803 - the attribute's name in ONNX
    transB: int = 0,  # noqa: N803
) -> Tensor:
    product = alpha * ((x.T if transA else x) @ (weight.T if transB else weight))
    return product if bias is None else product + beta * bias


def _flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    return x.flatten(axis)


def _parametric_relu(x: Tensor, slope: Tensor) -> Tensor:
    return functional.prelu(x, slope.flatten())


def _same(x: Tensor, *_: Tensor, **__: Any) -> Tensor:
    return x


def _constant(*, value: Tensor) -> Tensor:
    return value


_OPERATIONS: Final[dict[str, Callable[..., Tensor]]] = {
    "Add": torch.add,
    "BatchNormalization": _normalise,
    "Constant": _constant,
    "Conv": _convolve,
    "Dropout": _same,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "Identity": _same,
    "Mul": torch.mul,
    "PRelu": _parametric_relu,
    "Relu": functional.relu,
    "Sub": torch.sub,
}
