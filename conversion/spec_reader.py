"""Read and check model.toml: every key known, every value of its type, or one sentence that says which is not."""

from __future__ import annotations

import re
import tomllib
import types
import typing
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from .dtypes import DTYPES
from .errors import KeyMissing, SpecMissing, SpecUnreadable, UnknownKey, UnsupportedDtype, WrongValue
from .spec import EXPORTERS, ModelSpec
from .targets import TARGETS, known_targets

__all__ = ["SPEC_FILE", "SUFFIXES", "read_spec"]

SPEC_FILE = "model.toml"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_LOWEST_OPSET = 13
# What the name of an artefact tells of its format.
SUFFIXES = {
    ".h5": "keras",
    ".hdf5": "keras",
    ".keras": "keras",
    ".pt": "torchscript",
    ".ts": "torchscript",
    ".pt2": "exported_program",
}


def read_spec(folder: Path, target: str | None = None) -> ModelSpec:
    """Read `folder`/model.toml (or the file itself); `target` takes the place of its own.

    Raises a subclass of SpecError, UnsupportedDtype.
    """
    path = folder if folder.suffix == ".toml" else folder / SPEC_FILE
    if not path.is_file():
        raise SpecMissing(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecUnreadable(path, str(error)) from error
    home = path.resolve().parent
    if "folder" in table:
        raise UnknownKey(path, "folder", {f.name for f in fields(ModelSpec)} - {"folder"})
    if "source" not in table:
        raise KeyMissing(path, "source", "say where the model is, for example [source] path = 'model.h5'")
    given = {"target": target} if target else {}
    spec: ModelSpec = _build(ModelSpec, {"name": home.name, **table, **given, "folder": home}, "", path)
    spec = _with_format(spec, path)
    _check(spec, path)
    return spec


def _build(cls: Any, table: dict[str, Any], prefix: str, path: Path) -> Any:
    known = {f.name: f for f in fields(cls)}
    for key in table:
        if key not in known:
            raise UnknownKey(path, f"{prefix}{key}", known.keys() - {"folder"})
    for name, f in known.items():
        if f.default is MISSING and f.default_factory is MISSING and name not in table:
            raise KeyMissing(path, f"{prefix}{name}", "it has no default")
    hints = typing.get_type_hints(cls)
    return cls(**{key: _value(hints[key], value, f"{prefix}{key}", path) for key, value in table.items()})


def _value(kind: Any, value: Any, key: str, path: Path) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if hasattr(kind, "__dataclass_fields__"):
        if not isinstance(value, dict):
            raise WrongValue(path, key, f"a table [{key}]", value)
        return _build(kind, value, f"{key}.", path)
    if origin is tuple:
        return _sequence(args, value, key, path)
    if origin is dict:
        if not isinstance(value, dict):
            raise WrongValue(path, key, "a table", value)
        return {name: _value(args[1], item, f"{key}.{name}", path) for name, item in value.items()}
    if origin in (types.UnionType, typing.Union):
        return _one_of(args, value, key, path)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is not Any and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
        raise WrongValue(path, key, _called(kind), value)
    return value


def _sequence(args: tuple[Any, ...], value: Any, key: str, path: Path) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise WrongValue(path, key, "a list", value)
    if args[-1] is not Ellipsis:
        if len(value) != len(args):
            raise WrongValue(path, key, f"a list of {len(args)} values", value)
        return tuple(_value(kind, item, key, path) for kind, item in zip(args, value, strict=True))
    return tuple(_value(args[0], item, f"{key}[{number}]", path) for number, item in enumerate(value))


def _one_of(args: tuple[Any, ...], value: Any, key: str, path: Path) -> Any:
    for kind in args:
        if kind is type(None):
            continue
        if typing.get_origin(kind) or (isinstance(value, kind) and not isinstance(value, bool)):
            return _value(kind, value, key, path)
    raise WrongValue(path, key, " or ".join(_called(kind) for kind in args if kind is not type(None)), value)


def _called(kind: Any) -> str:
    return {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}.get(kind, str(kind))


def _with_format(spec: ModelSpec, path: Path) -> ModelSpec:
    """Fill in the format that the artefact's name tells."""
    source = spec.source
    found = source.format
    if not found:
        if source.factory and source.path:
            raise WrongValue(path, "source.path", "left out where a factory builds the model", source.path)
        if not (source.factory or source.path):
            raise KeyMissing(path, "source.path", "give either path (a file or SavedModel folder) or factory")
        suffix = Path(source.path).suffix.lower()
        found = "torch_module" if source.factory else SUFFIXES.get(suffix, "" if suffix else "saved_model")
        if not found:
            raise WrongValue(path, "source.path", f"a {', '.join(SUFFIXES)} file or a SavedModel folder", source.path)
    changed = {f.name: getattr(source, f.name) for f in fields(source)} | {"format": found}
    whole = {f.name: getattr(spec, f.name) for f in fields(spec)} | {"source": type(source)(**changed)}
    return ModelSpec(**whole)


def _check(spec: ModelSpec, path: Path) -> None:
    choices = {
        "source.format": (spec.source.format, EXPORTERS),
        "export.exporter": (spec.export.exporter, ("auto", *EXPORTERS.get(spec.source.format, ()))),
        "serving.prefer": (spec.serving.prefer, ("onnx", "original")),
    }
    for key, (value, allowed) in choices.items():
        if value not in allowed:
            raise WrongValue(path, key, f"one of {', '.join(allowed)}", value)
    if not _NAME.fullmatch(spec.name):
        raise WrongValue(path, "name", "letters, digits, '_', '-' and '.', starting with a letter", spec.name)
    for suffix in ("_onnx", "_original"):
        if spec.name.endswith(suffix):
            raise WrongValue(path, "name", f"a name that does not end with {suffix} (that is a twin's)", spec.name)
    _check_source(spec, path)
    _check_target(spec, path)
    _check_numbers(spec, path)
    _check_inputs(spec, path)


def _check_source(spec: ModelSpec, path: Path) -> None:
    source = spec.source
    if source.format == "torch_module":
        if not re.fullmatch(r"[\w./-]+:[\w.]+", source.factory):
            raise WrongValue(path, "source.factory", "'file.py:callable' or 'package.module:callable'", source.factory)
    elif not source.path:
        raise KeyMissing(path, "source.path", f"a model of format {source.format} is a file or folder")
    if source.format in ("torch_module", "torchscript") and not spec.inputs:
        raise KeyMissing(
            path, "inputs", f"a {source.format} does not tell its inputs; give [[inputs]] with name, dtype and shape"
        )


def _check_target(spec: ModelSpec, path: Path) -> None:
    target = TARGETS.get(spec.target)
    if target is None:
        raise WrongValue(path, "target", known_targets(spec.target), spec.target)
    if not _LOWEST_OPSET <= spec.export.opset <= target.runtime.opset:
        expected = f"between {_LOWEST_OPSET} and {target.runtime.opset}, the highest that {target} reads"
        raise WrongValue(path, "export.opset", expected, spec.export.opset)


def _check_numbers(spec: ModelSpec, path: Path) -> None:
    serving, parity = spec.serving, spec.parity
    bounds: dict[str, tuple[float, float, float]] = {
        "serving.max_batch_size": (serving.max_batch_size, 0, 1 << 16),
        "serving.max_queue_delay_microseconds": (serving.max_queue_delay_microseconds, 0, 10_000_000),
        "serving.max_joined_rows": (serving.max_joined_rows, 0, 1 << 16),
        "serving.deadline_ms": (serving.deadline_ms, 1, 3_600_000),
        "serving.primary_budget_ms": (serving.primary_budget_ms, 0, serving.deadline_ms),
        "parity.atol": (parity.atol, 0, float("inf")),
        "parity.rtol": (parity.rtol, 0, float("inf")),
        "samples.seed": (spec.samples.seed, 0, 2**63),
    }
    for key in ("instances", "threads", "original_instances", "original_threads", "max_concurrency"):
        bounds[f"serving.{key}"] = (getattr(serving, key), 1, 1024)
    for key, (value, low, high) in bounds.items():
        if not low <= value <= high:
            raise WrongValue(path, key, f"between {low:g} and {high:g}", value)
    for size in parity.batch_sizes:
        if not 1 <= size <= max(serving.max_batch_size, 1):
            raise WrongValue(
                path, "parity.batch_sizes", f"sizes from 1 to max_batch_size {serving.max_batch_size}", size
            )


def _check_inputs(spec: ModelSpec, path: Path) -> None:
    names = [t.name for t in spec.inputs] + [t.name for t in spec.outputs]
    for name in names:
        if names.count(name) > 1:
            raise WrongValue(path, "inputs and outputs", "names that differ", name)
    for number, tensor in enumerate(spec.inputs):
        key = f"inputs[{number}]"
        if tensor.dtype and tensor.dtype not in DTYPES:
            raise UnsupportedDtype(tensor.name, tensor.dtype, DTYPES)
        if spec.source.format in ("torch_module", "torchscript") and not (tensor.dtype and tensor.shape):
            raise KeyMissing(path, f"{key}.dtype and {key}.shape", f"a {spec.source.format} does not tell them")
        if spec.serving.max_batch_size and tensor.shape and tensor.shape[0] != "batch":
            raise WrongValue(
                path, f"{key}.shape", 'a list that starts with "batch" (or max_batch_size = 0)', list(tensor.shape)
            )
        if tensor.range and not tensor.range[0] < tensor.range[1]:
            raise WrongValue(path, f"{key}.range", "[low, high) with low < high", list(tensor.range))
        for size in tensor.shape:
            if isinstance(size, int) and size < 1:
                raise WrongValue(path, f"{key}.shape", "sizes of at least 1, or a name for a dynamic one", size)
