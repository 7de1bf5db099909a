"""What is on a server, read from its repository index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .calls import IndexEntry
from .errors import ModelNotFound, ModelNotReady, ServerError, UnderstudyClientError

__all__ = ["ServedModel", "catalogue", "explain_missing", "is_busy", "is_leaving", "is_passing", "twin_names"]

# How the twins of a hybrid NAME are called, by role.
_SUFFIXES = {"onnx": "_onnx", "original": "_original"}

# A model shows the state of the version that is furthest along this list.
_STATES = ("READY", "LOADING", "UNLOADING", "UNAVAILABLE")

# How Triton itself says it; a model may answer "not found" in words of its own.
_UNKNOWN = "unknown model"


@dataclass(frozen=True)
class ServedModel:
    """A model of the repository.

    ``versions`` are those that answer now. ``state`` is READY, LOADING, UNLOADING or UNAVAILABLE, with the server's
    ``reason`` where it gives one. ``role`` is "hybrid", "onnx" or "original" by the names NAME, NAME_onnx and
    NAME_original, and "" for a model that stands alone.
    """

    name: str
    versions: tuple[str, ...]
    state: str
    reason: str
    role: str


def twin_names(hybrid: str) -> dict[str, str]:
    """Return the names of a hybrid's twins by their roles, "onnx" and "original"."""
    return {role: hybrid + suffix for role, suffix in _SUFFIXES.items()}


def catalogue(index: Sequence[IndexEntry]) -> tuple[ServedModel, ...]:
    """Return one entry a model, sorted by name, from the index's one entry a version."""
    names = {entry.name for entry in index}
    return tuple(_served(name, [entry for entry in index if entry.name == name], names) for name in sorted(names))


def _served(name: str, entries: Sequence[IndexEntry], names: set[str]) -> ServedModel:
    states = {entry.state or "UNAVAILABLE" for entry in entries}
    state = min(states, key=lambda state: _STATES.index(state) if state in _STATES else len(_STATES))
    versions = sorted(
        (entry.version for entry in entries if entry.state == "READY"), key=lambda text: (len(text), text)
    )
    reasons = [entry.reason if entry.state else "not loaded" for entry in entries if entry.state != "READY"]
    return ServedModel(name, tuple(versions), state, "; ".join(filter(None, reasons)), _role(name, names))


def _role(name: str, names: set[str]) -> str:
    for role, suffix in _SUFFIXES.items():
        if name.endswith(suffix) and name.removesuffix(suffix) in names:
            return role
    return "" if names.isdisjoint(twin_names(name).values()) else "hybrid"


def is_busy(index: Sequence[IndexEntry], model: str) -> bool:
    """Tell whether any version of the model is served, or on its way in or out."""
    return any(entry.name == model and entry.state in {"READY", "LOADING", "UNLOADING"} for entry in index)


def is_leaving(index: Sequence[IndexEntry], model: str) -> bool:
    """Tell whether all that is left of the model is on its way out."""
    states = {entry.state for entry in index if entry.name == model}
    return "UNLOADING" in states and states.isdisjoint({"READY", "LOADING"})


def is_passing(error: ModelNotFound, model: str, version: str, index: Sequence[IndexEntry]) -> bool:
    """Tell whether a model that was not found is being loaded or replaced, or has come back since."""
    states = {entry.state for entry in index if entry.name == model and version in ("", entry.version)}
    return bool(states & {"LOADING", "UNLOADING"}) or ("READY" in states and _UNKNOWN in error.detail)


def explain_missing(
    error: ModelNotFound, model: str, version: str, index: Sequence[IndexEntry]
) -> UnderstudyClientError:
    """Return what "not found" means; Triton says the same of a model that is unknown, unloaded, or failed to load."""
    found = {served.name: served for served in catalogue(index)}
    served = found.get(model)
    if served is None:
        ready = tuple(name for name, other in found.items() if other.state == "READY")
        return ModelNotFound(error.where, error.detail, ready)
    if version and served.versions and version not in served.versions:
        known = tuple(f"{model} version {number}" for number in served.versions)
        return ModelNotFound(error.where, error.detail, known)
    if served.state != "READY":
        reason = f", {served.reason}" if served.reason else ""
        return ModelNotReady(error.where, f"the model is {served.state}{reason}")
    # It is served after all, so these words are not the server's but the model's own.
    return ServerError(error.where, error.detail)
