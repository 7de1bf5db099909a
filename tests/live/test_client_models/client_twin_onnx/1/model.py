import time

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Answers y = 2x, 5 ms a row."""

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        x = pb_utils.get_input_tensor_by_name(request, "x").as_numpy()
        time.sleep(0.005 * len(x))
        return pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor("y", x * 2)])
