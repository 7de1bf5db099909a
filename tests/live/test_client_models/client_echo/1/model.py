import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        tensors = [pb_utils.Tensor(tensor.name() + "_back", tensor.as_numpy()) for tensor in request.inputs()]
        return pb_utils.InferenceResponse(output_tensors=tensors)
