"""Fields of a model configuration that the stand-in cannot serve. A silent wrong answer would be the alternative."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .errors import FeatureMissing


def refuse_missing_features(config: dict[str, Any]) -> None:
    """Raise FeatureMissing for the first field that only the C++ backend supports."""
    for field in _missing(config):
        raise FeatureMissing(config["name"], field)


def _missing(config: dict[str, Any]) -> Iterator[str]:
    for field in ("batch_input", "batch_output"):
        if config.get(field):
            yield field
    for entry in config.get("input") or []:
        for flag in ("allow_ragged_batch", "is_shape_tensor"):
            if entry.get(flag):
                yield f"input '{entry['name']}': {flag}"
    for entry in config.get("output") or []:
        if entry.get("is_shape_tensor"):
            yield f"output '{entry['name']}': is_shape_tensor"
