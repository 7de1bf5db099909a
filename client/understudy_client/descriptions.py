"""The memory of what the server's models look like, and what "not found" means."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from .calls import Call, ReadConfig, ReadIndex, ReadMetadata
from .catalogue import explain_missing, is_passing
from .description import ModelDescription
from .errors import ModelNotFound, UnderstudyClientError
from .steps import Backoff, Deadline, Steps, send

__all__ = ["Descriptions", "send_to_model"]

AnswerT = TypeVar("AnswerT")
_ONCE = Backoff(retries=0)


def send_to_model(
    make: Callable[[float], Call[AnswerT]], model: str, version: str, deadline: Deadline, backoff: Backoff
) -> Steps[AnswerT]:
    """Send a call about a model as `send` does, and look in the index where the server says "not found".

    A model that is on its way in or out is asked again. Raises `ModelNotFound` with what the server has, or
    `ModelNotReady` with the state of the model.
    """

    def meaning(error: ModelNotFound) -> Steps[tuple[UnderstudyClientError, bool]]:
        try:
            index = yield from send(lambda _: ReadIndex(), deadline, _ONCE)
        except UnderstudyClientError:
            return error, False
        return explain_missing(error, model, version, index), is_passing(error, model, version, index)

    return (yield from send(make, deadline, backoff, meaning))


class Descriptions:
    """What each model and version looks like, asked once.

    A description is a frozen value put in place whole, so threads may share this.
    """

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._known: dict[tuple[str, str], ModelDescription] = {}

    def get(self, model: str, version: str, deadline: Deadline) -> Steps[tuple[ModelDescription, bool]]:
        """Return the description, and whether it was remembered and may thus be out of date."""
        known = self._known.get((model, version))
        if known is not None:
            return known, True
        return (yield from self.read(model, version, deadline)), False

    def read(self, model: str, version: str, deadline: Deadline) -> Steps[ModelDescription]:
        """Ask the server anew and remember the answer."""
        metadata = yield from send_to_model(
            lambda _: ReadMetadata(model, version), model, version, deadline, self._backoff
        )
        config = yield from send_to_model(lambda _: ReadConfig(model, version), model, version, deadline, self._backoff)
        description = ModelDescription.of(metadata, config)
        self._known[model, version] = description
        return description

    def forget(self, model: str) -> None:
        """Drop every version of a model; the next call asks again."""
        for key in list(self._known):
            if key[0] == model:
                self._known.pop(key, None)
