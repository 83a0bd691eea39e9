"""A base that is only an ONNX file: read as a torch module, adapted, and written back into its own graph."""

from facesmith.models.onnx.to_torch.base import OnnxGenerator, load
from facesmith.models.onnx.to_torch.described import Described, describe

__all__ = ["Described", "OnnxGenerator", "describe", "load"]
