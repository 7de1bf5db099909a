import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Answers with the mean of each picture and with the pictures themselves."""

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        pictures = pb_utils.get_input_tensor_by_name(request, "picture").as_numpy()
        mean = pictures.reshape(len(pictures), -1).mean(axis=1, keepdims=True).astype(np.float32)
        answers = {"mean": mean, "picture_back": pictures}
        wanted = request.requested_output_names()
        return pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor(name, answers[name]) for name in wanted])
