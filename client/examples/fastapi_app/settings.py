"""What the environment says: where Triton is, which models are offered, and how much a caller may ask."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

__all__ = ["Settings", "SettingsError"]

_PREFIX = "PREDICT_"
_MIB = 2**20


class SettingsError(Exception):
    """A variable of the environment that cannot be used, or is missing."""

    def __init__(self, variable: str, found: str | None, expected: str) -> None:
        said = "is not set" if found is None else f"is {found!r}"
        super().__init__(f"{variable} {said}; set it to {expected}")


@dataclass(frozen=True)
class Settings:
    """``deadline_s`` is the longest that a model has; ``attempt_s`` None lets one attempt have all of it.

    ``body_s`` is the longest that a body may take to come; ``most_json_bytes`` is not above ``most_bytes``.
    """

    models: tuple[str, ...]
    url: str
    protocol: Literal["grpc", "http"]
    deadline_s: float
    attempt_s: float | None
    retries: int
    body_s: float
    most_bytes: int
    most_json_bytes: int

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Settings:
        """Read the variables PREDICT_…; raises `SettingsError`, for one that is not known as well."""
        given = {name.removeprefix(_PREFIX): text for name, text in environ.items() if name.startswith(_PREFIX)}
        models = tuple(filter(None, (name.strip() for name in given.pop("MODELS", "").split(","))))
        if not models:
            raise SettingsError(f"{_PREFIX}MODELS", None, "the names of the models to offer, comma-separated")
        protocol = given.pop("PROTOCOL", "grpc")
        if protocol not in ("grpc", "http"):
            raise SettingsError(f"{_PREFIX}PROTOCOL", protocol, "grpc or http")
        attempt = given.pop("ATTEMPT_S", "")
        most_bytes = _bytes("MOST_MIB", given.pop("MOST_MIB", "64"))
        most_json_bytes = _bytes("MOST_JSON_MIB", given.pop("MOST_JSON_MIB", "4"))
        settings = cls(
            models=models,
            url=given.pop("URL", "127.0.0.1:8001" if protocol == "grpc" else "127.0.0.1:8000"),
            protocol=cast(Literal["grpc", "http"], protocol),
            deadline_s=_above_zero("DEADLINE_S", given.pop("DEADLINE_S", "10")),
            attempt_s=_above_zero("ATTEMPT_S", attempt) if attempt else None,
            retries=_count("RETRIES", given.pop("RETRIES", "3")),
            body_s=_above_zero("BODY_S", given.pop("BODY_S", "60")),
            most_bytes=most_bytes,
            most_json_bytes=min(most_bytes, most_json_bytes),
        )
        for name, text in given.items():
            raise SettingsError(_PREFIX + name, text, "nothing: there is no such setting")
        return settings


def _above_zero(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise SettingsError(_PREFIX + name, text, "a number above 0")
    return value


def _bytes(name: str, mib: str) -> int:
    return int(_above_zero(name, mib) * _MIB)


def _count(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise SettingsError(_PREFIX + name, text, "a whole number from 0 on")
    return int(text)
