"""The smallest request that a model's configuration allows, to see whether the model really runs."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from serving.samples import of_kind


def probe_inputs(config: Any) -> list[Any]:
    """One tritonclient InferInput of zeros (empty strings) for each input that is not optional.

    `config` is a completed ModelConfig message. A dynamic dimension becomes 1, and so does the batch.
    """
    import numpy as np
    from tritonclient.utils import triton_to_np_dtype

    batch = [1] if config.max_batch_size > 0 else []
    inputs = []
    for one in config.input:
        if one.optional:
            continue
        wire = _wire(one)
        shape = batch + [1 if size < 0 else int(size) for size in one.dims]
        zeros = np.full(shape, b"", np.object_) if wire == "BYTES" else np.zeros(shape, triton_to_np_dtype(wire))
        inputs.append(_tensor(one.name, wire, zeros))
    return inputs


def golden_inputs(config: Any, path: Path) -> list[Any]:
    """The first of the golden samples that a release carries in a .npz, for the same model.

    Raises OSError or ValueError where the file is not there or holds no such samples.
    """
    import numpy as np

    batched = config.max_batch_size > 0
    samples = _samples(path, path.stat().st_mtime_ns, first_row=batched)
    inputs = []
    for one in config.input:
        if one.name not in samples:
            raise ValueError(f"{path} holds no samples of input '{one.name}'")
        array = samples[one.name]
        # Triton has no tensor without dimensions: it is announced as one element.
        array = array.reshape(*array.shape, 1) if array.ndim < len(one.dims) + batched else array
        wire = _wire(one)
        inputs.append(_tensor(one.name, wire, array.astype(np.object_) if wire == "BYTES" else array))
    return inputs


@lru_cache(maxsize=32)
def _samples(path: Path, _changed_ns: int, *, first_row: bool) -> dict[str, Any]:
    """The inputs in a file of samples by name. Kept, as who watches asks for them every few seconds."""
    import numpy as np

    # Opened here: NumPy leaves a file that is no archive open.
    with path.open("rb") as file:
        try:
            with np.load(file, allow_pickle=False) as archive:
                arrays = of_kind(archive, "input")
        # Of a file that is empty, cut or overwritten NumPy raises whatever its parsers do: EOFError, TokenError, …
        except Exception as error:
            raise ValueError(f"{path} holds no samples: {error}") from error
    # A copy: a view would keep all rows.
    return {name: array[:1].copy() if first_row else array for name, array in arrays.items()}


def _wire(tensor: Any) -> str:
    """The type of a tensor in a configuration, as it is called on the wire."""
    from tritonclient.grpc import model_config_pb2

    name: str = model_config_pb2.DataType.Name(tensor.data_type)
    return name.removeprefix("TYPE_").replace("STRING", "BYTES")


def _tensor(name: str, wire: str, array: Any) -> Any:
    from tritonclient.grpc import InferInput

    return InferInput(name, list(array.shape), wire).set_data_from_numpy(array)
