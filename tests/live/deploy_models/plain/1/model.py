"""A twin that answers nothing but errors: no hybrid, so the health check must not ask it."""

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        error = pb_utils.TritonError("asked although it is no hybrid")
        return [pb_utils.InferenceResponse([], error) for _ in requests]
