import json
import time

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Sleeps `sleep_ms`, then answers y = x, and its parameters as JSON."""

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        parameters = json.loads(request.parameters())
        time.sleep(parameters.get("sleep_ms", 0) / 1000)
        x = pb_utils.get_input_tensor_by_name(request, "x").as_numpy()
        text = np.array([json.dumps(parameters).encode()], dtype=object)
        return pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor("y", x), pb_utils.Tensor("parameters", text)])
