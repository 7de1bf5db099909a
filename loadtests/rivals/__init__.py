"""What a user would take instead, measured beside the hybrid on the same file: FastAPI, and ONNX Runtime alone."""

__all__ = ["FASTAPI", "IN_PROCESS", "RIVALS"]

# The kinds of users that ask no Triton: a hand-written server, and none at all.
FASTAPI = "FastApiHttp"
IN_PROCESS = "InProcess"
RIVALS = (FASTAPI, IN_PROCESS)
