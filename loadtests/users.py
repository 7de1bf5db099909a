"""Locust users: one class for each way to ask a model's hybrid, its ONNX twin and its original.

Every answer is a line of Locust's statistics that names who gave it. A share of the answers is compared with what is
right. Of the requests without an answer, those that were turned away since the queue is full are told from failures.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, ClassVar

import grpc
from locust import User, constant, task
from locust.contrib.fasthttp import FAILURE_EXCEPTIONS, FastHttpUser
from tritonclient.http import InferenceServerClient as Http
from tritonclient.http import InferInput

from loadtests import direct
from loadtests.questions import Question
from loadtests.summary import BY, FAILED, REFUSED
from loadtests.wire import INFER, Answer, answer_of, decode, encode, wire_name

CHECK_EVERY = 20
TIMEOUT_S = 60.0
# How the hybrid, and Triton's own queues ("Exceeds maximum queue size"), say that there is no room.
_FULL = ("is full", "maximum queue size", "is busy")


class Refused(Exception):
    """Turned away on purpose: the queue is as long as it may be."""


class Failed(Exception):
    """No answer, for any other reason."""


class Wrong(Exception):
    """An answer, and not the right one."""


class Shared:
    """What all users of one process share: the questions, and each of them as bytes for each model."""

    def __init__(self, model: str, questions: list[Question], check_every: int = CHECK_EVERY) -> None:
        self.model = model
        self.questions = questions
        self.check_every = check_every
        self._grpc: dict[str, list[bytes]] = {}
        self._http: dict[str, list[tuple[bytes, int]]] = {}
        self._plain: list[bytes] = []
        self._calls: dict[str, Any] = {}

    def grpc_requests(self, model: str) -> list[bytes]:
        """Each question as a request to `model` over gRPC."""
        if model not in self._grpc:
            self._grpc[model] = [encode(model, question.inputs) for question in self.questions]
        return self._grpc[model]

    def http_requests(self, model: str) -> list[tuple[bytes, int]]:
        """Each question as a body for HTTP, with the length of its JSON part."""
        if model not in self._http:
            self._http[model] = [_http_body(question) for question in self.questions]
        return self._http[model]

    def plain_requests(self) -> list[bytes]:
        """Each question as the bytes of its inputs, in the order of their names."""
        if not self._plain:
            self._plain = [b"".join(array.tobytes() for _, array in sorted(q.inputs.items())) for q in self.questions]
        return self._plain

    def call(self, host: str) -> Any:
        """The gRPC call that sends bytes to `host`."""
        if host not in self._calls:
            self._calls[host] = grpc_call(host)
        return self._calls[host]


class _Caller:
    """What both protocols have in common. `suffix` is that of the twin that is asked, none for the hybrid."""

    suffix: ClassVar[str] = ""
    protocol: ClassVar[str] = ""
    environment: Any

    def prepare(self) -> None:
        """Take what all users share."""
        self.shared: Shared = self.environment.shared
        self.model = self.shared.model + self.suffix
        self._dice = random.Random()
        self._compared = False

    def told(self, number: int, started: float, length: int, answer: Answer | None, error: Exception | None) -> None:
        """Count one request, under the name of the model and what became of it."""
        took_ms = (time.perf_counter() - started) * 1e3
        became = "" if error is None else REFUSED if isinstance(error, Refused) else FAILED
        # The first one in any case: of a few answers it might be none.
        if answer is not None and (not self._compared or self._dice.randrange(self.shared.check_every) == 0):
            self._compared = True
            wrong = self.shared.questions[number].wrong(answer)
            error = Wrong(wrong) if wrong else None
        if answer is not None and answer.served_by:
            became = BY + " and ".join(sorted(answer.served_by))
        self.environment.events.request.fire(
            request_type=self.protocol,
            name=self.model + became,
            response_time=took_ms,
            response_length=length,
            exception=error,
            context={},
        )

    def answered(self, number: int, started: float, length: int, read: Callable[[], Answer]) -> None:
        """Count what came in answer to a question, in `length` bytes; what `read` cannot make sense of is a failure."""
        try:
            answer = read()
        # Whatever the bytes are, they are counted, and the user goes on.
        except Exception as error:  # noqa: BLE001
            unreadable = Failed(f"the answer cannot be read: {type(error).__name__}: {str(error)[:120]}")
            self.told(number, started, length, None, unreadable)
        else:
            self.told(number, started, length, answer, None)

    def choice(self) -> int:
        """The number of the next question."""
        return self._dice.randrange(len(self.shared.questions))


class GrpcUser(_Caller, User):  # type: ignore[misc]
    """Asks over gRPC, one request after the other."""

    abstract = True
    protocol = "gRPC"
    wait_time = constant(0)

    def on_start(self) -> None:
        """Connect."""
        self.prepare()
        self._call = self.shared.call(self.host)

    @task  # type: ignore[untyped-decorator]
    def ask(self) -> None:
        """Send one question."""
        number = self.choice()
        started = time.perf_counter()
        try:
            raw = self._call(self.shared.grpc_requests(self.model)[number], timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            self.told(number, started, 0, None, _failure(error.code().name, error.details() or ""))
        else:
            self.answered(number, started, len(raw), lambda: decode(raw))


class HttpUser(_Caller, FastHttpUser):  # type: ignore[misc]
    """Asks over HTTP with binary tensors, one request after the other."""

    abstract = True
    protocol = "HTTP"
    wait_time = constant(0)
    network_timeout = TIMEOUT_S
    connection_timeout = TIMEOUT_S

    def on_start(self) -> None:
        """Take what is shared."""
        self.prepare()

    @task  # type: ignore[untyped-decorator]
    def ask(self) -> None:
        """Send one question."""
        number = self.choice()
        path, body, headers = self.request(number)
        started = time.perf_counter()
        try:
            response = self._sent(path, body, headers)
            # Only here what comes is read.
            content = bytes(response.content)
        # Whatever broke, the request is counted, and the user goes on. gevent's Timeout is no Exception.
        except (*FAILURE_EXCEPTIONS, Exception) as error:  # noqa: BLE001
            self.told(number, started, 0, None, Failed(f"{type(error).__name__}: {error}"))
            return
        if response.status_code != 200:
            said = content[:300].decode("utf-8", "replace")
            self.told(number, started, 0, None, _failure(str(response.status_code), said))
            return
        self.answered(number, started, len(content), lambda: self.answer(number, content, response.headers))

    def _sent(self, path: str, body: bytes, headers: dict[str, str]) -> Any:
        try:
            return self.client.client.urlopen(
                f"{self.host}{path}",
                method="POST",
                payload=body,
                headers={"Content-Type": "application/octet-stream", **headers},
            )
        except FAILURE_EXCEPTIONS as error:
            # Any other status than 200 is one as well, and brings its response along.
            response = getattr(error, "response", None)
            if response is None:
                raise
            return response

    def request(self, number: int) -> tuple[str, bytes, dict[str, str]]:
        """Path, body and headers of a question."""
        body, json_length = self.shared.http_requests(self.model)[number]
        return f"/v2/models/{self.model}/infer", body, {"Inference-Header-Content-Length": str(json_length)}

    def answer(self, number: int, content: bytes, headers: Any) -> Answer:  # noqa: ARG002
        """What was answered to a question. Raises an exception where the bytes are no answer."""
        return _http_answer(content, headers)


class HybridGrpc(GrpcUser):
    """The model by its public name, over gRPC."""


class TwinGrpc(GrpcUser):
    """The ONNX twin by its own name, over gRPC."""

    suffix = "_onnx"


class OriginalGrpc(GrpcUser):
    """The original by its own name, over gRPC."""

    suffix = "_original"


class HybridHttp(HttpUser):
    """The model by its public name, over HTTP."""


class TwinHttp(HttpUser):
    """The ONNX twin by its own name, over HTTP."""

    suffix = "_onnx"


class OriginalHttp(HttpUser):
    """The original by its own name, over HTTP."""

    suffix = "_original"


def grpc_call(host: str) -> Any:
    """The call that sends a request's bytes to `host`, and gives the answer's."""
    return direct.channel(host).unary_unary(INFER)


def _failure(status: str, said: str) -> Exception:
    full = status in ("UNAVAILABLE", "503") and any(words in said for words in _FULL)
    return Refused("the queue is full") if full else Failed(f"{status}: {said[:120]}")


def _http_body(question: Question) -> tuple[bytes, int]:
    tensors = []
    for name, array in question.inputs.items():
        tensors.append(InferInput(name, list(array.shape), wire_name(array.dtype)).set_data_from_numpy(array))
    body, json_length = Http.generate_request_body(tensors)
    return bytes(body), int(json_length or len(body))


def _http_answer(content: bytes, headers: Any) -> Answer:
    length = headers.get("inference-header-content-length")
    result = Http.parse_response_body(content, header_length=int(length) if length else None)
    arrays = {output["name"]: result.as_numpy(output["name"]) for output in result.get_response()["outputs"]}
    if without := [name for name, array in arrays.items() if array is None]:
        raise ValueError(f"output '{without[0]}' has no data")
    return answer_of(arrays)
