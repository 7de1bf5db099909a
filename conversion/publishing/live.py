"""A running Triton, as publishing sees it. The command line implements it: here nobody knows `serving`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..errors import PublishError, ReleaseRefused
from ..proof.samples import Batch

__all__ = ["FindLive", "Live", "LiveServer", "Rehearsal"]


class LiveServer(Protocol):
    """A server that runs on a repository. Each call raises ReleaseRefused if it says no, PublishError if it is gone."""

    @property
    def address(self) -> str:
        """Where it listens, as host:port."""

    def load(self, model: str) -> None:
        """Serve the versions that the model's config.pbtxt pins now; what served before goes on where that fails."""

    def unload(self, model: str) -> None:
        """Serve no version of the model; nothing happens where it does not know the model."""

    def versions(self, model: str) -> list[int]:
        """The versions that are ready, ascending; none for a model that it does not know."""

    def infer(self, model: str, version: int, inputs: Batch) -> Batch:
        """The model's outputs for inputs of the shapes that its configuration announces; strings as bytes."""


# Starts a server of its own on a repository for as long as the context lasts, with every model of it loaded. Raises
# RehearsalImpossible where this machine can run none, ReleaseRefused where a model does not load.
Rehearsal = Callable[[Path], AbstractContextManager[LiveServer]]


@dataclass(frozen=True)
class Live:
    """Where a release goes live, and how: `rehearsal` is None where none is wanted; `report` hears what was done."""

    server: LiveServer
    rehearsal: Rehearsal | None
    report: Callable[[str], None]

    def answers(self, model: str) -> bool:
        """Whether the server can be asked which versions of `model` it has: one that is started again cannot, yet."""
        try:
            self.server.versions(model)
        except ReleaseRefused:
            return True
        except PublishError:
            return False
        return True


# Where a release goes live as things are when it is called: a server may have been started, or have ended, meanwhile.
# None for files alone.
FindLive = Callable[[], Live | None]
