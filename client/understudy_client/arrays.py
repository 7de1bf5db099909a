"""Arrays of the command line: read from files, made up for a smoke test, written to files, shown in a line."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from .calls import Array, TensorSpec
from .description import ModelDescription
from .dtypes import numpy_dtype
from .errors import UnderstudyClientError

__all__ = ["ArrayFileError", "head", "random_inputs", "read_inputs", "write_outputs"]


# Of the strings of one output in a file, each as long as the longest.
_MOST_PADDED_BYTES = 2**30


class ArrayFileError(UnderstudyClientError):
    """A file of arrays that cannot be read or written."""

    def __init__(self, path: str, problem: str, advice: str) -> None:
        super().__init__(path, problem, advice)
        self.path, self.problem, self.advice = path, problem, advice

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}; {self.advice}."


def read_inputs(file: str | None, named: Sequence[str]) -> Array | dict[str, Array]:
    """Return one array (a .npy ``file``), or arrays by name (a .npz ``file``, and ``named`` like "x=file.npy").

    Raises `ArrayFileError`.
    """
    inputs: dict[str, Array] = {}
    if file is not None:
        content = _read(file)
        if not isinstance(content, dict):
            if named:
                raise ArrayFileError(file, "it names no input", "give it as --input NAME=FILE beside the others")
            return content
        inputs.update(content)
    for item in named:
        name, _, path = item.partition("=")
        if not name or not path:
            raise ArrayFileError(item, "no input and file can be read from it", "write --input NAME=FILE.npy")
        content = _read(path)
        if isinstance(content, dict):
            raise ArrayFileError(path, "it holds several arrays", "give a .npz without --input")
        inputs[name] = content
    return inputs


def random_inputs(model: ModelDescription, rows: int, size: int, seed: int) -> dict[str, Array]:
    """Return made-up values for every input: ``rows`` rows, ``size`` for every other dynamic dimension.

    Floats lie in [0, 1), integers are 0 or 1 (so that they are valid tokens and classes), strings are short words.
    """
    source = np.random.default_rng(seed)
    return {spec.name: _random(spec, model.max_batch_size > 0, rows, size, source) for spec in model.inputs}


def write_outputs(path: str, outputs: Mapping[str, Array]) -> None:
    """Write the outputs to a .npz that loads without pickle; the file appears whole or not at all.

    Strings become arrays of str, or of bytes where they are no text, and BF16 becomes FP32, which holds all of it.
    Raises `ArrayFileError`, for strings as well that such a file would not give back, or would make huge.
    """
    unfinished = Path(f"{path}.{os.getpid()}.part")
    try:
        # As np.savez does, which takes names as keywords: an output may be called as one of its own.
        with zipfile.ZipFile(unfinished, "w") as archive:
            for name, array in outputs.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    np.save(entry, _storable(path, name, array), allow_pickle=False)
        unfinished.replace(path)
    except OSError as error:
        raise ArrayFileError(path, f"it cannot be written ({error.strerror})", "choose another --output") from error
    finally:
        unfinished.unlink(missing_ok=True)


def head(array: Array, count: int = 5) -> list[object]:
    """Return the first values as Python's own, strings decoded; not-a-number and infinities as text."""
    return [_plain(value) for value in array.reshape(-1)[:count].tolist()]


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, bool | int | float | str) else float(str(value))


def _read(path: str) -> Array | dict[str, Array]:
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content
        with content:
            return {name: content[name] for name in content.files}
    except OSError as error:
        problem = f"it cannot be read ({error.strerror or error})"
        raise ArrayFileError(path, problem, "give a file that exists") from error
    except MemoryError as error:
        problem = f"it tells of more than memory has room for ({error})"
        raise ArrayFileError(path, problem, "write it anew if it is damaged, or send fewer rows") from error
    # zlib, zipfile, and whatever NumPy's parser or Python's meet in a damaged header: there is no base class to name.
    except Exception as error:
        advice = "write it with np.save or np.savez, strings as str or bytes arrays"
        raise ArrayFileError(path, "it is no .npy or .npz file that loads without pickle", advice) from error


def _random(spec: TensorSpec, batched: bool, rows: int, size: int, source: np.random.Generator) -> Array:
    shape = [size if wanted < 0 else wanted for wanted in spec.shape]
    if batched:
        shape[0] = rows
    if spec.datatype == "BYTES":
        numbers = source.integers(1000, size=shape)
        return np.array([b"word%d" % number for number in numbers.reshape(-1)], dtype=np.object_).reshape(shape)
    dtype = numpy_dtype(spec.datatype)
    if dtype.kind in "biu":
        return source.integers(2, size=shape).astype(dtype)
    return source.random(size=shape).astype(dtype)


def _storable(path: str, name: str, array: Array) -> Array:
    if array.dtype.kind == "O":
        return _fixed_width(path, name, array)
    return array if array.dtype.kind in "biuf" else array.astype(np.float32)


def _fixed_width(path: str, name: str, array: Array) -> Array:
    """Return strings as NumPy keeps them without pickle: as long as the longest, zeros at the end being none."""
    strings: list[bytes] = array.reshape(-1).tolist()
    advice = "take them in Python, from HybridClient.predict"
    if any(item.endswith(b"\0") for item in strings):
        problem = f"output {name!r} has strings that end in zero bytes, which a .npz does not keep"
        raise ArrayFileError(path, problem, advice)
    try:
        values: list[str] | list[bytes] = [item.decode() for item in strings]
        width = 4
    except UnicodeDecodeError:
        values, width = strings, 1
    if (size := len(values) * max(map(len, values), default=0) * width) > _MOST_PADDED_BYTES:
        problem = f"output {name!r} would take {size:,} bytes, as a .npz makes every string as long as the longest"
        raise ArrayFileError(path, problem, advice)
    return np.array(values).reshape(array.shape)
