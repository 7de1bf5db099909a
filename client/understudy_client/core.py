"""The client's verbs as steps: written once, performed by `HybridClient` and by `AsyncHybridClient`."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

from .calls import Load, ReadIndex, ReadStatistics, Unload
from .catalogue import ServedModel, catalogue, explain_missing, is_busy, is_leaving
from .description import ModelDescription
from .descriptions import Descriptions
from .errors import DeadlineExceeded, InvalidRequest, LoadFailed, ModelNotFound, ServerError, UnderstudyClientError
from .predicting import Parameters, Question, predict
from .prediction import Prediction
from .settings import count, seconds
from .statistics import Statistics, statistics_of
from .steps import Backoff, Clock, Deadline, Pause, Steps, send

__all__ = ["Core"]

_UNLOAD_POLL_S = 0.02
# In 24.10 a model whose process died with a request in flight is UNLOADING for ever, though it may be loaded again.
_LEAVING_S = 10.0


class Core:
    """One client's verbs and its memory of what models look like; safe to use from several threads.

    ``model`` is the name taken where a call gives none, ``timeout_s`` the deadline where a call gives none, and
    ``load_timeout_s`` the same for loading and unloading, in seconds.
    """

    def __init__(
        self, model: str, timeout_s: float, load_timeout_s: float, backoff: Backoff, clock: Clock = time.monotonic
    ) -> None:
        self._model = model
        self._timeout_s, self._load_timeout_s = timeout_s, load_timeout_s
        self._backoff, self._clock = backoff, clock
        # Loading takes as long as it takes, and is not to be begun twice.
        self._patient = replace(backoff, attempt_s=math.inf)
        self._descriptions = Descriptions(backoff)

    @classmethod
    def of(
        cls, model: str, timeout_s: float, load_timeout_s: float, retries: int, attempt_timeout_s: float | None
    ) -> Core:
        """Return a core for a client's arguments; raises `InvalidSettings`."""
        attempt_s = math.inf if attempt_timeout_s is None else seconds("attempt_timeout_s", attempt_timeout_s)
        backoff = Backoff(count("retries", retries, least=0), attempt_s)
        return cls(model, seconds("timeout_s", timeout_s), seconds("load_timeout_s", load_timeout_s), backoff)

    def predict(
        self,
        data: object,
        *,
        model: str | None,
        version: str | int,
        deadline_s: float | None,
        outputs: Sequence[str] | None,
        request_id: str | None,
        parameters: Parameters | None,
    ) -> Steps[Prediction]:
        """See `HybridClient.predict`."""
        question = Question(data, self._named(model), _version(version), outputs, request_id, parameters)
        deadline = self._deadline(deadline_s, self._timeout_s)
        return (yield from predict(question, deadline, self._descriptions, self._backoff, self._clock))

    def describe(self, model: str | None, version: str | int, deadline_s: float | None) -> Steps[ModelDescription]:
        """See `HybridClient.describe`."""
        deadline = self._deadline(deadline_s, self._timeout_s)
        return (yield from self._descriptions.read(self._named(model), _version(version), deadline))

    def models(self, deadline_s: float | None) -> Steps[tuple[ServedModel, ...]]:
        """See `HybridClient.models`."""
        deadline = self._deadline(deadline_s, self._timeout_s)
        return catalogue((yield from send(lambda _: ReadIndex(), deadline, self._backoff)))

    def statistics(self, model: str | None, deadline: Deadline) -> Steps[Statistics]:
        """See `HybridClient.statistics`, which may have more to do within the deadline."""
        name = self._named(model)
        counters = yield from send(lambda _: ReadStatistics(), deadline, self._backoff)
        statistics = statistics_of(name, counters)
        if statistics.hybrid is None and statistics.onnx is None and statistics.original is None:
            index = yield from send(lambda _: ReadIndex(), deadline, self._backoff)
            missing = ModelNotFound(f"reading the statistics of {name!r}", "the server has no counters of it")
            raise explain_missing(missing, name, "", index)
        return statistics

    def load(self, model: str, deadline_s: float | None) -> Steps[None]:
        """See `HybridClient.load`."""
        deadline = self._deadline(deadline_s, self._load_timeout_s)
        try:
            yield from send(lambda _: Load(model), deadline, self._patient)
        except (InvalidRequest, ServerError) as error:
            # Triton says either of a name that it does not know and of a model that fails; only the index tells.
            try:
                index = yield from send(lambda _: ReadIndex(), deadline, self._backoff)
            except UnderstudyClientError:
                raise error from None
            if all(entry.name != model for entry in index):
                known = tuple(served.name for served in catalogue(index))
                raise ModelNotFound(error.where, error.detail, known) from error
            raise LoadFailed(error.where, error.detail) from error
        finally:
            self._descriptions.forget(model)

    def unload(self, model: str, deadline_s: float | None) -> Steps[None]:
        """See `HybridClient.unload`."""
        deadline = self._deadline(deadline_s, self._load_timeout_s)
        call = Unload(model)
        index = yield from send(lambda _: ReadIndex(), deadline, self._backoff)
        if all(entry.name != model for entry in index):
            # Triton itself answers such a request with success.
            known = tuple(served.name for served in catalogue(index))
            raise ModelNotFound(call.title, "the server does not know this model", known)
        self._descriptions.forget(model)
        yield from send(lambda _: call, deadline, self._patient)
        state, told = "the server has not said that it is gone", self._clock()
        try:
            while is_busy((index := (yield from send(lambda _: ReadIndex(), deadline, self._backoff))), model):
                if is_leaving(index, model) and self._clock() - told >= _LEAVING_S:
                    return
                state = "requests in flight still hold it"
                yield Pause(min(_UNLOAD_POLL_S, max(0.0, deadline.remaining())))
        except DeadlineExceeded as error:
            raise DeadlineExceeded(call.title, state, deadline.seconds) from error

    def deadline(self, deadline_s: float | None) -> Deadline:
        """Return the deadline of a call that begins now and brings ``deadline_s``, or brings none."""
        return self._deadline(deadline_s, self._timeout_s)

    def _named(self, model: str | None) -> str:
        name = model or self._model
        if not name:
            raise InvalidRequest("a call without a model", 'give model="NAME", to the call or to the client')
        return name

    def _deadline(self, seconds: float | None, default: float) -> Deadline:
        return Deadline(default if seconds is None else seconds, self._clock)


def _version(version: str | int) -> str:
    text = str(version)
    if text and not (text.isascii() and text.isdigit()):
        raise InvalidRequest(
            f"a call for version {version!r}", "a version is a number, or empty for the server's choice"
        )
    return text
