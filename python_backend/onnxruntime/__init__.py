"""Stand-in for Triton's C++ ONNX Runtime backend, for servers that have only the Python backend.

Triton imports `model.py` as a module of that name; everything else here is this package's. Where NVIDIA's image has
`libtriton_onnxruntime.so`, Triton takes that one and never looks here. So the stand-in loads what the C++ backend
loads, refuses what it refuses, and completes a configuration to the same fields; tests/conformance holds the cases.
"""
