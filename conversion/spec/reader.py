"""Read and check model.toml: every key known, every value of its type, or one sentence that says which is not."""

from __future__ import annotations

import tomllib
import types
import typing
from collections.abc import Callable
from dataclasses import MISSING, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import KeyMissing, SpecMissing, SpecUnreadable, UnknownKey, WrongValue
from . import ModelSpec
from .checks import check
from .serving import ServingSpec, TunedSpec

__all__ = ["SPEC_FILE", "SUFFIXES", "read_spec"]

SPEC_FILE = "model.toml"
# What [serving.tuned] has of the keys of [serving].
_TUNED = {f.name for f in fields(TunedSpec)} & {f.name for f in fields(ServingSpec)}
# Fields that no file says.
_NO_KEYS = {"folder", "stated"}
# What the name of an artefact tells of its format.
SUFFIXES = {
    ".h5": "keras",
    ".hdf5": "keras",
    ".keras": "keras",
    ".pt": "torchscript",
    ".ts": "torchscript",
    ".pt2": "exported_program",
}
# What it tells not to be a model by itself.
_WEIGHTS = (".pth", ".bin", ".safetensors")


def read_spec(
    folder: Path,
    target: str | None = None,
    search: str | None = None,
    profile: str | None = None,
    *,
    tuned: bool = True,
) -> ModelSpec:
    """Read `folder`/model.toml (or the file itself).

    `target`, the level of `search` and its `profile` take the place of the file's own.
    What was tuned fills in what [serving] leaves open, unless `tuned` is false.

    Raises a subclass of SpecError, UnsupportedDtype.
    """
    path = folder if folder.suffix == ".toml" else folder / SPEC_FILE
    if not path.is_file():
        raise SpecMissing(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecUnreadable(path, str(error)) from error
    # The model is where its file is named, also where that is a link: to a store, or to a volume of Kubernetes.
    home = path.parent.resolve()
    if "source" not in table:
        raise KeyMissing(path, "source", "say where the model is, for example [source] path = 'model.h5'")
    given = {"target": target} if target else {}
    make = partial(ModelSpec, folder=home)
    spec: ModelSpec = _build(ModelSpec, {"name": home.name, **table, **given}, "", path, make)
    if "accuracy" in table:
        spec = replace(spec, accuracy=replace(spec.accuracy, stated=True))
    wanted = spec.search
    spec = replace(spec, search=replace(wanted, level=search or wanted.level, profile=profile or wanted.profile))
    spec = _with_format(spec, path)
    spec = _with_tuned(spec) if tuned else spec
    check(spec, path)
    return spec


def _build(cls: Any, table: dict[str, Any], prefix: str, path: Path, make: Callable[..., Any]) -> Any:
    known = {f.name: f for f in fields(cls) if f.name not in _NO_KEYS}
    for key in table:
        if key not in known:
            raise UnknownKey(path, f"{prefix}{key}", known)
    for name, f in known.items():
        if f.default is MISSING and f.default_factory is MISSING and name not in table:
            raise KeyMissing(path, f"{prefix}{name}", "it has no default")
    hints = typing.get_type_hints(cls)
    return make(
        **{key: _value(hints[key], value, f"{prefix}{key}", path, known[key].default) for key, value in table.items()}
    )


def _value(kind: Any, value: Any, key: str, path: Path, default: Any = MISSING) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if hasattr(kind, "__dataclass_fields__"):
        if not isinstance(value, dict):
            raise WrongValue(path, key, f"a table [{key}]", value)
        # What a table leaves out is as it is without the table, which its kind's own default may not be.
        make = kind if default is MISSING else partial(replace, default)
        return _build(kind, value, f"{key}.", path, make)
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
    if kind is Any:
        _check_plain(value, key, path)
    elif not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise WrongValue(path, key, _called(kind), value)
    return value


def _check_plain(value: Any, key: str, path: Path) -> None:
    """What is handed on lies in a bundle as JSON, which has no dates and times."""
    if isinstance(value, dict):
        for name, item in value.items():
            _check_plain(item, f"{key}.{name}", path)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _check_plain(item, f"{key}[{number}]", path)
    elif not isinstance(value, str | int | float):
        raise WrongValue(path, key, "a string, a number, true or false, a list or a table", value)


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
        if typing.get_origin(kind) or (isinstance(value, kind) and (kind is bool or not isinstance(value, bool))):
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
        # The name of a folder may have a dot in it.
        suffix = "" if (spec.folder / source.path).is_dir() else Path(source.path).suffix.lower()
        found = "torch_module" if source.factory else SUFFIXES.get(suffix, "" if suffix else "saved_model")
        if suffix in _WEIGHTS:
            expected = (
                "left out where there are weights alone (give them as source.weights, and the source.factory that "
                "builds their module)"
            )
            raise WrongValue(path, "source.path", expected, source.path)
        if not found:
            raise WrongValue(path, "source.path", f"a {', '.join(SUFFIXES)} file or a SavedModel folder", source.path)
    return replace(spec, source=replace(source, format=found))


def _with_tuned(spec: ModelSpec) -> ModelSpec:
    """Fill in what was tuned, where [serving] leaves it open; where that changes nothing, nothing was tuned."""
    serving, unsaid = spec.serving, ServingSpec()
    tuned = serving.tuned
    if not tuned.instances:
        return spec
    found = {name: getattr(tuned, name) for name in _TUNED}
    # It may have been tuned for larger batches.
    found["max_joined_rows"] = min(tuned.max_joined_rows, serving.most_rows)
    if serving.dynamic_batching not in (None, tuned.dynamic_batching):
        # How many rows are joined, and how long is waited for them, was tuned for who joined them.
        del found["max_joined_rows"], found["max_queue_delay_microseconds"]
    found = {name: value for name, value in found.items() if getattr(serving, name) == getattr(unsaid, name)}
    alone = {
        "max_joined_rows": serving.most_rows if serving.dynamic_batching else 1,
        "max_queue_delay_microseconds": 0,
        "split_rows": False,
        "hybrid_instances": 1,
    }
    # Where [serving] says the rest, that is how it is served without what was tuned.
    if found.items() <= alone.items():
        return replace(spec, serving=replace(serving, tuned=TunedSpec()))
    return replace(spec, serving=replace(serving, **found))
