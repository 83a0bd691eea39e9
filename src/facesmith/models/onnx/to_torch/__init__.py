"""ONNX graphs as torch modules: read, trained with adapters, and written back into their own file."""
