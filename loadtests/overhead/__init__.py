"""What the hybrid costs: measured against its ONNX twin called directly, in turns, on one server."""
