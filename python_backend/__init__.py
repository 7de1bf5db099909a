"""Code that runs inside Triton: the hybrid, the original, and the stand-in for the ONNX Runtime backend."""
