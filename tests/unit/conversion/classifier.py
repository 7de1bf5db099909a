"""A small classifier whose original is an ONNX graph too, so that no framework is needed."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from conversion.proof.parity import Twin

SIZE = (3, 12, 12)
CLASSES = 5


def classifier(seed=0, wild=False):
    """Two convolutions, a pool and a matrix: [batch, 3, 12, 12] -> [batch, 5].

    `wild` sets one channel a thousand times as large as the others, which eight bits for a whole tensor cannot hold.
    """
    rng = np.random.default_rng(seed)
    first, second = rng.standard_normal((16, 3, 3, 3)), rng.standard_normal((16, 16, 3, 3)) / 12
    if wild:
        first[0] *= 1000
        second[:, 0] /= 1000
    weights = {"w1": first, "w2": second, "w3": rng.standard_normal((16, CLASSES)), "offset": np.zeros(CLASSES)}
    # Centred, so that no class wins for every input.
    weights["offset"] = -Twin(_graph(weights), 1).run(batch(64, 99))["scores"].mean(axis=0)
    return _graph(weights)


def _graph(weights):
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], "first", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Conv", ["b", "w2"], ["c"], "second", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["c"], ["d"], "pool"),
        helper.make_node("Flatten", ["d"], ["e"], "flat", axis=1),
        helper.make_node("MatMul", ["e", "w3"], ["f"], "last"),
        helper.make_node("Add", ["f", "offset"], ["scores"], "centre"),
    ]
    return helper.make_model(
        helper.make_graph(
            nodes,
            "classifier",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *SIZE])],
            [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", CLASSES])],
            [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )


@dataclass
class Original:
    """An original that is a graph, or does with its answer what it is told."""

    graph: onnx.ModelProto
    change: Any = None
    inputs: tuple = ()
    outputs: tuple = ()
    native: Any = None
    runs: list = field(default_factory=list)

    def __post_init__(self):
        self._twin = Twin(self.graph, 1)

    def run(self, arrays):
        self.runs.append(arrays)
        answer = self._twin.run(arrays)
        return self.change(arrays, answer) if self.change else answer


def batch(rows, number):
    return {"x": np.random.default_rng([rows, number]).standard_normal((rows, *SIZE)).astype(np.float32)}
