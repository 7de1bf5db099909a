"""A twin that does as it is told: y = 2 x + 1, or what `behaviour.json` beside its versions says of a row that starts
with a certain value. `seen` tells what it was asked."""

import json
import time
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self._behaviour = Path(args["model_repository"]) / "behaviour.json"
        self._leaked = []
        self._outputs = {o["name"]: o["data_type"] for o in json.loads(args["model_config"])["output"]}

    def execute(self, requests):
        behaviour = json.loads(self._behaviour.read_text())
        if "leak_kb" in behaviour:
            self._leaked.append(np.ones(behaviour["leak_kb"] << 10, np.uint8))
        return [self._answer(request, behaviour) for request in requests]

    def _answer(self, request, behaviour):
        inputs = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
        x = inputs["x"]
        starts = [str(row.reshape(-1)[0]) if row.size else "" for row in x] if x.ndim > 1 else [str(x[0])]
        time.sleep(max([behaviour.get("sleep_s", {}).get(key, 0.0) for key in [*starts, "all"]]))
        for key in [*starts, "all"]:
            if key in behaviour.get("error", {}):
                return pb_utils.InferenceResponse(error=pb_utils.TritonError(behaviour["error"][key]))
        # "x_INT8" has its answer in "y_INT8".
        outputs = {f"y{name[1:]}": self._y(array) for name, array in inputs.items() if f"y{name[1:]}" in self._outputs}
        for row, key in enumerate(starts):
            if key in behaviour.get("nan", []):
                outputs["y"] = outputs["y"].copy()
                outputs["y"][row if x.ndim > 1 else ...] = np.nan
        if "seen" in self._outputs:
            seen = {
                "rows": len(x),
                "request_id": request.request_id(),
                "correlation_id": request.correlation_id(),
                "parameters": json.loads(request.parameters() or "{}"),
                "timeout": request.timeout(),
                "asked": sorted(request.requested_output_names()),
            }
            outputs["seen"] = np.full((len(x), 1), json.dumps(seen).encode(), object)
        self._spoil(outputs, behaviour)
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in outputs.items()])

    @staticmethod
    def _spoil(outputs, behaviour):
        for name in behaviour.get("missing", []):
            outputs.pop(name)
        if "dtype" in behaviour:
            outputs["y"] = outputs["y"].astype(behaviour["dtype"])
        if "offset" in behaviour:
            outputs["y"] = outputs["y"] + np.asarray(behaviour["offset"], outputs["y"].dtype)
        if behaviour.get("strided"):
            outputs["y"] = np.repeat(outputs["y"], 2, axis=-1)[..., ::2]
        if behaviour.get("drop_a_row"):
            outputs["y"] = outputs["y"][:-1]

    @staticmethod
    def _y(x):
        if x.dtype.kind in "OS":
            return np.array([value + b"!" for value in x.reshape(-1)], object).reshape(x.shape)
        if x.dtype.kind == "b":
            return ~x
        return (x * 2 + 1).astype(x.dtype)
