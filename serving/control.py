"""Load, unload and probe the models of a running server, over gRPC."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from serving.connection import CA_VARIABLE, KEY_VARIABLE, connect
from serving.errors import (
    KeyRefused,
    LoadFailed,
    ModelError,
    ModelNotFound,
    ProbeFailed,
    RepositoryUnreadable,
    ServerUnreachable,
    ServingError,
    UnloadFailed,
)
from serving.probe import golden_inputs, probe_inputs

_Answer = TypeVar("_Answer")
_GONE = frozenset({"", "UNAVAILABLE"})
# What Triton says of a call without the key, by the status of a server that is not there.
_RESTRICTED = "This protocol is restricted"
# What may come of a server that is not there. Of one that is busy comes the second as well, which says as little.
_SILENT = frozenset({"StatusCode.UNAVAILABLE", "StatusCode.DEADLINE_EXCEEDED", "StatusCode.CANCELLED", ""})


@dataclass(frozen=True)
class ModelStatus:
    """One version of one model as the server's index tells it; `version` is None for a model that was never loaded."""

    name: str
    version: int | None
    state: str
    reason: str

    @property
    def ready(self) -> bool:
        """What the server believes. A dead Python stub is still READY in 24.10: only a probe tells."""
        return self.state == "READY"


class ModelControl:
    """A connection to one server. Every call has a deadline; close it, or use it in a `with`.

    `key` is that of the server's control API, where it has one: every call raises KeyRefused where that is another one.
    With `ca`, a file of certificates to trust, it speaks TLS. Raises UsageError where that cannot be read.
    """

    def __init__(
        self, grpc_url: str, *, key: str = "", ca: str = "", timeout_s: float = 10.0, load_timeout_s: float = 300.0
    ) -> None:
        self.grpc_url = grpc_url
        self._timeout_s = timeout_s
        self._load_timeout_s = load_timeout_s
        self._client = connect(grpc_url, key, ca)

    @classmethod
    def from_environment(cls, grpc_url: str) -> ModelControl:
        """With the key and the certificates that the environment names, if any. Raises UsageError."""
        return cls(grpc_url, key=os.environ.get(KEY_VARIABLE, ""), ca=os.environ.get(CA_VARIABLE, ""))

    def __enter__(self) -> ModelControl:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def index(self) -> list[ModelStatus]:
        """Every model of the repository, a line per version. Raises RepositoryUnreadable, ServerUnreachable."""
        answer = self._ask(
            lambda: self._client.get_model_repository_index(client_timeout=self._timeout_s),
            lambda reason: RepositoryUnreadable(self.grpc_url, reason),
            _SILENT,
        )
        return [
            ModelStatus(one.name, int(one.version) if one.version else None, one.state, one.reason)
            for one in answer.models
        ]

    def ready(self, name: str, version: int | None = None) -> bool:
        """Whether the server says that the model serves. False for a model that it does not know."""
        return bool(
            self._ask(lambda: self._client.is_model_ready(name, _text(version), client_timeout=self._timeout_s), None)
        )

    def load(self, name: str) -> None:
        """Load the versions that config.pbtxt pins; what already serves and did not change is left as it is.

        A Python model whose byte code Python wrote beside it counts as changed: 24.10 loads it once more at the next
        call, without a gap in serving. Releases give byte code no place; those from before they did, and models made by
        hand, are loaded twice. And 24.10 crashes, about once in seven times, when of several pinned versions one loads
        again while it serves and another fails: pin a version that was never loaded alone, or try it on a server of its
        own first.
        Raises ModelNotFound, LoadFailed with the server's reason, ServerUnreachable.
        """
        self._must_exist(name)
        self._ask(
            lambda: self._client.load_model(name, client_timeout=self._load_timeout_s),
            lambda reason: LoadFailed(name, reason),
        )

    def unload(self, name: str, *, wait_s: float = 10.0) -> None:
        """Drop a model; return when its requests in flight have left it, or after `wait_s` at the latest.

        From the start of the call it takes no new ones. The wait has an end because in 24.10 a model whose stub died
        is UNLOADING for ever, though it may be loaded again. Raises ModelNotFound, UnloadFailed, ServerUnreachable.
        """
        self._must_exist(name)
        self._ask(
            lambda: self._client.unload_model(name, client_timeout=self._timeout_s),
            lambda reason: UnloadFailed(name, reason),
        )
        deadline = time.monotonic() + wait_s
        with contextlib.suppress(RepositoryUnreadable):
            while time.monotonic() < deadline and self._is_there(name):
                time.sleep(0.02)

    def reload(self, name: str) -> None:
        """Unload and load: the only way back for a model whose Python stub has died. Raises as both of them."""
        self.unload(name, wait_s=0.0)
        self.load(name)

    def switch(self, name: str) -> list[str]:
        """Serve what the configurations of a published model pin now: the ONNX twin, the hybrid, then the original.

        A hybrid asks twins of its own release alone, so at each moment one twin of the hybrid that serves is there: the
        old original, until the new hybrid, which has the new ONNX twin by then. Returns the names in the order loaded.
        The first that fails ends it. Raises as `load`.
        """
        known = {one.name for one in self.index()}
        names = [one for one in (f"{name}_onnx", name, f"{name}_original") if one == name or one in known]
        for one in names:
            self.load(one)
        return names

    def metadata(self, name: str, version: int | None = None) -> dict[str, Any]:
        """Names, dtypes and shapes of a served model, as the server tells them. Raises ModelError."""
        answer: dict[str, Any] = self._ask(
            lambda: self._client.get_model_metadata(name, _text(version), as_json=True, client_timeout=self._timeout_s),
            lambda reason: ModelError(name, reason),
        )
        return answer

    def config(self, name: str, version: int | None = None) -> Any:
        """The completed configuration of a served model (tritonclient's ModelConfig message). Raises ModelError."""
        answer = self._ask(
            lambda: self._client.get_model_config(name, _text(version), client_timeout=self._timeout_s),
            lambda reason: ModelError(name, reason),
        )
        return answer.config

    def answered(self, name: str) -> int:
        """How many requests all versions of a model have answered since each was loaded. Raises ModelError."""
        found = self._ask(
            lambda: self._client.get_inference_statistics(name, client_timeout=self._timeout_s),
            lambda reason: ModelError(name, reason),
        )
        return sum(one.inference_stats.success.count for one in found.model_stats)

    def probe(
        self, name: str, version: int | None = None, timeout_s: float | None = None, golden: Path | None = None
    ) -> float:
        """Run the model once, on the first of the `golden` samples; return the seconds it took.

        Without them the request is the smallest one of zeros that its configuration allows.
        Raises ProbeFailed with the server's reason, ModelError for a model that is not served, ServerUnreachable.
        """
        config = self.config(name, version)
        sequence = {}
        if config.WhichOneof("scheduling_choice") == "sequence_batching":
            sequence = {"sequence_id": 1, "sequence_start": True, "sequence_end": True}
        started = time.monotonic()
        self._ask(
            lambda: self._client.infer(
                name,
                golden_inputs(config, golden) if golden is not None else probe_inputs(config),
                _text(version),
                client_timeout=timeout_s or self._timeout_s,
                **sequence,
            ),
            lambda reason: ProbeFailed(name, reason),
        )
        return time.monotonic() - started

    def infer(self, name: str, version: int, inputs: Sequence[Any], timeout_s: float) -> Any:
        """Run a model once on tritonclient's InferInputs; gives its InferResult. Raises ProbeFailed and as all."""
        return self._ask(
            lambda: self._client.infer(name, inputs, _text(version), client_timeout=timeout_s),
            lambda reason: ProbeFailed(name, reason),
        )

    def _is_there(self, name: str) -> bool:
        return any(one.name == name and one.state not in _GONE for one in self.index())

    def _must_exist(self, name: str) -> None:
        try:
            names = sorted({one.name for one in self.index()})
        except RepositoryUnreadable:
            # One entry that nobody looks after keeps 24.10 from listing them, but from loading or unloading none.
            return
        if name not in names:
            raise ModelNotFound(name, f"the server's repository holds {', '.join(names) or 'no model'}")

    def _ask(
        self,
        call: Callable[[], _Answer],
        refused: Callable[[str], ServingError] | None,
        silent: Collection[str] = (),
    ) -> _Answer:
        """Run one call; turn the client's one error class into ours, by its status code: `silent` is no answer."""
        from tritonclient.utils import InferenceServerException

        try:
            return call()
        except InferenceServerException as error:
            status, reason = error.status() or "", error.message() or "no reason given"
            if reason.startswith(_RESTRICTED):
                raise KeyRefused(self.grpc_url, KEY_VARIABLE) from error
            unreachable = status in silent or (status == "StatusCode.UNAVAILABLE" and not self._answers())
            if unreachable or refused is None:
                raise ServerUnreachable(self.grpc_url, reason) from error
            raise refused(reason) from error

    def _answers(self) -> bool:
        """Whether a server is there at all: UNAVAILABLE is also what a model answers that is not."""
        from tritonclient.utils import InferenceServerException

        try:
            return bool(self._client.is_server_live(client_timeout=self._timeout_s))
        except InferenceServerException:
            return False


def _text(version: int | None) -> str:
    return "" if version is None else str(version)
