"""ONNX graphs: looked at, and rewritten without changing what they say."""
