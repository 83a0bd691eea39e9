"""A base that is only an ONNX file: read as a torch module, adapted, and written back into its own graph."""

from facesmith.adapters.onnx_base.base import OnnxBase, load

__all__ = ["OnnxBase", "load"]
