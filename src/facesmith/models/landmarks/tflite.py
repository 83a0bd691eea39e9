"""Read a TensorFlow Lite graph as a torch module: batched, differentiable, exportable, on any device."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from mediapipe.tasks.metadata import schema_py_generated as schema
from numpy.typing import NDArray
from torch import Tensor, nn

_OPERATORS: Final = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
_TYPES: Final = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.INT32: np.int32,
}
_ACTIVATIONS: Final[Mapping[int, Callable[[Tensor], Tensor]]] = {
    schema.ActivationFunctionType.NONE: lambda x: x,
    schema.ActivationFunctionType.RELU: F.relu,
    schema.ActivationFunctionType.RELU6: F.relu6,
}
# stored as (O,H,W,I), and (1,H,W,O) of which each sees one channel; torch takes (O,I,H,W)
_KERNELS: Final = {"CONV_2D": (0, 3, 1, 2), "DEPTHWISE_CONV_2D": (3, 0, 1, 2)}
_ELEMENTWISE: Final[Mapping[str, Callable[..., Tensor]]] = {
    "ADD": torch.add,
    "SUB": torch.sub,
    "MUL": torch.mul,
    "DIV": torch.div,
    "NEG": torch.neg,
    "SQRT": torch.sqrt,
    "RSQRT": torch.rsqrt,
    "LOGISTIC": torch.sigmoid,
    "SQUARED_DIFFERENCE": lambda a, b: (a - b) * (a - b),
}


class UnsupportedGraphError(ValueError):
    """The graph holds an operator, a type or an option that this reader does not know."""


@dataclass(frozen=True)
class _Node:
    """One operator: its name, its inputs and output by number, and its options."""

    operator: str
    inputs: tuple[int, ...]
    output: int
    options: Any


class TfliteModule(nn.Module):
    """Compute what a .tflite graph computes, for any batch size.

    Tensors keep TensorFlow's layout (N,H,W,C); convolutions see a permuted view of it, which is torch's
    channels-last format and costs nothing. Weights stored as float16 are float32 here. They are buffers that stay out
    of `state_dict`: the file they come from is known by its hash.

    Args:
        model: The bytes of the file.

    Raises:
        UnsupportedGraphError: The graph cannot be read faithfully.
    """

    def __init__(self, model: bytes) -> None:
        super().__init__()
        if not schema.Model.ModelBufferHasIdentifier(model, 0):
            raise UnsupportedGraphError("no TensorFlow Lite file")
        root = schema.Model.GetRootAsModel(model, 0)
        graph = root.Subgraphs(0)
        stored = {number: _constant(root, number) for number in range(graph.TensorsLength())}
        constants = {number: value for number, value in stored.items() if value is not None}
        self._inputs = [graph.Inputs(k) for k in range(graph.InputsLength())]
        self._outputs = [graph.Outputs(k) for k in range(graph.OutputsLength())]
        self._nodes: list[_Node] = []
        for place in range(graph.OperatorsLength()):
            node = _node(root, graph.Operators(place))
            if node.operator == "DEQUANTIZE" and node.inputs[0] in constants:
                constants[node.output] = constants[node.inputs[0]].astype(np.float32)
            else:
                self._nodes.append(node)
        self._integers: dict[int, list[int]] = {}
        kernels = {node.inputs[1]: _KERNELS[node.operator] for node in self._nodes if node.operator in _KERNELS}
        slopes = {node.inputs[1] for node in self._nodes if node.operator == "PRELU"}
        for number in set(itertools.chain.from_iterable(node.inputs for node in self._nodes)) & constants.keys():
            value = constants[number]
            if value.dtype == np.int32:
                self._integers[number] = value.reshape(-1).tolist()
                continue
            weight = torch.from_numpy(value.astype(np.float32))
            if number in kernels:
                weight = weight.permute(kernels[number]).contiguous()
            elif number in slopes:
                weight = weight - 1
            self.register_buffer(f"w{number}", weight, persistent=False)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Compute the graph's outputs.

        Args:
            inputs: In the graph's order and layout, (N, ...) float32.

        Returns:
            The outputs in the graph's order, (N, ...).
        """
        values: dict[int, Tensor] = dict(zip(self._inputs, inputs, strict=True))
        for node in self._nodes:
            values[node.output] = self._compute(node, values)
        return tuple(values[number] for number in self._outputs)

    def _compute(self, node: _Node, values: Mapping[int, Tensor]) -> Tensor:
        def given(place: int) -> Tensor:
            number = node.inputs[place]
            return values[number] if number in values else self.get_buffer(f"w{number}")

        def integers(place: int) -> list[int]:
            return self._integers[node.inputs[place]]

        name, options = node.operator, node.options
        if name in _ELEMENTWISE:
            made = _ELEMENTWISE[name](*(given(place) for place in range(len(node.inputs))))
            return _activated(made, options)
        match name:
            case "CONV_2D" | "DEPTHWISE_CONV_2D":
                bias = given(2) if len(node.inputs) > 2 else None
                return _convolved(given(0), given(1), bias, options, depthwise=name != "CONV_2D")
            case "PRELU":
                # its slopes less 1: faster in onnxruntime than its PRelu
                return torch.addcmul(given(0), given(0).clamp_max(0), given(1))
            case "MAX_POOL_2D":
                kernel, stride = (options.FilterHeight(), options.FilterWidth()), (options.StrideH(), options.StrideW())
                image = _padded(_nchw(given(0)), kernel, stride, options.Padding(), float("-inf"))
                return _activated(_nhwc(F.max_pool2d(image, kernel, stride)), options)
            case "PAD":
                around = integers(1)
                pairs = [around[i : i + 2] for i in range(0, len(around), 2)]
                return F.pad(given(0), [one for pair in reversed(pairs) for one in pair])
            case "MEAN":
                return given(0).mean(integers(1), keepdim=options.KeepDims())
            case "SUM":
                return given(0).sum(integers(1), keepdim=options.KeepDims())
            case "TRANSPOSE":
                return given(0).permute(integers(1))
            case "RESHAPE":
                return given(0).reshape(-1, *integers(1)[1:])
            case "CONCATENATION":
                batch = next(values[number].shape[0] for number in node.inputs if number in values)
                parts = [given(place).expand(batch, *given(place).shape[1:]) for place in range(len(node.inputs))]
                return torch.cat(parts, options.Axis())
            case "STRIDED_SLICE":
                return _sliced(given(0), integers(1), integers(2), integers(3), options)
        raise UnsupportedGraphError(f"operator {name} cannot be read")


def _constant(root: Any, number: int) -> NDArray[Any] | None:
    """Return a tensor's stored value, or None where it is computed."""
    tensor = root.Subgraphs(0).Tensors(number)
    data = root.Buffers(tensor.Buffer()).DataAsNumpy()
    if isinstance(data, int) or not len(data):
        return None
    if tensor.Type() not in _TYPES:
        raise UnsupportedGraphError(f"tensor {tensor.Name().decode()} is of a type that cannot be read")
    shape = tensor.ShapeAsNumpy() if tensor.ShapeLength() else ()
    return np.frombuffer(data.tobytes(), _TYPES[tensor.Type()]).reshape(shape)


def _node(root: Any, operator: Any) -> _Node:
    code = root.OperatorCodes(operator.OpcodeIndex())
    name = _OPERATORS[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
    if operator.OutputsLength() != 1:
        raise UnsupportedGraphError(f"operator {name} has {operator.OutputsLength()} outputs")
    options = None
    if (table := operator.BuiltinOptions()) is not None:
        kinds = {code: kind for kind, code in vars(schema.BuiltinOptions).items() if isinstance(code, int)}
        options = getattr(schema, kinds[operator.BuiltinOptionsType()])()
        options.Init(table.Bytes, table.Pos)
    inputs = [operator.Inputs(place) for place in range(operator.InputsLength())]
    return _Node(name, tuple(number for number in inputs if number >= 0), operator.Outputs(0), options)


def _nchw(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2)


def _nhwc(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)


def _activated(x: Tensor, options: Any) -> Tensor:
    kind = options.FusedActivationFunction() if hasattr(options, "FusedActivationFunction") else 0
    if kind not in _ACTIVATIONS:
        raise UnsupportedGraphError(f"activation {kind} cannot be read")
    return _ACTIVATIONS[kind](x)


def _convolved(x: Tensor, kernel: Tensor, bias: Tensor | None, options: Any, depthwise: bool) -> Tensor:
    """Convolve (N,H,W,C) with a kernel (O,I,H,W)."""
    if (options.DilationHFactor(), options.DilationWFactor()) != (1, 1):
        raise UnsupportedGraphError("a dilated convolution cannot be read")
    stride = (options.StrideH(), options.StrideW())
    image = _padded(_nchw(x), (kernel.shape[2], kernel.shape[3]), stride, options.Padding(), 0.0)
    made = F.conv2d(image, kernel, bias, stride, groups=image.shape[1] if depthwise else 1)
    return _activated(_nhwc(made), options)


def _padded(image: Tensor, kernel: tuple[int, int], stride: tuple[int, int], padding: int, value: float) -> Tensor:
    """Pad as TensorFlow's SAME does: what is odd goes to the right and the bottom."""
    if padding != schema.Padding.SAME:
        return image
    around: list[int] = []
    for axis in (1, 0):
        length = image.shape[2 + axis]
        whole = max(0, (-(-length // stride[axis]) - 1) * stride[axis] + kernel[axis] - length)
        around += [whole // 2, whole - whole // 2]
    return F.pad(image, around, value=value) if any(around) else image


def _sliced(x: Tensor, begin: list[int], end: list[int], step: list[int], options: Any) -> Tensor:
    """Slice every axis but the batch's; a graph made for one face may end by taking the first of its batch of one."""
    shrink = options.ShrinkAxisMask()
    taken: list[slice | int] = [slice(None)]
    for axis in range(1, x.dim()):
        first = None if options.BeginMask() >> axis & 1 else begin[axis]
        last = None if options.EndMask() >> axis & 1 else end[axis]
        taken.append(begin[axis] if shrink >> axis & 1 else slice(first, last, step[axis]))
    return x[tuple(taken)]
