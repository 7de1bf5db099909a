import os
import time

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Gives back what it gets, after as many seconds as the first number says; negative: its own process id."""

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        x = pb_utils.get_input_tensor_by_name(request, "x").as_numpy()
        time.sleep(max(0.0, float(x.flat[0])))
        y = np.full_like(x, os.getpid()) if x.flat[0] < 0 else x
        return pb_utils.InferenceResponse([pb_utils.Tensor("y", y)])
