"""The network of a base, whatever file it lies in, by the names that adapters know its layers by."""

from pathlib import Path
from typing import Any

import onnx
from torch import nn

from facesmith.errors import UserError
from facesmith.models.checkpoint import load_module
from facesmith.models.onnx.to_torch.graph import read
from facesmith.models.onnx.to_torch.module import OnnxModule


def base_of(path: Path) -> nn.Module:
    """Give the network of a checkpoint, or of an .onnx or .dfm file as `OnnxBase` names its layers.

    Raises:
        UserError: missing, damaged, or nothing that an adapter fits.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a model's checkpoint, .onnx or .dfm")
    if path.suffix == ".ckpt":
        module: Any = load_module(path)
        generator = getattr(module, "generator", None)
        if not isinstance(generator, nn.Module):
            raise UserError(f"{path}: holds a {type(module).__name__}, not a swapper; give a swapper's checkpoint")
        return generator
    return nn.ModuleDict({"graph": OnnxModule(read(onnx.load(str(path))), f"model={path}")})
