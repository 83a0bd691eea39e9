"""Shared by the warping networks: a convolution block, resizing, full precision, and pixel coordinates."""

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

P = ParamSpec("P")
M = TypeVar("M", bound=nn.Module)
R = TypeVar("R")


def in_full_precision(
    forward: Callable[Concatenate[M, Tensor, P], R],
) -> Callable[Concatenate[M, Tensor, P], R]:
    """Make a module's forward pass compute in float32 where automatic mixed precision is on.

    It would run every product of matrices in bfloat16, and geometry is made of these: landmarks would move by half a
    pixel, moments cancel to NaN, and what is resized would keep 256 levels of colour.

    Args:
        forward: The method; its first argument is a tensor of the device.
    """

    @functools.wraps(forward)
    def wrapped(module: M, first: Tensor, /, *args: P.args, **kwargs: P.kwargs) -> R:
        device = first.device.type
        if not torch.is_autocast_enabled(device):
            return forward(module, first, *args, **kwargs)
        with torch.autocast(device, enabled=False):
            return forward(module, first.float(), *args, **kwargs)

    return wrapped


def conv_block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Return a 3x3 convolution, batch normalisation and leaky ReLU.

    Args:
        inputs: Input channels.
        outputs: Output channels.
        stride: Stride of the convolution.
    """
    convolution = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.1, inplace=True))


def shrink(picture: Tensor, size: int) -> Tensor:
    """Downsample a picture by averaging; a smaller one is returned unchanged.

    Args:
        picture: (N,C,S,S).
        size: Target side in px; divides S.
    """
    factor = int(picture.shape[-1]) // size
    return F.avg_pool2d(picture, factor) if factor > 1 else picture


def resize(planes: Tensor, size: int, mode: str) -> Tensor:
    """Interpolate planes to another size.

    Both passes are products with a small matrix, which is what the interpolation is: onnxruntime's own cubic operator
    took most of a swap's time.

    Args:
        planes: (N,C,S,S).
        size: Target side in px.
        mode: "bilinear" or "bicubic", as in `torch.nn.functional.interpolate`.
    """
    side = int(planes.shape[-1])
    if side == size:
        return planes
    weights = torch.as_tensor(_interpolation_matrix(side, size, mode), dtype=planes.dtype, device=planes.device)
    return weights @ planes @ weights.T


@functools.cache
def _interpolation_matrix(side: int, size: int, mode: str) -> npt.NDArray[np.float32]:
    """Return the (size,side) matrix that interpolates a column.

    OpenCV's kernels are those of `torch.nn.functional.interpolate`, and it stays out of a traced graph, where torch's
    cubic interpolation becomes hundreds of operators.
    """
    kernels = {"bicubic": cv2.INTER_CUBIC, "bilinear": cv2.INTER_LINEAR}
    return np.asarray(cv2.resize(np.eye(side, dtype=np.float32), (side, size), interpolation=kernels[mode]), np.float32)


def pixel_centres(size: int, like: Tensor) -> Tensor:
    """Return x and y of the pixels' centres.

    Args:
        size: Side in px.
        like: Tensor whose type and device the result has.

    Returns:
        (2,size,size), -1..1 from edge to edge.
    """
    at = (torch.arange(size, dtype=like.dtype, device=like.device) + 0.5) * (2 / size) - 1
    return torch.stack([at[None].expand(size, size), at[:, None].expand(size, size)])
