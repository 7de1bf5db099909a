"""A server that follows the pins of a repository, as Triton does, and lets no publisher leave a gap in serving."""

import contextlib
from pathlib import Path

import numpy as np
import onnxruntime

from conversion.errors import ReleaseRefused
from conversion.publishing.live import Live
from conversion.release.pbtxt import ROLES
from python_backend.integrity import config_damages, pins


class Server:
    """Serves what it was told to load. Fails at its `fail_at`-th call with `error`; answers by the twin's graph."""

    address = "127.0.0.1:1"

    def __init__(self, root: Path, name: str = "net") -> None:
        self.root, self.name = root, name
        self.ready: dict[str, list[int]] = {}
        self.calls: list[str] = []
        self.seen: list[tuple[str, dict[str, list[int]]]] = []
        self.fail_at: int | None = None
        self.error: BaseException = ReleaseRefused("refused")
        # What a twin answers instead of its own: (model, version) to a factor.
        self.wrong: dict[tuple[str, int], float] = {}
        self.answers_by = "onnx"

    def pinned(self) -> dict[str, list[int]]:
        return {role: list(pins(self.root / f"{self.name}{s}" / "config.pbtxt")) for role, s in ROLES.items()}

    def load(self, model: str) -> None:
        self._called(model)
        self.seen.append((model, self.pinned()))
        self.ready[model] = list(pins(self.root / model / "config.pbtxt"))
        for version in self.ready[model]:
            assert config_damages(self.root / model / str(version)) == [], "each version looks at what pins it"
        self._no_gap()

    def unload(self, model: str) -> None:
        self._called(f"unload {model}")
        self.ready.pop(model, None)
        self._no_gap()

    def versions(self, model: str) -> list[int]:
        return self.ready.get(model, [])

    def infer(self, model, version, inputs):
        self._called(f"{model}:{version}")
        assert version in self.ready[model]
        graph = self.root / f"{self.name}_onnx" / str(version) / "model.onnx"
        answer = onnxruntime.InferenceSession(str(graph)).run(None, dict(inputs))[0]
        outputs = {"y": answer * np.float32(self.wrong.get((model, version), 1))}
        if model == self.name:
            outputs["served_by"] = np.full((len(answer), 1), self.answers_by.encode(), object)
        return outputs

    def _called(self, call: str) -> None:
        self.calls.append(call)
        if len(self.calls) == self.fail_at:
            raise self.error

    def _no_gap(self) -> None:
        """Each hybrid that serves finds its own version in a twin."""
        for version in self.ready.get(self.name, []):
            twins = [self.ready.get(f"{self.name}{ROLES[role]}", []) for role in ("onnx", "original")]
            assert any(version in twin for twin in twins), f"the hybrid serves {version}, its twins {twins}"


def serving(repository, name: str = "net") -> Server:
    """A server that has loaded what the repository pins."""
    made = Server(repository.root, name)
    for suffix in ROLES.values():
        made.load(f"{name}{suffix}")
    return made


def live(server: Server, *, rehearsed: bool = False, report=lambda _: None) -> Live:
    """A Live on the server; a rehearsal runs on a server of the same kind, with the same faults by role."""

    @contextlib.contextmanager
    def rehearse(scratch):
        private = Server(scratch, server.name)
        private.wrong, private.answers_by = server.wrong, server.answers_by
        server.rehearsals = [*getattr(server, "rehearsals", []), private]
        for suffix in ROLES.values():
            private.load(f"{server.name}{suffix}")
        yield private

    return Live(server, rehearse if rehearsed else None, report)
