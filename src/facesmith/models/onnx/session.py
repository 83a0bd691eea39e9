"""Run a swapper on aligned crops, whatever file it comes from."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from facesmith.errors import UserError
from facesmith.models.adapters.spec import AdapterSpec
from facesmith.models.onnx.graph import OnnxGraph, format_shape
from facesmith.models.onnx.identity_encoding import Encode, identity_encoder
from facesmith.models.onnx.info import Floats, SwapperInfo
from facesmith.models.onnx.swapper_file import describe_graph

if TYPE_CHECKING:
    from facesmith.models.onnx.export_spec import ExportSpec

Pixels = npt.NDArray[np.uint8]
Level = TypeVar("Level", np.uint8, np.float32)
Network = Callable[[Mapping[str, Floats]], Mapping[str, Floats]]
"""From input tensors by name to output tensors by name."""

_ERODE: Final = 2  # rounds of a 3x3 ellipse: a bare face's mask keeps clear of its rim
_SIGMA: Final = 6.25  # px
_PIXEL_CENTRE: Final = np.array([0.5, 0.5, 0.0], np.float32)


class Swapper:
    """A swapper ready for use; may be called from several threads.

    Attributes:
        info: What it is: its crops, identity and provenance.
    """

    def __init__(
        self,
        info: SwapperInfo,
        network: Network,
        *,
        encode: Encode = lambda source: source,
        morph: float = 1.0,
    ) -> None:
        """Wrap a network.

        Args:
            info: What the network is.
            network: Computes its tensors.
            encode: Turns an embedding (N,E) or photo (N,3,P,P) into the network's source, see `identity_encoder`.
            morph: How far towards the person to go, 0..1, for networks that take it.
        """
        self.info = info
        self._network = network
        self._encode = encode
        self._morph = np.full(1, morph, np.float32)

    def __call__(
        self, crops: npt.NDArray[Level], source: Floats | None = None, landmarks: Floats | None = None
    ) -> tuple[npt.NDArray[Level], Floats]:
        """Swap aligned faces.

        Args:
            crops: (N,S,S,3) RGB on the template, uint8, or float32 in 0..255 for deeper colours.
            source: The person: an L2-normalised embedding (E,) or (N,E), or a photo (3,P,P) RGB 0..1; None exactly
                when the identity is baked in.
            landmarks: Of the crops, (N,478,3) px, where (0, 0) is the centre of the top left pixel; the swapper finds
                them where None. Only one with `info.takes_landmarks` takes them.

        Returns:
            The crops with the face swapped, like `crops`, and (N,S,S) float32 in 0..1: what of them was changed.

        Raises:
            ValueError: The crops have another shape, or a source is missing or not taken, or landmarks are not taken.
            UserError: The network returns tensors of other shapes than its contract states.
        """
        info, tensors = self.info, self.info.tensors
        size = info.size
        if crops.ndim != 4 or crops.shape[1:] != (size, size, 3) or crops.dtype not in (np.uint8, np.float32):
            raise ValueError(f"crops are {crops.dtype} {crops.shape}, not uint8 (N, {size}, {size}, 3) or float32")
        if (source is None) != info.identity_baked_in:
            raise ValueError(f"source is {'missing' if source is None else 'not taken'}: see info.identity_baked_in")
        if landmarks is not None and not info.takes_landmarks:
            raise ValueError("landmarks are not taken: see info.takes_landmarks")
        feed = {tensors.target: _to_target(crops, info)}
        if landmarks is not None:
            feed[tensors.landmarks] = np.ascontiguousarray(landmarks + _PIXEL_CENTRE, np.float32)
        if source is not None:
            one = source[None] if info.photo else np.atleast_2d(source)
            feed[tensors.source] = _repeat(self._encode(one), len(crops))
        if tensors.morph is not None:
            feed[tensors.morph] = self._morph
        made = self._network(feed)
        picture, masks = made[tensors.output], [made[name] for name in tensors.masks]
        self._check_shapes(feed[tensors.target], picture, masks)
        mask = _combine(masks, crops)
        finished = _from_output(picture, info)
        if not tensors.composited:
            mask = np.stack([_soften(each) for each in mask])
            finished = crops + (finished - crops) * mask[..., None]
        finished = np.clip(finished, 0, 255)
        return (np.rint(finished) if crops.dtype == np.uint8 else finished).astype(crops.dtype), mask

    def _check_shapes(self, target: Floats, picture: Floats, masks: list[Floats]) -> None:
        wrong = [picture.shape != target.shape, *(mask.size * 3 != target.size for mask in masks)]
        for array, broken in zip((picture, *masks), wrong, strict=True):
            if broken:
                raise UserError(
                    f"model={self.info.path}: wrong contract ({self.info.kind}): an output is {format_shape(array)}, "
                    f"its target {format_shape(target)}; choose another task.model_type"
                )


def _to_target(crops: Pixels | Floats, info: SwapperInfo) -> Floats:
    """Return what the network takes of crops (N,S,S,3) RGB."""
    tensors = info.tensors
    divisor, shift = (_per_channel(each) for each in tensors.target_scaling(0, 255))
    pictures = crops if tensors.channels == "RGB" else crops[..., ::-1]
    if not tensors.channels_last:
        pictures = pictures.transpose(0, 3, 1, 2)
        divisor, shift = divisor.reshape(-1, 1, 1), shift.reshape(-1, 1, 1)
    return np.ascontiguousarray(pictures.astype(np.float32, copy=False) / divisor - shift)


def _from_output(picture: Floats, info: SwapperInfo) -> Floats:
    """Return a network's picture as (N,S,S,3) RGB 0..255, neither rounded nor clipped."""
    tensors = info.tensors
    divisor, shift = (_per_channel(each) for each in tensors.output_scaling(0, 255))
    if not tensors.channels_last:
        picture = picture.transpose(0, 2, 3, 1)
    pixels = (picture + shift) * divisor
    return np.asarray(pixels if tensors.channels == "RGB" else pixels[..., ::-1], np.float32)


def _per_channel(values: Floats) -> Floats:
    """Return one number where all channels have the same: it is broadcast faster."""
    return values[:1] if (values == values[0]).all() else values


def _combine(masks: list[Floats], crops: Pixels | Floats) -> Floats:
    """Return the masks' minimum, (N,S,S) 0..1."""
    if not masks:
        return np.ones(crops.shape[:3], np.float32)
    return np.clip(np.minimum.reduce(masks).reshape(crops.shape[:3]), 0, 1).astype(np.float32)


def _soften(mask: Floats) -> Floats:
    """Erode and blur a mask (S,S), so that a bare face can be blended under it."""
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    eroded = cv2.erode(mask, ellipse, iterations=_ERODE)
    return np.asarray(cv2.GaussianBlur(eroded, (0, 0), _SIGMA), np.float32)


def _repeat(source: Floats, count: int) -> Floats:
    return np.ascontiguousarray(np.broadcast_to(source, (count, *source.shape[1:])), np.float32)


def load_swapper(
    path: Path,
    *,
    model_type: str = "auto",
    converter: Path | None = None,
    raw_length: float = 1.0,
    morph: float = 1.0,
    threads: int = 1,
    adapters: AdapterSpec | None = None,
) -> Swapper:
    """Load a swapper of facesmith (.onnx, .ckpt), of another project (.onnx), or a .dfm.

    Args:
        path: The file; a checkpoint imports torch.
        model_type: Its kind, see `describe_graph`.
        converter: Crossface network, see `describe_graph`.
        raw_length: Length of an embedding before it was normalised, see `describe_graph`.
        morph: How far towards the person a .dfm goes, 0..1, where it takes that.
        threads: Number of threads that one call may use.
        adapters: Merged into the model, which imports torch; the file stays as it is.

    Raises:
        UserError: The file is missing, unreadable, or no swapper, or an adapter was trained on another model.
    """
    if not path.is_file():
        raise UserError(f"model={path}: no such file; give a swapper that was trained (.ckpt) or exported (.onnx)")
    if path.suffix == ".ckpt":
        if model_type not in ("auto", "facesmith"):
            raise UserError(f"task.model_type={model_type}: {path} is a checkpoint of facesmith; omit task.model_type")
        return _load_checkpoint(path, adapters)
    if path.suffix not in (".onnx", ".dfm"):
        raise UserError(f"model={path}: neither .onnx nor .dfm nor .ckpt; give a swapper that was trained or exported")
    graph = OnnxGraph(path, "model", threads)
    info = describe_graph(graph, model_type=model_type, converter=converter, raw_length=raw_length)
    if adapters is not None:
        from facesmith.models.adapters.merge import merge_into_file

        graph = OnnxGraph(path, "model", threads, merge_into_file(path, adapters).model.SerializeToString())
    outputs = [info.tensors.output, *info.tensors.masks]
    return Swapper(
        info,
        lambda feed: dict(zip(outputs, graph.run(feed, outputs), strict=True)),
        encode=identity_encoder(info),
        morph=morph,
    )


def _load_checkpoint(path: Path, adapters: AdapterSpec | None) -> Swapper:
    from facesmith.models.adapters.merge import merge_into_export
    from facesmith.models.checkpoint import load_module
    from facesmith.models.onnx.export_spec import Exports

    module = load_module(path)
    if not isinstance(module, Exports):
        raise UserError(f"model={path}: holds a {type(module).__name__}, not a swapper; give a swapper's checkpoint")
    spec = module.export_spec()
    info = SwapperInfo.from_metadata(spec.metadata, path, path=path)
    return Swapper(info, _torch_network(spec if adapters is None else merge_into_export(spec, adapters, path)))


def _torch_network(spec: "ExportSpec") -> Network:
    import torch

    module = spec.module.eval()

    def run(feed: Mapping[str, Floats]) -> Mapping[str, Floats]:
        with torch.inference_mode():
            optional = {name: torch.from_numpy(feed[name]) for name in spec.optional if name in feed}
            made = module(*(torch.from_numpy(feed[name]) for name in spec.inputs), **optional)
        return {name: value.numpy() for name, value in zip(spec.outputs, made, strict=True)}

    return run
