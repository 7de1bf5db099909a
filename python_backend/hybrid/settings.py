"""The hybrid's configuration: what config.pbtxt says, checked once, when the model loads."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import DtypeUnknown, RequestInvalid, SettingsInvalid
from .preference import TWINS, Preference, read_preference

SERVED_BY = "served_by"
# What a request says that leaves the choice of the twin to the model.
AUTO = "auto"

# Triton's config names and NumPy's; strings are object arrays of bytes.
NUMPY = {
    "TYPE_BOOL": np.bool_,
    "TYPE_UINT8": np.uint8,
    "TYPE_UINT16": np.uint16,
    "TYPE_UINT32": np.uint32,
    "TYPE_UINT64": np.uint64,
    "TYPE_INT8": np.int8,
    "TYPE_INT16": np.int16,
    "TYPE_INT32": np.int32,
    "TYPE_INT64": np.int64,
    "TYPE_FP16": np.float16,
    "TYPE_FP32": np.float32,
    "TYPE_FP64": np.float64,
    "TYPE_STRING": np.object_,
}


@dataclass(frozen=True)
class OutputSpec:
    """What a twin's output has to be: dtype, dimensions without the batch (-1 is any), and whether it is finite.

    `range` are the least and the largest value that any row may hold, None where all are right.
    """

    dtype: np.dtype[Any]
    dims: tuple[int, ...]
    finite: bool
    range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Tolerance:
    """How far the twins may be apart at an element: atol + rtol * |original| + of_largest * max|original|."""

    atol: float
    rtol: float
    of_largest: float


@dataclass(frozen=True)
class ShadowSettings:
    """Which share of the answers, and of the time, goes into comparing the twins, and what follows where they differ.

    `max_differing` is the share of those compared that may; beyond it the ONNX twin is asked no more, if `quarantine`.
    The newest `keep` requests on which they did are kept in `folder`, "" for one in the machine's own for such files.
    """

    share: float
    max_differing: float
    quarantine: bool
    keep: int
    folder: str


@dataclass(frozen=True)
class Settings:
    """Times are in seconds. `models` gives each twin's model; `guarded_inputs` must be finite.

    Of `max_concurrency` calls at a time, `max_fallbacks` may be to a twin that was not asked first. Requests share a
    call of up to `max_joined_rows` while at least `eager_calls` calls are under way. No more than `max_pending` are
    taken on at a time, or than their inputs fill `max_pending_bytes`.
    """

    models: Mapping[str, str]
    prefer: Preference
    fallback_enabled: bool
    deadline_s: float
    primary_budget_s: float
    max_concurrency: int
    max_fallbacks: int
    max_joined_rows: int
    eager_calls: int
    max_pending: int
    max_pending_bytes: int
    shadow: ShadowSettings
    batched: bool
    guarded_inputs: frozenset[str]
    outputs: Mapping[str, OutputSpec]

    def due_s(self, *, first: bool) -> float:
        """After how long a twin that has not answered is late, be it asked `first` or because the other one failed."""
        if not self.fallback_enabled:
            return self.deadline_s
        # After a quick failure of the first one the other has nearly all of the deadline.
        return self.primary_budget_s if first else max(self.primary_budget_s, self.deadline_s - self.primary_budget_s)


def read_settings(config: Mapping[str, Any]) -> Settings:
    """Read a model configuration as Triton gives it. Raises SettingsInvalid."""
    values = {key: value.get("string_value", "") for key, value in config.get("parameters", {}).items()}
    for tensor in (*config["input"], *config["output"]):
        if tensor["data_type"] not in NUMPY:
            raise DtypeUnknown(tensor["name"], tensor["data_type"], NUMPY)
    deadline = _milliseconds(values, "deadline_ms", 10_000.0)
    budget = _milliseconds(values, "primary_budget_ms", deadline / 2)
    if budget > deadline:
        raise SettingsInvalid("primary_budget_ms", f"at most deadline_ms {deadline:g}", f"{budget:g}")
    free_inputs = _names(values, "allow_non_finite_inputs", config["input"])
    free_outputs = _names(values, "allow_non_finite_outputs", config["output"])
    ranges = _ranges(values, "output_ranges", config["output"])
    concurrency = _count(values, "max_concurrency", 16)
    most_rows = max(config["max_batch_size"], 1)
    return Settings(
        models={
            "onnx": _text(values, "primary_model", f"{config['name']}_onnx"),
            "original": _text(values, "fallback_model", f"{config['name']}_original"),
        },
        prefer=read_preference(values.get("prefer", "onnx")),
        fallback_enabled=_choice(values, "fallback_enabled", ("true", "false"), "true") == "true",
        deadline_s=deadline / 1e3,
        primary_budget_s=budget / 1e3,
        max_concurrency=concurrency,
        # Half of the threads stay free for the twin that is preferred, should it come back.
        max_fallbacks=_count(values, "max_fallbacks", (concurrency + 1) // 2, most=concurrency),
        # The twins refuse a call of more rows, and each of its requests would be asked for alone.
        max_joined_rows=min(_count(values, "max_joined_rows", most_rows, most=1 << 16), most_rows),
        eager_calls=_count(values, "eager_calls", 2),
        max_pending=_count(values, "max_pending", 640, most=1 << 16),
        max_pending_bytes=_count(values, "max_pending_mb", 512, most=1 << 20) * 1_000_000,
        shadow=ShadowSettings(
            share=_share(values, "shadow_share", 0.01),
            max_differing=_share(values, "shadow_max_differing", 0.1),
            quarantine=_choice(values, "shadow_quarantine", ("true", "false"), "true") == "true",
            keep=_count(values, "shadow_keep", 8, least=0),
            folder=_text(values, "shadow_folder", ""),
        ),
        batched=config["max_batch_size"] > 0,
        guarded_inputs=frozenset(
            t["name"] for t in config["input"] if _float(t["data_type"]) and t["name"] not in free_inputs
        ),
        outputs={
            t["name"]: OutputSpec(
                np.dtype(NUMPY[t["data_type"]]),
                tuple(int(size) for size in t["dims"]),
                _float(t["data_type"]) and t["name"] not in free_outputs,
                ranges.get(t["name"]),
            )
            for t in config["output"]
            if t["name"] != SERVED_BY
        },
    )


@dataclass(frozen=True)
class Wishes:
    """What one request asks for. Requests that wish for the same may share a call.

    `parameters` (JSON) and `timeout_us` are what it said itself, for the twins to hear; empty and 0 where it did not.
    """

    prefer: str
    deadline_s: float
    primary_budget_s: float
    parameters: str = ""
    timeout_us: int = 0


def read_wishes(settings: Settings, said: str, timeout_us: int, rows: int) -> Wishes:
    """The request's own `prefer` and `deadline_ms`, out of its parameters in JSON, else the model's for its rows.

    A deadline can only be shortened; the primary's share of it stays the same. Raises RequestInvalid.
    """
    parameters = json.loads(said or "null") or {}
    prefer = parameters.get("prefer", AUTO)
    if prefer == AUTO:
        prefer = settings.prefer.twin(rows)
    elif prefer not in TWINS:
        allowed = ", ".join((AUTO, *TWINS))
        raise RequestInvalid(f"request parameter 'prefer' must be one of {allowed}, found '{prefer}'")
    deadline = settings.deadline_s
    if "deadline_ms" in parameters:
        try:
            asked = float(parameters["deadline_ms"]) / 1e3
        except (TypeError, ValueError):
            asked = float("nan")
        if not 0 < asked < float("inf"):
            found = parameters["deadline_ms"]
            raise RequestInvalid(f"request parameter 'deadline_ms' must be a positive number, found '{found}'")
        deadline = min(deadline, asked)
    if timeout_us > 0:
        deadline = min(deadline, timeout_us / 1e6)
    budget = settings.primary_budget_s * deadline / settings.deadline_s
    return Wishes(prefer, deadline, budget, said if parameters else "", timeout_us)


def _float(data_type: str) -> bool:
    return data_type in ("TYPE_FP16", "TYPE_FP32", "TYPE_FP64")


def _text(values: Mapping[str, str], key: str, default: str) -> str:
    return values.get(key) or default


def _choice(values: Mapping[str, str], key: str, allowed: Sequence[str], default: str) -> str:
    value = values.get(key, default)
    if value not in allowed:
        raise SettingsInvalid(key, f"one of {', '.join(allowed)}", value)
    return value


def _milliseconds(values: Mapping[str, str], key: str, default: float) -> float:
    return _number(values, key, default, lambda value: 0 < value <= 3_600_000, "a number of milliseconds up to an hour")


def _share(values: Mapping[str, str], key: str, default: float) -> float:
    return _number(values, key, default, lambda value: 0 <= value <= 1, "a number from 0 to 1")


def _number(values: Mapping[str, str], key: str, default: float, fits: Callable[[float], bool], expected: str) -> float:
    text = values.get(key, "") or str(default)
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not fits(value):
        raise SettingsInvalid(key, expected, text)
    return value


def _count(values: Mapping[str, str], key: str, default: int, most: int = 1024, least: int = 1) -> int:
    text = values.get(key, "") or str(default)
    if not (text.isdecimal() and least <= int(text) <= most):
        raise SettingsInvalid(key, f"a whole number from {least} to {most}", text)
    return int(text)


def _names(values: Mapping[str, str], key: str, tensors: Sequence[Mapping[str, Any]]) -> set[str]:
    named = {name.strip() for name in values.get(key, "").split(",") if name.strip()}
    known = {tensor["name"] for tensor in tensors}
    if not named <= known:
        raise SettingsInvalid(key, f"names out of {', '.join(sorted(known))}", values[key])
    return named


def _ranges(
    values: Mapping[str, str], key: str, tensors: Sequence[Mapping[str, Any]]
) -> dict[str, tuple[float, float]]:
    numbers = {tensor["name"] for tensor in tensors if NUMPY[tensor["data_type"]] not in (np.object_, np.bool_)}
    text = values.get(key, "") or "{}"
    try:
        ranges = {name: (float(low), float(high)) for name, (low, high) in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError):
        ranges = {"": (0.0, 0.0)}
    if not (ranges.keys() <= numbers and all(low < high for low, high in ranges.values())):
        expected = f"a JSON object of [low, high] by name, names out of {', '.join(sorted(numbers))}"
        raise SettingsInvalid(key, expected, text)
    return ranges
