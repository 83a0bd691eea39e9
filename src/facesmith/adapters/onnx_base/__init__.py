"""A base that is only an ONNX file: read as a torch module, adapted, and written back into its own graph."""

from facesmith.adapters.onnx_base.base import OnnxBase, load
from facesmith.adapters.onnx_base.described import Described, describe

__all__ = ["Described", "OnnxBase", "describe", "load"]
