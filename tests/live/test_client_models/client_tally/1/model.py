import json
from collections import Counter

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Counts the requests by their parameter `key`; fails with the code named `fail`, or answers with the count."""

    def initialize(self, args):
        self.seen = Counter()

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        parameters = json.loads(request.parameters())
        self.seen[parameters["key"]] += 1
        if "fail" in parameters:
            error = pb_utils.TritonError("told to fail", getattr(pb_utils.TritonError, parameters["fail"]))
            return pb_utils.InferenceResponse(error=error)
        seen = np.array([self.seen[parameters["key"]]], dtype=np.int32)
        return pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor("seen", seen)])
