"""The promises of a TOML file, held against what a load test measured."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_RATES = {"failed_rate": "failed", "wrong_rate": "wrong", "refused_rate": "refused"}
_TIMES = ("p50_ms", "p95_ms", "p99_ms", "slowest_ms")
_KEYS = (*_RATES, *_TIMES, "fallback_rate", "answers_per_second")
# What became of all promises together.
KEPT, BROKEN, UNKNOWN = "kept", "broken", "unknown"


class SloError(Exception):
    """The file cannot be used: one sentence says where and why."""


@dataclass(frozen=True)
class Slo:
    """Limits that hold for any number of users, and those for one number. All are upper ones but answers_per_second."""

    any: Mapping[str, float]
    users: Mapping[int, Mapping[str, float]]

    def without(self, key: str) -> Slo:
        """The same, with nothing promised of `key`."""
        users = {number: {k: v for k, v in limits.items() if k != key} for number, limits in self.users.items()}
        return Slo({k: v for k, v in self.any.items() if k != key}, users)

    def broken(self, users: int, figures: Mapping[str, Any]) -> list[str]:
        """The promises that the `figures` of a run with so many users break, in words."""
        limits = {**self.any, **self.users.get(users, {})}
        told = f"{users} user{'s' if users > 1 else ''}"
        return [f"{told}: {sentence}" for name, limit in limits.items() if (sentence := _broken(name, limit, figures))]


def read_slo(path: Path) -> Slo:
    """Read a file. Raises SloError."""
    try:
        content = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SloError(f"{path} cannot be read: {error}") from error
    if unknown := sorted(content.keys() - {"any", "users"}):
        raise SloError(f"{path}: unknown table '{unknown[0]}'; there are [any] and [users.N]")
    users = content.get("users", {})
    if not isinstance(users, dict):
        raise SloError(f"{path}: 'users' is no table; write [users.500]")
    if wrong := [number for number in users if not (number.isdecimal() and int(number))]:
        raise SloError(f"{path}: [users.{wrong[0]}] names no number of users; write [users.500]")
    return Slo(
        _limits(path, "any", content.get("any", {})),
        {int(number): _limits(path, f"users.{number}", limits) for number, limits in users.items()},
    )


def broken_promises(slo: Slo, stages: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the hybrid's stages break, in words; the others are there to compare with."""
    broken = []
    for stage in filter(asks_hybrid, stages):
        name = f"{stage['kind']}, twin killed" if stage["fault"] else stage["kind"]
        limits = slo.without("fallback_rate") if stage["fault"] else slo
        broken += [f"{name}, {line}" for line in limits.broken(stage["users"], stage)]
    return broken


def verdict(stages: Sequence[Mapping[str, Any]], broken: Sequence[str]) -> str:
    """BROKEN or KEPT; UNKNOWN where no stage asked the hybrid, which alone promises anything."""
    if broken:
        return BROKEN
    return KEPT if any(map(asks_hybrid, stages)) else UNKNOWN


def asks_hybrid(stage: Mapping[str, Any]) -> bool:
    """Whether the users of a stage asked the hybrid."""
    return str(stage["kind"]).startswith("Hybrid")


def _limits(path: Path, table: str, limits: Any) -> dict[str, float]:
    if not isinstance(limits, dict):
        raise SloError(f"{path}: '{table}' is no table; write [{table}]")
    for name, value in limits.items():
        if name not in _KEYS:
            near = difflib.get_close_matches(name, _KEYS, 1)
            raise SloError(f"{path}: unknown key '{name}' in [{table}]; {_advice(near)}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise SloError(f"{path}: '{name}' in [{table}] is {value!r}; expected a number from 0 on")
    return {name: float(value) for name, value in limits.items()}


def _advice(near: list[str]) -> str:
    return f"did you mean '{near[0]}'?" if near else f"there are {', '.join(_KEYS)}"


def _broken(name: str, limit: float, figures: Mapping[str, Any]) -> str | None:
    if name in _TIMES:
        found = figures[name]
        if found is None:
            return f"no answer, so {name} is unknown"
        return f"{name} is {found:g}, the limit is {limit:g}" if found > limit else None
    if name == "answers_per_second":
        found = figures[name]
        return f"{found:.1f} answers a second, the least is {limit:g}" if found < limit else None
    found = _rate(name, figures)
    if found is None:
        return f"no {'answer' if name == 'fallback_rate' else 'request'}, so {name} is unknown"
    return f"{name} is {found:.2%}, the limit is {limit:.2%}" if found > limit else None


def _rate(name: str, figures: Mapping[str, Any]) -> float | None:
    if name == "fallback_rate":
        counted = figures["served_by"]
        answers = sum(counted.values())
        return 1 - counted.get(figures["asked_first"], 0) / answers if answers else None
    asked = figures["answers"] + figures["refused"] + figures["failed"]
    return figures[_RATES[name]] / asked if asked else None
