"""The smallest request that a model's configuration allows, to see whether the model really runs."""

from __future__ import annotations

from typing import Any


def probe_inputs(config: Any) -> list[Any]:
    """One tritonclient InferInput of zeros (empty strings) for each input that is not optional.

    `config` is a completed ModelConfig message. A dynamic dimension becomes 1, and so does the batch.
    """
    import numpy as np
    from tritonclient.grpc import InferInput, model_config_pb2
    from tritonclient.utils import triton_to_np_dtype

    batch = [1] if config.max_batch_size > 0 else []
    inputs = []
    for one in config.input:
        if one.optional:
            continue
        wire = model_config_pb2.DataType.Name(one.data_type).removeprefix("TYPE_").replace("STRING", "BYTES")
        shape = batch + [1 if size < 0 else int(size) for size in one.dims]
        tensor = InferInput(one.name, shape, wire)
        if wire == "BYTES":
            tensor.set_data_from_numpy(np.full(shape, b"", dtype=np.object_))
        else:
            tensor.set_data_from_numpy(np.zeros(shape, dtype=triton_to_np_dtype(wire)))
        inputs.append(tensor)
    return inputs
