"""The smallest request that a configuration allows."""

from typing import Any

import numpy as np
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import deserialize_bytes_tensor

from serving.probe import probe_inputs


def config(text: str) -> Any:
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def test_dynamic_dimensions_and_the_batch_become_one() -> None:
    (tensor,) = probe_inputs(config('max_batch_size: 8 input { name: "x" data_type: TYPE_FP16 dims: [-1, 3] }'))
    assert (tensor.name(), tensor.shape(), tensor.datatype()) == ("x", [1, 1, 3], "FP16")
    assert tensor._get_content() == bytes(6)


def test_without_a_batch_the_shape_is_the_written_one() -> None:
    (tensor,) = probe_inputs(config('input { name: "x" data_type: TYPE_INT64 dims: [2] }'))
    assert tensor.shape() == [2]
    assert np.frombuffer(tensor._get_content(), np.int64).tolist() == [0, 0]


def test_strings_are_empty_ones_and_optional_inputs_are_left_out() -> None:
    (tensor,) = probe_inputs(
        config(
            'input { name: "s" data_type: TYPE_STRING dims: [2] }'
            'input { name: "w" data_type: TYPE_FP32 dims: [2] optional: true }'
        )
    )
    assert deserialize_bytes_tensor(tensor._get_content()).tolist() == [b"", b""]
