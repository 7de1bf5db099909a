"""Whether a row of a graph can travel as the bytes of its tensors alone, as the hand-written server takes and gives it.

The server asks it of the graph that it serves, and `make load` beforehand, whether there is anything to ask the server.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["BytesDoNotTell", "Row", "rows_of", "why_not"]

_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}
# Name, dtype and shape of an input with one row.
Row = tuple[str, np.dtype[Any], tuple[int, ...]]


class BytesDoNotTell(Exception):
    """A graph whose inputs or outputs cannot be told from their bytes alone: one sentence says which."""


def rows_of(session: Any) -> list[Row]:
    """One row of each input of an onnxruntime.InferenceSession, in the order of their names. Raises BytesDoNotTell.

    Who asks knows the shapes of the right outputs, but strings have no bytes to lay one after the other.
    """
    for told in session.get_outputs():
        if told.type not in _DTYPES:
            raise BytesDoNotTell(f"output '{told.name}' is {told.type}{told.shape}: its bytes do not tell its values")
    return sorted(_row(told) for told in session.get_inputs())


def why_not(path: Path) -> str | None:
    """Why the graph in `path` cannot be asked by bytes, in a sentence; None where it can, or cannot be looked at."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        rows_of(onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]))
    except BytesDoNotTell as error:
        return str(error)
    # What is wrong with the file is told by who is to run it. ONNX Runtime's classes share no base but Exception.
    except Exception:  # noqa: BLE001
        return None
    return None


def _row(told: Any) -> Row:
    row = told.shape[1:]
    if told.type not in _DTYPES or not all(isinstance(size, int) for size in row):
        raise BytesDoNotTell(f"input '{told.name}' is {told.type}{told.shape}: its bytes do not tell its shape")
    return told.name, np.dtype(_DTYPES[told.type]), (1, *row)
