"""ONNX operators that rearrange values, and those that compute shapes; shapes are int64 on the CPU."""

from typing import Any, Final

import numpy as np
import onnx
import torch
from torch import Tensor

from facesmith.models.onnx.to_torch.arithmetic import Operator
from facesmith.models.onnx.to_torch.reading import Node

DTYPES: Final = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.FLOAT16: torch.float32,  # see graph: half precision is computed in float32
    onnx.TensorProto.BFLOAT16: torch.float32,
    onnx.TensorProto.DOUBLE: torch.float64,
    onnx.TensorProto.INT64: torch.int64,
    onnx.TensorProto.INT32: torch.int32,
    onnx.TensorProto.UINT8: torch.uint8,
    onnx.TensorProto.INT8: torch.int8,
    onnx.TensorProto.BOOL: torch.bool,
}


def _numbers(given: Tensor | None, otherwise: Any = None) -> list[int]:
    """Return the numbers of an input, or of the attribute that older opsets have in its place."""
    return given.flatten().tolist() if given is not None else list(otherwise or [])


def _cast(node: Node, x: Tensor) -> Tensor:
    return x.to(DTYPES[node.get("to")])


def _shape(node: Node, x: Tensor) -> Tensor:
    return torch.tensor(x.shape[node.get("start", 0) : node.get("end")], dtype=torch.int64)


def _reshape(node: Node, x: Tensor, shape: Tensor | None = None) -> Tensor:
    sizes = _numbers(shape, node.get("shape"))
    if not node.get("allowzero", 0):
        sizes = [x.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    return x.reshape(sizes)


def _flatten(node: Node, x: Tensor) -> Tensor:
    axis = node.get("axis", 1)
    axis += x.dim() if axis < 0 else 0
    rows = 1
    for size in x.shape[:axis]:
        rows *= size
    return x.reshape(rows, -1)


def _transpose(node: Node, x: Tensor) -> Tensor:
    return x.permute(node.get("perm") or list(range(x.dim()))[::-1])


def _squeeze(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    over = _numbers(axes, node.get("axes"))
    return x.squeeze(tuple(over)) if over else x.squeeze()


def _unsqueeze(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    over = _numbers(axes, node.get("axes"))
    for axis in sorted(axis % (x.dim() + len(over)) for axis in over):
        x = x.unsqueeze(axis)
    return x


def _concat(node: Node, *given: Tensor) -> Tensor:
    return torch.cat(given, node.get("axis"))


def _split(node: Node, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    axis = node.get("axis", 0)
    wanted = _numbers(sizes, node.get("split"))
    if not wanted:
        wanted = [-(-x.shape[axis] // len(node.outputs))] * len(node.outputs)
        wanted[-1] += x.shape[axis] - sum(wanted)
    return torch.split(x, wanted, axis)


def _slice(
    node: Node,
    x: Tensor,
    starts: Tensor | None = None,
    ends: Tensor | None = None,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    first, last = _numbers(starts, node.get("starts")), _numbers(ends, node.get("ends"))
    over = _numbers(axes, node.get("axes")) or list(range(len(first)))
    strides = _numbers(steps) or [1] * len(first)
    for start, end, axis, step in zip(first, last, over, strides, strict=True):
        picked = range(x.shape[axis])[start:end:step]
        if step > 0:
            before: tuple[slice, ...] = (slice(None),) * (axis % x.dim())
            x = x[(*before, slice(picked.start, max(picked.start, picked.stop), step))]
        else:
            x = x.index_select(axis, torch.tensor(picked, dtype=torch.int64, device=x.device))
    return x


def _gather(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    axis = node.get("axis", 0) % x.dim()
    found = indices.to(x.device, torch.int64) % x.shape[axis]
    picked = x.index_select(axis, found.flatten())
    return picked.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


def _gather_nd(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    shared, depth = node.get("batch_dims", 0), indices.shape[-1]
    inner = x.shape[shared:]
    found = indices.to(x.device, torch.int64)
    if not shared:
        return x[tuple(found.unbind(-1))]
    flat = x.reshape(-1, *inner)
    found = found.reshape(len(flat), -1, depth)
    rows = torch.arange(len(flat), device=x.device)[:, None].expand(found.shape[:2])
    return flat[(rows, *found.unbind(-1))].reshape(*indices.shape[:-1], *inner[depth:])


def _expand(node: Node, x: Tensor, shape: Tensor) -> Tensor:
    return x.expand(np.broadcast_shapes(tuple(x.shape), tuple(_numbers(shape))))


def _constant_of_shape(node: Node, shape: Tensor) -> Tensor:
    value = node.get("value")
    filled = torch.zeros(1) if value is None else torch.from_numpy(value.copy())
    return filled.reshape(()).expand(_numbers(shape)).contiguous()


def _range(node: Node, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    return torch.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype)


TABLE: Final[dict[str, Operator]] = {
    "Cast": _cast,
    "CastLike": lambda node, x, like: x.to(like.dtype),
    "Shape": _shape,
    "Size": lambda node, x: torch.tensor(x.numel(), dtype=torch.int64),
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "GatherND": _gather_nd,
    "Expand": _expand,
    "Tile": lambda node, x, repeats: x.repeat(_numbers(repeats)),
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
}
