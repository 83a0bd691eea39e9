"""ONNX graphs as torch modules: read, trained with adapters, and written back into their own file."""

from facesmith.models.onnx.to_torch.generator import OnnxGenerator, load_generator

__all__ = ["OnnxGenerator", "load_generator"]
