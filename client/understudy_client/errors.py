"""Everything this package raises.

    UnderstudyClientError
    ├── InvalidSettings        the client was built with arguments that cannot work
    ├── ClientClosed           a verb was called after close()
    ├── InvalidRequest         the request is wrong; the server said so, or the checks made here before sending
    │   ├── UnknownTensor      an input or output that the model does not have
    │   ├── MissingInput       an input that the model needs was not given
    │   ├── WrongDtype         an input has another dtype than the model takes
    │   ├── SeveralOutputs     the only output was asked for, and there are several
    │   ├── WrongShape         an input has another shape than the model takes, or no rows
    │   └── RequestTooLarge    more bytes than the protocol or the server takes
    ├── ModelNotFound          the server has no such model, or no such version of it
    ├── ModelNotReady          the server knows the model and does not serve it now
    ├── AccessDenied           the server wants credentials, or a header that guards the endpoint
    ├── RequestCancelled       the request was cancelled before it was answered
    ├── DeadlineExceeded       no answer within the deadline
    ├── ServerUnavailable      nobody answers there, or the server has no room; retried
    ├── ConnectionLost         the connection broke after the request was sent; it may have run; retried if that is safe
    └── ServerError            the server failed on a request that it accepted
        ├── InvalidAnswer      the server answered with something that breaks the contract
        └── LoadFailed         a model did not load

The five kinds of `InvalidRequest` about tensors are in `tensor_errors`, all others here; the command line has one more
of its own, for files (`arrays.ArrayFileError`). Each class takes facts, keeps them as attributes and in ``args`` (so it
survives pickling), and makes one sentence: what happened, where, and what to do. ``where`` reads like "inference on 'm'
at 127.0.0.1:8001 (grpc)".
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "AccessDenied",
    "ClientClosed",
    "ConnectionLost",
    "DeadlineExceeded",
    "InvalidAnswer",
    "InvalidRequest",
    "InvalidSettings",
    "LoadFailed",
    "ModelNotFound",
    "ModelNotReady",
    "RequestCancelled",
    "RequestTooLarge",
    "ServerError",
    "ServerUnavailable",
    "UnderstudyClientError",
    "listed",
]


def listed(names: Sequence[str]) -> str:
    """Return names as they stand in a sentence."""
    return ", ".join(repr(name) for name in names) if names else "none"


class UnderstudyClientError(Exception):
    """Base of everything that this package raises; ``str()`` of it is one sentence for a person."""


class InvalidSettings(UnderstudyClientError):
    """The client was built with arguments that cannot work; ``setting`` names the argument."""

    def __init__(self, setting: str, found: object, expected: str) -> None:
        super().__init__(setting, found, expected)
        self.setting, self.found, self.expected = setting, found, expected

    def __str__(self) -> str:
        return f"{self.setting}={self.found!r} cannot be used: expected {self.expected}."


class ClientClosed(UnderstudyClientError):
    """A verb was called on a client that is closed, or that belongs to another event loop."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"This client cannot be used: {self.why}; make a new one."


class _Told(UnderstudyClientError):
    """An error of one place with what was said there; subclasses add what happened and what to do about it."""

    _happened = "failed"
    _advice = ""

    def __init__(self, where: str, detail: str = "") -> None:
        super().__init__(where, detail)
        self.where, self.detail = where, detail

    def __str__(self) -> str:
        said = f": {self._said}" if self._said else ""
        return f"{self.where} {self._happened}{said}; {self._advice}."

    @property
    def _said(self) -> str:
        """What was said, as a part of one line: a server's words may be a traceback."""
        return " ".join(self.detail.split()).rstrip(".; ")


class InvalidRequest(_Told):
    """The request is wrong and the same request will be refused again."""

    _happened = "was refused"
    _advice = "correct the request"


class RequestTooLarge(InvalidRequest):
    """The request holds more bytes than the protocol or the server takes."""

    _advice = "send fewer rows in one request"


class ModelNotFound(_Told):
    """The server has no model of that name, or no such version of it; ``known`` lists what it has, where it said so."""

    def __init__(self, where: str, detail: str = "", known: Sequence[str] = ()) -> None:
        super().__init__(where, detail)
        self.args = (where, detail, tuple(known))
        self.known = tuple(known)

    def __str__(self) -> str:
        found = f"the server has {listed(self.known)}" if self.known else "`models` lists what the server has"
        return f"{self.where} failed: {self._said}; {found}."


class ModelNotReady(_Told):
    """The server knows the model and does not serve it now: not loaded, unloaded, or failed to load."""

    _happened = "failed"
    _advice = "load the model (`load`), wait if the server has just started, or look at the reason that `models` shows"


class AccessDenied(_Told):
    """The server wants credentials, or the header that guards this endpoint."""

    _happened = "was denied"
    _advice = "give the client the header that the server expects (headers=…)"


class RequestCancelled(_Told):
    """The request was cancelled, by this side or by the server, before it was answered."""

    _happened = "was cancelled"
    _advice = "send it again if the answer is still wanted"


class DeadlineExceeded(_Told):
    """No answer came within the deadline; ``deadline_s`` is the whole budget of the call in seconds, if known."""

    def __init__(self, where: str, detail: str = "", deadline_s: float | None = None) -> None:
        super().__init__(where, detail)
        self.args = (where, detail, deadline_s)
        self.deadline_s = deadline_s

    def __str__(self) -> str:
        budget = "its deadline" if self.deadline_s is None else f"its deadline of {self.deadline_s:g} s"
        detail = f" ({self._said})" if self._said else ""
        return f"{self.where} was not answered within {budget}{detail}; allow more time or send fewer rows."


class ServerUnavailable(_Told):
    """Nobody answers there, or the server has no room for the request.

    ``attempts`` counts the tries. ``sent`` is False where no connection came about, so that nothing was asked.
    """

    def __init__(self, where: str, detail: str = "", attempts: int = 1, sent: bool = True) -> None:
        super().__init__(where, detail)
        self.args = (where, detail, attempts, sent)
        self.attempts, self.sent = attempts, sent

    def __str__(self) -> str:
        tries = f" after {self.attempts} attempts" if self.attempts > 1 else ""
        return (
            f"{self.where} failed{tries}, the server is unavailable: {self._said or 'no reason given'}; "
            "check that it runs there, or try again when it has less to do."
        )


class ConnectionLost(_Told):
    """The connection broke after the request was sent; the server may have run it.

    It was sent again where that does no harm, as often as what is unavailable.
    """

    _happened = "lost its connection"
    _advice = "look at the server's log"


class ServerError(_Told):
    """The server failed on a request that it accepted."""

    _happened = "failed in the server"
    _advice = "look at the server's log"


class InvalidAnswer(ServerError):
    """The server answered with something that breaks the contract: missing outputs, wrong sizes, unreadable bytes."""

    _happened = "was answered wrongly"
    _advice = "the model's backend is at fault: look at the server's log"


class LoadFailed(ServerError):
    """A model did not load; a version that was served before is served as before."""

    _advice = "correct the model's files, and see the server's log for the rest"
