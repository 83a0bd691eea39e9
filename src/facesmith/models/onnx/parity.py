"""Compare an exported graph with the module it was made from."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import onnxruntime
import torch
from skimage import data as pictures
from torch import Tensor

from facesmith.models.onnx.export_spec import ExportError, ExportSpec
from facesmith.models.onnx.info import LANDMARKS
from facesmith.models.onnx.landmark_input import FindsLandmarks


@dataclass(frozen=True)
class Parity:
    """Result of comparing a graph with its module.

    Attributes:
        worst: Largest absolute difference.
        cases: Number of batches compared.
        covered: Mean of the masks, 0..1.
    """

    worst: float
    cases: int
    covered: float


def parity(spec: ExportSpec, data: bytes, tolerance: float, batches: tuple[int, ...]) -> Parity:
    """Compare a graph, run by onnxruntime, with its module, on an example, a portrait, a gradient and noise.

    Args:
        spec: Module, example inputs and names of the outputs.
        data: The serialised graph.
        tolerance: Largest absolute difference that is allowed.
        batches: Batch sizes to compare at.

    Raises:
        ExportError: An output is not finite, or differs by more than `tolerance`; the error names it and the picture.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    worst, cases, covered = 0.0, 0, 0.0
    for batch in batches:
        for kind, feed, optional in _with_optional(spec, batch):
            with torch.no_grad():
                expected = spec.module(*feed.values(), **optional)
                expected = (expected,) if isinstance(expected, Tensor) else expected
            given = session.run(spec.outputs, {name: value.numpy() for name, value in {**feed, **optional}.items()})
            for name, ours, theirs in zip(spec.outputs, given, expected, strict=True):
                if not theirs.isfinite().all():
                    raise ExportError(
                        f"output {name!r} of the network itself is not finite on {batch} x {kind}: the training "
                        "diverged; lower model.optimizer.lr, or export an earlier checkpoint"
                    )
                difference = float(np.abs(ours - theirs.numpy()).max())
                if not difference <= tolerance:
                    raise ExportError(
                        f"output {name!r} of the graph differs from torch by {difference:.1e} "
                        f"(allowed {tolerance:.0e}) on {batch} x {kind}"
                    )
                worst = max(worst, difference)
            covered += float(given[spec.outputs.index(spec.mask)].mean())
            cases += 1
    return Parity(worst, cases, covered / cases)


def _with_optional(spec: ExportSpec, batch: int) -> Iterator[tuple[str, dict[str, Tensor], dict[str, Tensor]]]:
    """Yield inputs to compare on, and optional ones: none, and on a portrait its landmarks, moved a little."""
    for kind, feed in _feeds(spec, batch):
        yield kind, feed, {}
        if spec.optional and kind == "a portrait":
            target = feed[spec.picture]
            with torch.no_grad():
                landmarks, _ = cast(FindsLandmarks, spec.module).find_landmarks(target)
            middle = target.shape[2] / 2
            yield f"{kind} with landmarks", feed, {LANDMARKS: (landmarks - middle) * 1.03 + middle}


def _feeds(spec: ExportSpec, batch: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield inputs to compare on: the example, a portrait under several lights, a soft gradient, noise."""
    generator = torch.Generator().manual_seed(batch)
    kinds = ("the example", "a portrait", "a gradient", "noise")
    for kind in kinds:
        feed = {}
        for name, example in spec.inputs.items():
            shape = (batch, *example.shape[1:])
            bgr = spec.pictures == "bgr" and len(shape) == 4
            if bgr:
                shape = (batch, shape[3], shape[1], shape[2])
            if kind == "the example":
                feed[name] = example.expand(batch, *example.shape[1:]).contiguous()
                continue
            if len(shape) != 4:
                value = torch.nn.functional.normalize(torch.randn(shape, generator=generator), dim=-1)
            elif kind == "a portrait":
                light = torch.rand((batch, 1, 1, 1), generator=generator) * 0.8 + 0.2
                value = (_portrait(shape[-1]) + 1) * light - 1
            elif kind == "a gradient":
                coarse = torch.rand((batch, shape[1], 4, 4), generator=generator) * 2 - 1
                value = torch.nn.functional.interpolate(coarse, size=shape[-2:], mode="bilinear")
            else:
                value = torch.rand(shape, generator=generator) * 2 - 1
            feed[name] = (((value + 1) / 2).permute(0, 2, 3, 1).flip(-1) if bgr else value).contiguous()
        yield kind, feed


def _portrait(size: int) -> Tensor:
    """Return a real face (1,3,S,S) RGB -1..1, placed as in `arcface_128`: a portrait of scikit-image."""
    pixels: np.ndarray = pictures.astronaut()
    face = torch.from_numpy(pixels[38:186, 150:298].copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    return torch.nn.functional.interpolate(face, size=(size, size), mode="bilinear", antialias=True)
