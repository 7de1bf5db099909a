"""The original as an ONNX graph: by the exporters of its framework."""
