"""ONNX operators on neighbouring pixels: convolution, pooling, padding, resizing, sampling, normalisation."""

import math
from collections.abc import Sequence
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from facesmith.errors import UserError
from facesmith.models.onnx.to_torch.arithmetic import Operator
from facesmith.models.onnx.to_torch.reading import Node

_CONVOLVE: Final = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}
_TRANSPOSED: Final = {3: F.conv_transpose1d, 4: F.conv_transpose2d, 5: F.conv_transpose3d}
_AVERAGE: Final[dict[int, Any]] = {3: F.avg_pool1d, 4: F.avg_pool2d, 5: F.avg_pool3d}
_LARGEST: Final = {3: F.max_pool1d, 4: F.max_pool2d, 5: F.max_pool3d}
_LINEAR: Final = {3: "linear", 4: "bilinear", 5: "trilinear"}
_SAMPLED: Final = {"bilinear": "bilinear", "linear": "bilinear", "nearest": "nearest"} | dict.fromkeys(
    ("bicubic", "cubic"), "bicubic"
)
_ROUNDED: Final = {
    "floor": math.floor,
    "ceil": math.ceil,
    "round_prefer_floor": lambda x: math.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: math.floor(x + 0.5),
}
_PADDED: Final = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}


def padding(node: Node, sizes: Sequence[int], kernel: Sequence[int]) -> list[int]:
    """Return what a node adds around a picture.

    Args:
        node: The node.
        sizes: Of the picture.
        kernel: Of the convolution or pooling.

    Returns:
        In F.pad's order: last axis first, before and after.
    """
    pads = _begins_and_ends(node, sizes, kernel)
    half = len(pads) // 2
    return [pads[side * half + axis] for axis in reversed(range(half)) for side in (0, 1)]


def _begins_and_ends(node: Node, sizes: Sequence[int], kernel: Sequence[int]) -> list[int]:
    given = node.get("auto_pad", "NOTSET")
    if given in ("NOTSET", "VALID"):
        return list(node.get("pads") or [0] * (2 * len(kernel))) if given == "NOTSET" else [0] * (2 * len(kernel))
    strides = node.get("strides") or [1] * len(kernel)
    spread = node.get("dilations") or [1] * len(kernel)
    begins, ends = [], []
    for size, side, stride, step in zip(sizes, kernel, strides, spread, strict=True):
        more = max((-(-size // stride) - 1) * stride + (side - 1) * step + 1 - size, 0)
        few = more // 2
        begins.append(more - few if given == "SAME_LOWER" else few)
        ends.append(few if given == "SAME_LOWER" else more - few)
    return [*begins, *ends]


def _conv(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    x = F.pad(x, padding(node, x.shape[2:], weight.shape[2:]))
    strides, spread = node.get("strides") or 1, node.get("dilations") or 1
    return _CONVOLVE[x.dim()](x, weight, bias, strides, 0, spread, node.get("group", 1))


def _conv_transpose(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    axes = x.dim() - 2
    more = list(node.get("output_padding") or [0] * axes)
    strides = list(node.get("strides") or [1] * axes)
    spread = list(node.get("dilations") or [1] * axes)
    pads = list(node.get("pads") or [0] * (2 * axes))
    whole = _TRANSPOSED[x.dim()](x, weight, bias, strides, 0, more, node.get("group", 1), spread)
    return F.pad(whole, [-pads[side * axes + axis] for axis in reversed(range(axes)) for side in (0, 1)])


def _average_pool(node: Node, x: Tensor) -> Tensor:
    kernel = node.get("kernel_shape")
    pads = padding(node, x.shape[2:], kernel)
    average, strides, up = _AVERAGE[x.dim()], node.get("strides") or [1] * len(kernel), bool(node.get("ceil_mode", 0))
    pooled: Tensor = average(F.pad(x, pads), kernel, strides, 0, up)
    if node.get("count_include_pad", 0) or not any(pads):
        return pooled
    return pooled / average(F.pad(torch.ones_like(x[:1, :1]), pads), kernel, strides, 0, up)


def _max_pool(node: Node, x: Tensor) -> Tensor:
    kernel = node.get("kernel_shape")
    pads = padding(node, x.shape[2:], kernel)
    x = F.pad(x, pads, value=-torch.inf) if any(pads) else x
    strides, spread = node.get("strides") or [1] * len(kernel), node.get("dilations") or [1] * len(kernel)
    return _LARGEST[x.dim()](x, kernel, strides, 0, spread, bool(node.get("ceil_mode", 0)))


def _pad(
    node: Node, x: Tensor, pads: Tensor | None = None, value: Tensor | None = None, axes: Tensor | None = None
) -> Tensor:
    given = list(node.get("pads", [])) if pads is None else pads.tolist()
    over = list(range(x.dim())) if axes is None else [axis % x.dim() for axis in axes.tolist()]
    mode = _PADDED[node.get("mode", "constant")]
    sides = {axis: (given[i], given[len(over) + i]) for i, axis in enumerate(over)}
    flat = [step for axis in reversed(range(x.dim())) for step in sides.get(axis, (0, 0))]
    if mode == "constant":
        return F.pad(x, flat, value=float(node.get("value", 0.0) if value is None else value.item()))
    while len(flat) > 2 and not any(flat[-2:]):
        flat = flat[:-2]
    return F.pad(x, flat, mode=mode)


def _resize(
    node: Node, x: Tensor, roi: Tensor | None = None, scales: Tensor | None = None, sizes: Tensor | None = None
) -> Tensor:
    if node.opset < 11 and scales is None:
        scales = roi
    over = node.get("axes") or list(range(x.dim()))
    by = dict.fromkeys(range(x.dim()), 1.0)
    wanted = list(x.shape)
    if scales is not None and scales.numel():
        by |= {axis % x.dim(): float(step) for axis, step in zip(over, scales.tolist(), strict=True)}
        wanted = [math.floor(size * by[axis]) for axis, size in enumerate(x.shape)]
    elif sizes is not None:
        for axis, size in zip(over, sizes.tolist(), strict=True):
            wanted[axis] = size
        by = {axis: wanted[axis] / size for axis, size in enumerate(x.shape)}
    mode, coordinates = node.get("mode", "nearest"), _coordinates(node)
    if mode == "nearest":
        for axis in range(x.dim()):
            if wanted[axis] != x.shape[axis]:
                picked = _nearest(
                    wanted[axis], x.shape[axis], by[axis], coordinates, node.get("nearest_mode", _OLD[coordinates])
                )
                x = x.index_select(axis, torch.tensor(picked, device=x.device))
        return x
    if wanted[:2] != list(x.shape[:2]):
        raise UserError(f"model.base: {node}: resizing batch or channels is not supported; give a checkpoint")
    name = _LINEAR[x.dim()] if mode == "linear" else "bicubic"
    corners = coordinates == "align_corners"
    exact = all(wanted[axis] == x.shape[axis] * by[axis] for axis in range(2, x.dim()))
    if (corners and not exact) or (coordinates == "pytorch_half_pixel" and 1 in wanted[2:]):
        raise UserError(f"model.base: {node}: {coordinates} to {wanted} is not supported; give a checkpoint")
    scaled: dict[str, Any] = (
        {"size": wanted[2:]} if corners or exact else {"scale_factor": [by[axis] for axis in range(2, x.dim())]}
    )
    return F.interpolate(x, mode=name, align_corners=corners, **scaled)


_OLD: Final = {"asymmetric": "floor", "half_pixel": "round_prefer_floor"} | dict.fromkeys(
    ("pytorch_half_pixel", "align_corners"), "round_prefer_floor"
)


def _coordinates(node: Node) -> str:
    return str(node.get("coordinate_transformation_mode", "half_pixel" if node.opset >= 11 else "asymmetric"))


def _nearest(wanted: int, size: int, scale: float, where: str, mode: str) -> list[int]:
    """Return which pixel each of the `wanted` ones shows."""
    rounded = _ROUNDED[mode]
    if where == "align_corners":
        places = [i * (size - 1) / max(wanted - 1, 1) for i in range(wanted)]
    elif where == "asymmetric":
        places = [i / scale for i in range(wanted)]
    else:
        places = [(i + 0.5) / scale - 0.5 if wanted > 1 or where == "half_pixel" else 0.0 for i in range(wanted)]
    return [min(max(int(rounded(place)), 0), size - 1) for place in places]


def _grid_sample(node: Node, x: Tensor, grid: Tensor) -> Tensor:
    mode = _SAMPLED[node.get("mode", "bilinear")]
    padded = node.get("padding_mode", "zeros")
    return F.grid_sample(x, grid, mode, padded, align_corners=bool(node.get("align_corners", 0)))


def _depth_to_space(node: Node, x: Tensor) -> Tensor:
    side = node.get("blocksize")
    if node.get("mode", "DCR") == "CRD":
        return F.pixel_shuffle(x, side)
    n, c, h, w = x.shape
    blocks = x.reshape(n, side, side, c // side**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return blocks.reshape(n, c // side**2, h * side, w * side)


def _space_to_depth(node: Node, x: Tensor) -> Tensor:
    side = node.get("blocksize")
    if node.get("mode", "DCR") == "CRD":
        return F.pixel_unshuffle(x, side)
    n, c, h, w = x.shape
    blocks = x.reshape(n, c, h // side, side, w // side, side).permute(0, 3, 5, 1, 2, 4)
    return blocks.reshape(n, c * side**2, h // side, w // side)


def _batch_norm(node: Node, x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    return F.batch_norm(x, mean, var, scale, shift, False, 0.0, node.get("epsilon", 1e-5))


def _instance_norm(node: Node, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return F.instance_norm(x, None, None, scale, shift, True, 0.0, node.get("epsilon", 1e-5))


def _layer_norm(node: Node, x: Tensor, scale: Tensor, shift: Tensor | None = None) -> Tensor:
    axis = node.get("axis", -1) % x.dim()
    normal = F.layer_norm(x, x.shape[axis:], None, None, node.get("epsilon", 1e-5)) * scale
    return normal if shift is None else normal + shift


def _group_norm(node: Node, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    groups = node.get("num_groups")
    if scale.numel() == groups != x.shape[1]:  # before opset 21 a group has one
        scale, shift = (each.repeat_interleave(x.shape[1] // groups) for each in (scale, shift))
    return F.group_norm(x, groups, scale, shift, node.get("epsilon", 1e-5))


def unsupported(node: Node) -> str | None:
    """Return what of an operator of this table is not supported as a node uses it; None where all is."""
    get = node.get
    if node.op == "Resize":
        return _unsupported_resize(node)
    wrong = {
        f"mode {get('mode')}": node.op == "Pad" and get("mode", "constant") not in _PADDED,
        "its dilations": node.op == "AveragePool" and any(step != 1 for step in get("dilations", [])),
        "a last window on the border": node.op == "AveragePool" and get("ceil_mode", 0) and any(get("pads") or []),
        "auto_pad": node.op == "ConvTranspose" and get("auto_pad", "NOTSET") != "NOTSET",
        "output_shape": node.op == "ConvTranspose" and get("output_shape"),
        "training_mode": node.op == "BatchNormalization" and get("training_mode", 0),
    }
    return next((what for what, found in wrong.items() if found), None)


def _unsupported_resize(node: Node) -> str | None:
    mode, coordinates = node.get("mode", "nearest"), _coordinates(node)
    known = {"nearest": set(_OLD), "linear": set(_OLD) - {"asymmetric"}, "cubic": set(_OLD) - {"asymmetric"}}
    if coordinates not in known.get(mode, set()):
        return f"mode {mode} with {coordinates}"
    if mode == "cubic" and (node.get("cubic_coeff_a", -0.75) != -0.75 or node.get("exclude_outside", 0)):
        return "this kind of cubic"
    if mode == "nearest" and node.get("nearest_mode", "floor") not in _ROUNDED:
        return f"nearest_mode {node.get('nearest_mode')}"
    if mode != "nearest" and node.get("antialias", 0):
        return "antialias"
    policy = node.get("keep_aspect_ratio_policy", "stretch")
    return None if policy == "stretch" else f"keep_aspect_ratio_policy {policy}"


TABLE: Final[dict[str, Operator]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "AveragePool": _average_pool,
    "MaxPool": _max_pool,
    "GlobalAveragePool": lambda node, x: x.mean(tuple(range(2, x.dim())), keepdim=True),
    "GlobalMaxPool": lambda node, x: x.amax(tuple(range(2, x.dim())), keepdim=True),
    "Pad": _pad,
    "Resize": _resize,
    "Upsample": _resize,
    "GridSample": _grid_sample,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
    "BatchNormalization": _batch_norm,
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "GroupNormalization": _group_norm,
}
