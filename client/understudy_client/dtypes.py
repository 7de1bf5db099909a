"""Triton's dtypes and NumPy's, as a table, and the conversion of a caller's values to a model's dtype without loss.

A NumPy array (and anything that offers one through ``__array__``) says what it is, so its dtype must be the model's;
only the byte order is adapted. Python's own numbers, alone or in lists, have no width: they become the model's dtype
as ``np.float32(x)`` would make it, and are refused where the value cannot be held (a float or an overflow for an
integer, an integer that a float cannot hold exactly, a finite number that becomes infinite).
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np

from .calls import Array, TensorSpec
from .tensor_errors import WrongDtype

__all__ = ["MANY", "NUMPY_DTYPES", "dtype_name", "is_long_work", "numpy_dtype", "to_array"]

Dtype = np.dtype[Any]

# BF16 is missing here because NumPy has no such dtype: tritonclient names the one that it takes.
NUMPY_DTYPES: dict[str, Dtype] = {
    "BOOL": np.dtype(np.bool_),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(np.object_),
}

# Which kinds of Python values an array of a kind takes; every other kind is some float.
_TAKEN_KINDS = {"b": "b", "i": "iu", "u": "iu"}
_KIND_NAMES = {"b": "booleans", "i": "integers", "u": "integers", "f": "floats"}
_PYTHONS_OWN = (bool, int, float, str, bytes)
# Up to here FP64 holds every integer; NumPy may have rounded one to it that is greater by one.
_MOST_FP64 = 2**53 - 1
# NumPy's own limit.
_MOST_DIMENSIONS = 32
# Values one by one, in lists or as strings, take a microsecond each: more of them are too many for an event loop.
MANY = 4096


def numpy_dtype(datatype: str) -> Dtype:
    """Return NumPy's dtype for Triton's name of it; KeyError for a name that Triton does not have."""
    if datatype == "BF16":
        from tritonclient.utils import triton_to_np_dtype

        return np.dtype(triton_to_np_dtype(datatype))
    return NUMPY_DTYPES[datatype]


def dtype_name(datatype: str) -> str:
    """Return the dtype as a caller would write it: "float32 (FP32)", "strings (BYTES)"."""
    return "strings (BYTES)" if datatype == "BYTES" else f"{numpy_dtype(datatype).name} ({datatype})"


def to_array(value: object, spec: TensorSpec, model: str) -> Array:
    """Return ``value`` as an array of the dtype that ``spec`` names; strings become an object array of bytes.

    Raises `WrongDtype` where that is impossible or would lose something.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise _wrong(spec, model, "a masked array", "fill it first, array.filled(value): a tensor has no mask")
    try:
        kinds = _kinds(value, _MOST_DIMENSIONS)
    except RecursionError as error:
        raise _wrong(spec, model, "lists within lists without an end", "no tensor has so many dimensions") from error
    plain = all(issubclass(kind, _PYTHONS_OWN) and not issubclass(kind, np.generic) for kind in kinds)
    if plain and spec.datatype != "BYTES" and any(issubclass(kind, str | bytes) for kind in kinds):
        # NumPy would first make every value as wide as the longest string.
        name = "strings" if any(issubclass(kind, str) for kind in kinds) else "bytes"
        raise _wrong(spec, model, f"a list of {name}", "give values of that kind")
    # As strings of one length, which NumPy would make of a list, bytes lose the zeros at their end.
    as_objects = spec.datatype == "BYTES" and isinstance(value, list | tuple | str | bytes)
    try:
        array = np.asarray(value, dtype=np.object_ if as_objects else None)
    except ValueError as error:
        raise _wrong(spec, model, "lists of unequal lengths", "make every row equally long") from error
    if spec.datatype == "BYTES":
        return _strings(array, spec, model)
    if plain:
        return _from_python(array, value, spec, model)
    return _same(array, spec, model)


def is_long_work(value: object) -> bool:
    """Tell whether `to_array` would be at this for longer than an event loop may wait: `MANY` values one by one."""
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "OUS" and value.size > MANY
    left, lists = MANY, [value] if isinstance(value, list | tuple) else []
    while lists:
        some = lists.pop()
        left -= len(some)
        if left < 0:
            return True
        lists.extend(item for item in some if isinstance(item, list | tuple))
    return False


def _wrong(spec: TensorSpec, model: str, found: str, advice: str) -> WrongDtype:
    return WrongDtype(model, spec.name, dtype_name(spec.datatype), found, advice)


def _kinds(value: object, levels: int) -> set[type]:
    """Return the types of what lies in lists within lists; raises RecursionError where they go deeper than ``levels``.

    It looks at values many at a time: one by one they would take longer than NumPy takes for all the rest.
    """
    if not isinstance(value, list | tuple):
        return {type(value)}
    if levels == 0:
        raise RecursionError
    kinds = set(map(type, value))
    if levels > 1 and kinds and all(issubclass(kind, list | tuple) for kind in kinds):
        kinds = set(map(type, chain.from_iterable(value)))
    if any(issubclass(kind, list | tuple) for kind in kinds):
        kinds = set()
        for item in value:
            kinds |= _kinds(item, levels - 1)
    return kinds


def _same(array: Array, spec: TensorSpec, model: str) -> Array:
    dtype = numpy_dtype(spec.datatype)
    if array.dtype == dtype:
        return array
    if array.dtype.newbyteorder("=") == dtype:
        return array.astype(dtype)
    advice = f"convert it where you know that to be right: array.astype({dtype.name!r})"
    raise _wrong(spec, model, str(array.dtype), advice)


def _from_python(array: Array, value: object, spec: TensorSpec, model: str) -> Array:
    dtype = numpy_dtype(spec.datatype)
    if array.size and array.dtype.kind not in _TAKEN_KINDS.get(dtype.kind, "iuf"):
        kind = _KIND_NAMES.get(array.dtype.kind, "mixed or very large values")
        raise _wrong(spec, model, f"a list of {kind}", "give values of that kind")
    with np.errstate(over="ignore", invalid="ignore"):
        converted = array.astype(dtype)
    if not (_kept(array, converted) and _keeps_integers(array, value, converted)):
        raise _wrong(spec, model, "a list with values that it does not hold", "scale the values or check the model")
    return converted


def _kept(array: Array, converted: Array) -> bool:
    """Tell whether integers are still the same, and floats still finite where they were (rounding is meant)."""
    if array.dtype.kind == "f":
        return bool(np.array_equal(np.isfinite(converted), np.isfinite(array)))
    if array.dtype.kind == "b" or array.size == 0:
        return True
    least, most = int(array.min()), int(array.max())
    if converted.dtype.kind in "iu":
        held = np.iinfo(converted.dtype)
        return bool(held.min <= least and most <= held.max)
    if max(-least, most) <= _MOST_FP64:
        return bool(np.array_equal(converted.astype(np.float64), array))
    # Compared as Python's numbers, where nothing overflows or rounds: 2**53 + 1 is no FP64.
    return bool(np.array_equal(converted.astype(np.float64).astype(np.object_), array.astype(np.object_)))


def _keeps_integers(array: Array, value: object, converted: Array) -> bool:
    """Tell whether integers are still the same that NumPy made floats, for the sake of others or of their size.

    Only where something may be lost are the values looked at: those that are whole, and rounded now or by NumPy before.
    """
    if array.dtype.kind != "f" or converted.dtype.kind in "iu":
        return True
    wide = converted.astype(np.float64)
    doubtful = (array == np.trunc(array)) & ((wide != array) | (np.abs(array) > _MOST_FP64))
    if not doubtful.any():
        return True
    given = np.asarray(value, dtype=np.object_)[doubtful]
    return all(now == one for now, one in zip(wide[doubtful].tolist(), given, strict=True) if isinstance(one, int))


def _strings(array: Array, spec: TensorSpec, model: str) -> Array:
    """Return an object array of bytes, text in UTF-8; arrays of str, of bytes, and of objects that are either."""
    if array.dtype.kind not in "OUS" and array.size:
        raise _wrong(spec, model, str(array.dtype), "give str or bytes values")
    strings = np.empty(array.size, dtype=np.object_)
    for position, item in enumerate(array.reshape(-1)):
        if isinstance(item, bytes):
            strings[position] = bytes(item)
        elif isinstance(item, str):
            strings[position] = _encoded(item, position, spec, model)
        else:
            found = f"{type(item).__name__} as element {position} of an object array"
            raise _wrong(spec, model, found, "give str or bytes values")
    return strings.reshape(array.shape)


def _encoded(text: str, position: int, spec: TensorSpec, model: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        found = f"text that is not valid Unicode as element {position}"
        raise _wrong(spec, model, found, "give bytes there") from error
