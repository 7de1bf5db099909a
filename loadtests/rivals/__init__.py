"""What a user would take instead, measured beside the hybrid on the same file: FastAPI, and ONNX Runtime alone."""
