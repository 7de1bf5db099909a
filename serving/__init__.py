"""Find, start, stop and watch a Triton server, and load, unload and probe its models.

Public names load on first use, so that `import serving` loads nothing else and `python -m serving.doctor` runs on the
standard library alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serving.control import ModelControl, ModelStatus
    from serving.errors import (
        KeyRefused,
        LoadFailed,
        LoadHangs,
        MachineError,
        ModelError,
        ModelNotFound,
        NoRunDirectory,
        NoSharedMemory,
        PortNotOpened,
        PortTaken,
        ProbeFailed,
        PythonNotSuitable,
        RepositoryError,
        RepositoryUnreadable,
        ServerFailed,
        ServerUnreachable,
        ServingError,
        StateNotWritten,
        StateTaken,
        TritonNotFound,
        UnloadFailed,
        UsageError,
    )
    from serving.server import TritonServer
    from serving.state import RunningServer, read_state

_HOME = {
    "KeyRefused": "errors",
    "LoadFailed": "errors",
    "LoadHangs": "errors",
    "MachineError": "errors",
    "ModelControl": "control",
    "ModelError": "errors",
    "ModelNotFound": "errors",
    "ModelStatus": "control",
    "NoRunDirectory": "errors",
    "NoSharedMemory": "errors",
    "PortNotOpened": "errors",
    "PortTaken": "errors",
    "ProbeFailed": "errors",
    "PythonNotSuitable": "errors",
    "RepositoryError": "errors",
    "RepositoryUnreadable": "errors",
    "RunningServer": "state",
    "ServerFailed": "errors",
    "ServerUnreachable": "errors",
    "ServingError": "errors",
    "StateNotWritten": "errors",
    "StateTaken": "errors",
    "TritonNotFound": "errors",
    "TritonServer": "server",
    "UnloadFailed": "errors",
    "UsageError": "errors",
    "read_state": "state",
}

__all__ = [
    "KeyRefused",
    "LoadFailed",
    "LoadHangs",
    "MachineError",
    "ModelControl",
    "ModelError",
    "ModelNotFound",
    "ModelStatus",
    "NoRunDirectory",
    "NoSharedMemory",
    "PortNotOpened",
    "PortTaken",
    "ProbeFailed",
    "PythonNotSuitable",
    "RepositoryError",
    "RepositoryUnreadable",
    "RunningServer",
    "ServerFailed",
    "ServerUnreachable",
    "ServingError",
    "StateNotWritten",
    "StateTaken",
    "TritonNotFound",
    "TritonServer",
    "UnloadFailed",
    "UsageError",
    "read_state",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'serving' has no attribute {name!r}")
    return getattr(import_module(f"serving.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
