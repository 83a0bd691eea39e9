"""Face recognisers as frozen, differentiable torch modules, for identity losses.

They compute the same graphs that onnxruntime runs in the analyzers and in the evaluation, and agree with them to 1e-4.
"""

from pathlib import Path
from typing import Final, Self

import onnx
import torch
from google.protobuf.message import DecodeError
from torch import Tensor, nn
from torch.nn import functional

from facesmith import assets
from facesmith.errors import UserError
from facesmith.faces.analyzers.onnx_graph import fold_constants
from facesmith.models.onnx.from_tfjs import convert
from facesmith.models.onnx.to_torch.module import OnnxModule
from facesmith.models.onnx.to_torch.reading import fold_batch_norms, read

CROP: Final = 112
# An arcface_128 crop holds the recogniser's arcface_112_v2 crop at whole pixels.
_ROWS: Final = slice(0, 112)
_COLUMNS: Final = slice(8, 120)
FACERES_CROP: Final = 224
FACERES_MEANS: Final = (103.939, 116.779, 123.68)
"""Of blue, green and red, 0..255, that it was trained with."""


class Recogniser(nn.Module):
    """A trained recogniser that is read from an ONNX file.

    It stays in eval mode whatever its owner is set to. Its weights take no gradient and are not in `state_dict`: they
    come from the file.

    Attributes:
        name: Of the recogniser, as profiles and face sets name their embedder.
        embedding_size: Length of its embeddings.
    """

    name: str

    def __init__(self, path: Path) -> None:
        """Read the file.

        Args:
            path: An ONNX file with one picture (N,3,112,112) as input and one embedding (N,E) as output.

        Raises:
            UserError: The file is no such recogniser.
        """
        super().__init__()
        self._network = _read(path)
        self.eval()
        try:
            with torch.no_grad():
                shape = self(torch.zeros(1, 3, CROP, CROP)).shape
        except (RuntimeError, ValueError, IndexError) as error:
            why = " ".join(str(error).split())[:120]
            raise UserError(f"{path}: takes no picture (1,3,{CROP},{CROP}) ({why}); give a recogniser's file") from None
        if len(shape) != 2:
            raise UserError(f"{path}: gives {tuple(shape)}, not one embedding a face; give a recogniser's file")
        self.embedding_size = int(shape[1])

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode: the normalisation must not follow the batch."""
        return super().train(False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Compute embeddings (N,E), as the file returns them.

        Args:
            pictures: (N,3,112,112) RGB -1..1 on the template arcface_112_v2.
        """
        (embeddings,) = self._network(self._scale(pictures))
        return torch.as_tensor(embeddings)

    def embed(self, pictures: Tensor) -> Tensor:
        """Compute L2-normalised embeddings (N,E), differentiable in the pictures.

        Args:
            pictures: RGB -1..1: (N,3,112,112) on the template arcface_112_v2 or (N,3,128,128) on arcface_128.

        Raises:
            ValueError: The pictures have another size.
        """
        if pictures.shape[-2:] == (128, 128):
            pictures = pictures[..., _ROWS, _COLUMNS]
        if pictures.shape[-2:] != (CROP, CROP):
            raise ValueError(f"pictures are {tuple(pictures.shape[-2:])}, not (112, 112) or (128, 128)")
        return functional.normalize(self(pictures), dim=1)

    def _scale(self, pictures: Tensor) -> Tensor:
        """Return pictures in the value range of the file."""
        return pictures


class SFace(Recogniser):
    """SFace's MobileFaceNet, E = 128. Source: Zhong et al., SFace, 2021; OpenCV zoo, Apache-2.0."""

    name = "sface"

    def __init__(self, path: Path | None = None) -> None:
        """Read sface.onnx, the asset where no path is given."""
        super().__init__(path or assets.fetch("sface.onnx"))

    def _scale(self, pictures: Tensor) -> Tensor:
        return (pictures + 1) * 127.5


class ArcFace(Recogniser):
    """ArcFace's improved ResNet of any depth; E = 512 for buffalo_l, whose weights are non-commercial.

    Source: Deng et al., ArcFace, 2019; insightface.
    """

    name = "arcface_w600k_r50"

    def __init__(self, path: Path | None = None) -> None:
        """Read w600k_r50.onnx, that of the asset buffalo_l where no path is given."""
        super().__init__(path or assets.fetch("buffalo_l") / "w600k_r50.onnx")


class Faceres(nn.Module):
    """The face descriptor of HSE_FaceRec_tf, a MobileNet, E = 1024. Nothing here is trained against it.

    Frozen and differentiable. Source: Savchenko, Efficient facial representations for age, gender and identity
    recognition, 2019; in the package of Human.
    """

    name = "faceres"
    embedding_size: Final = 1024

    def __init__(self) -> None:
        """Convert its graph.

        Raises:
            UserError: As `assets.fetch`, when the files cannot be had.
        """
        super().__init__()
        self._network = OnnxModule(read(convert_faceres()), "faceres.json")
        _keep_out_of_checkpoints(self._network)
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode."""
        return super().train(False)

    def embed(self, pictures: Tensor) -> Tensor:
        """Compute L2-normalised embeddings (N,E), differentiable in the pictures.

        Args:
            pictures: (N,3,S,S) RGB -1..1 on the template arcface_128.
        """
        size = (FACERES_CROP, FACERES_CROP)
        scaled = functional.interpolate(pictures, size, mode="bilinear", antialias=True, align_corners=False)
        means = torch.tensor(FACERES_MEANS, device=pictures.device, dtype=pictures.dtype)[:, None, None]
        (embeddings,) = self._network((scaled.flip(1) + 1) * 127.5 - means)
        return functional.normalize(torch.as_tensor(embeddings), dim=1)


def convert_faceres() -> onnx.ModelProto:
    """Return faceres as an ONNX model.

    Its input `input` (N,3,224,224) is BGR 0..255 less FACERES_MEANS, its output (N,1024) is not normalised.

    Raises:
        UserError: As `assets.fetch`, when the files cannot be had.
    """
    return convert(assets.fetch("faceres.json"), assets.fetch("faceres.bin"), "global_pooling/Mean")


def _read(path: Path) -> OnnxModule:
    try:
        model = fold_constants(path)
    except (DecodeError, OSError) as error:
        raise UserError(f"{path}: cannot be read as ONNX ({error}); give a recogniser's .onnx file") from None
    inputs, outputs = len(model.graph.input), len(model.graph.output)
    if (inputs, outputs) != (1, 1):
        raise UserError(
            f"{path}: has {inputs} inputs and {outputs} outputs, a recogniser has one of each; give a recogniser's "
            ".onnx file"
        )
    network = OnnxModule(fold_batch_norms(read(model)), path, hint="give a recogniser's .onnx file")
    _keep_out_of_checkpoints(network)
    return network


def _keep_out_of_checkpoints(network: nn.Module) -> None:
    """Turn all parameters and buffers into non-persistent buffers."""
    for module in network.modules():
        held = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
        for name, value in held:
            delattr(module, name)
            module.register_buffer(name, value.detach(), persistent=False)
