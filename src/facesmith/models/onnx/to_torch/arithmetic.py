"""ONNX operators that compute element by element or along axes, and matrix products."""

from collections.abc import Callable
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from facesmith.models.onnx.to_torch.reading import Node

Operator = Callable[..., Any]
Made = Callable[..., Tensor]


def _ignore_node(function: Made) -> Operator:
    return lambda node, *given: function(*given)


def _fold(function: Made) -> Operator:
    """Return an operator of any number of inputs, which are combined two at a time."""

    def fold(node: Node, first: Tensor, *more: Tensor) -> Tensor:
        for each in more:
            first = function(first, each)
        return first

    return fold


def _div(node: Node, a: Tensor, b: Tensor) -> Tensor:
    return torch.div(a, b) if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _mean(node: Node, *given: Tensor) -> Tensor:
    return torch.stack(torch.broadcast_tensors(*given)).mean(0)


def _mod(node: Node, a: Tensor, b: Tensor) -> Tensor:
    return torch.fmod(a, b) if node.get("fmod", 0) else torch.remainder(a, b)


def _clip(node: Node, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    if node.opset < 11:
        return x.clamp(node.get("min"), node.get("max"))
    if low is not None:
        x = torch.maximum(x, low)
    return x if high is None else torch.minimum(x, high)


def _softmax(function: Made) -> Operator:
    def over(node: Node, x: Tensor) -> Tensor:
        if node.opset >= 13:
            return function(x, dim=node.get("axis", -1))
        axis = node.get("axis", 1) % x.dim()
        return function(x.flatten(axis), dim=axis).reshape(x.shape)

    return over


def _prelu(node: Node, x: Tensor, slope: Tensor) -> Tensor:
    if x.dim() - 1 == slope.dim() > 0 and slope.numel() == slope.shape[0] == x.shape[1]:  # one for each channel
        return F.prelu(x, slope.reshape(-1))
    return torch.where(x >= 0, x, x * slope)


def _matmul(node: Node, a: Tensor, b: Tensor) -> Tensor:
    return torch.matmul(a, b)


def _gemm(node: Node, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    a = a.mT if node.get("transA", 0) else a
    b = b.mT if node.get("transB", 0) else b
    product = node.get("alpha", 1.0) * (a @ b)
    return product if c is None else product + node.get("beta", 1.0) * c


def _reduction(function: Callable[[Tensor, list[int], bool], Tensor]) -> Operator:
    def reduce(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
        over: list[int] = list(node.get("axes", [])) if axes is None else axes.tolist()
        if not over:
            if node.get("noop_with_empty_axes", 0):
                return x
            over = list(range(x.dim()))
        return function(x, over, bool(node.get("keepdims", 1)))

    return reduce


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted((axis % x.dim() for axis in axes), reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


def _top_k(node: Node, x: Tensor, count: Tensor | None = None) -> tuple[Tensor, Tensor]:
    wanted = node.get("k") if count is None else int(count)
    axis = node.get("axis", -1)
    # of equal values the first counts
    values, indices = x.sort(dim=axis, descending=bool(node.get("largest", 1)), stable=True)
    return values.narrow(axis, 0, wanted), indices.narrow(axis, 0, wanted)


def _argmax(node: Node, x: Tensor) -> Tensor:
    return x.argmax(node.get("axis", 0), keepdim=bool(node.get("keepdims", 1)))


def _lp_normalize(node: Node, x: Tensor) -> Tensor:
    axis, p = node.get("axis", -1), node.get("p", 2)
    length = torch.linalg.vector_norm(x, p, axis, keepdim=True)
    return x / length.masked_fill(length == 0, 1)


def _hard_sigmoid(node: Node, x: Tensor) -> Tensor:
    return (node.get("alpha", 0.2) * x + node.get("beta", 0.5)).clamp(0, 1)


def _selu(node: Node, x: Tensor) -> Tensor:
    alpha, gamma = node.get("alpha", 1.6732631921768188), node.get("gamma", 1.0507010221481323)
    return gamma * (x.clamp(min=0) + alpha * torch.expm1(x.clamp(max=0)))


_PLAIN: Final[dict[str, Made]] = {
    "Abs": torch.abs,
    "And": torch.logical_and,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Equal": torch.eq,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "HardSwish": F.hardswish,
    "Identity": lambda x: x,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Log": torch.log,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Or": torch.logical_or,
    "Pow": torch.pow,
    "Reciprocal": torch.reciprocal,
    "Relu": torch.relu,
    "Round": torch.round,
    "Sigmoid": torch.sigmoid,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Softplus": F.softplus,
    "Softsign": F.softsign,
    "Sqrt": torch.sqrt,
    "Sub": torch.sub,
    "Tanh": torch.tanh,
}
TABLE: Final[dict[str, Operator]] = {
    **{name: _ignore_node(function) for name, function in _PLAIN.items()},
    "Where": lambda node, which, a, b: torch.where(which, a, b),
    "Add": _fold(torch.add),
    "Mul": _fold(torch.mul),
    "Max": _fold(torch.maximum),
    "Min": _fold(torch.minimum),
    "Sum": _fold(torch.add),
    "Mean": _mean,
    "Div": _div,
    "Mod": _mod,
    "Clip": _clip,
    "Elu": lambda node, x: F.elu(x, node.get("alpha", 1.0)),
    "Gelu": lambda node, x: F.gelu(x, approximate=node.get("approximate", "none")),
    "HardSigmoid": _hard_sigmoid,
    "LeakyRelu": lambda node, x: F.leaky_relu(x, node.get("alpha", 0.01)),
    "LogSoftmax": _softmax(F.log_softmax),
    "Mish": lambda node, x: F.mish(x),
    "PRelu": _prelu,
    "Selu": _selu,
    "Softmax": _softmax(F.softmax),
    "Dropout": lambda node, x, *rest: x,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Einsum": lambda node, *given: torch.einsum(node.get("equation"), *given),
    "ReduceMean": _reduction(lambda x, axes, keep: x.mean(axes, keepdim=keep)),
    "ReduceSum": _reduction(lambda x, axes, keep: x.sum(axes, keepdim=keep)),
    "ReduceMax": _reduction(lambda x, axes, keep: x.amax(axes, keepdim=keep)),
    "ReduceMin": _reduction(lambda x, axes, keep: x.amin(axes, keepdim=keep)),
    "ReduceProd": _reduction(_product),
    "ReduceL1": _reduction(lambda x, axes, keep: x.abs().sum(axes, keepdim=keep)),
    "ReduceL2": _reduction(lambda x, axes, keep: torch.linalg.vector_norm(x, 2, axes, keepdim=keep)),
    "ReduceSumSquare": _reduction(lambda x, axes, keep: x.square().sum(axes, keepdim=keep)),
    "ArgMax": _argmax,
    "TopK": _top_k,
    "LpNormalization": _lp_normalize,
}
