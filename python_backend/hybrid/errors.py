"""What can go wrong between a caller and the twins.

HybridError
├── SettingsInvalid     a parameter of config.pbtxt; the model refuses to load
├── DtypeUnknown        a tensor that NumPy has no dtype for; the model refuses to load
├── ReleaseRefused      the release on disk is damaged, or no twin belongs to it; the model refuses to load
├── RequestInvalid      the caller's mistake: answered INVALID_ARG, and never held against a twin
├── TwinFailed          one twin gave no usable answer; `unavailable` where it cannot be asked at all
│   └── RowsRefused     some rows, or all, of a twin's answer are not finite or out of range (with the rest: rows.py)
├── BothFailed          neither did: answered UNAVAILABLE if neither could be asked, INTERNAL otherwise
├── DeadlinePassed      no answer in time: answered UNAVAILABLE
├── Overloaded          as many requests as may be are under way: answered UNAVAILABLE, at once
└── FolderShared        others may write where exhibits are to be kept: none is, and the log says so
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

# What a model says itself, as Triton hands it on: the original, ONNX Runtime, and any other of Python. It may say every
# word there is, and no caller may switch a twin off by making it do so.
_OF_THE_MODEL = re.compile(r"the original model failed: |onnx runtime error|.*, message: (?!stub process )", re.DOTALL)
# What Triton says of a model that it cannot ask, and of one that takes no more. Triton gives text alone, and the texts
# change between releases; an unknown one still means that the twin failed, only not that it will fail again.
_DEAD = "not healthy"
_TEXTS = {
    "gone": ("is not ready", _DEAD, "unknown model", "not found", "no version"),
    "full": ("unavailable", "maximum queue size"),
}


class HybridError(Exception):
    """Base of everything that this package raises. `outcome` is what a caller gets, as the metrics call it."""

    @property
    def unavailable(self) -> bool:
        """Whether nobody took any work, so that the same request may succeed later."""
        return False

    @property
    def outcome(self) -> str:
        """invalid: the caller's mistake; unavailable and deadline: worth another try; error: none of these."""
        return "unavailable" if self.unavailable else "error"


class SettingsInvalid(HybridError):
    """A parameter in config.pbtxt has a value that makes no sense."""

    def __init__(self, key: str, expected: str, found: str) -> None:
        super().__init__(f"parameter '{key}' of the hybrid must be {expected}, found '{found}'; correct config.pbtxt")


class DtypeUnknown(HybridError):
    """A tensor in config.pbtxt has a data type that cannot be looked at with NumPy."""

    def __init__(self, tensor: str, found: str, known: Iterable[str]) -> None:
        super().__init__(f"tensor '{tensor}' must have one of the types {', '.join(known)}, found {found}; cast it")


class ReleaseRefused(HybridError):
    """The files of the release, or what pins them, are not what was published."""


class RequestInvalid(HybridError):
    """A request that no twin should see."""

    @property
    def outcome(self) -> str:
        """The caller's mistake."""
        return "invalid"


class TwinFailed(HybridError):
    """One twin gave no usable answer, for a reason of a `kind`.

    error       it said that it cannot answer
    malformed   an output was missing, or of another dtype or shape
    rows        rows were not finite or out of range
    late        it did not answer in time
    full        its queue takes no more
    gone        it is dead or not loaded
    open        its circuit breaker is open
    crowded     too many late calls to it have not returned
    damaged     its files are not what was published
    quarantined too many of its answers were not the original's
    """

    def __init__(self, twin: str, cause: str, kind: str = "error") -> None:
        super().__init__(f"{twin}: {cause}")
        self.twin = twin
        self.cause = cause
        self.kind = kind

    @property
    def absent(self) -> bool:
        """Whether Triton has it not loaded, which it says at once; of a dead process it says so after a second."""
        return self.kind == "gone" and _DEAD not in self.cause.lower()

    @property
    def unavailable(self) -> bool:
        """Whether the twin took no work."""
        return self.kind in ("full", "gone", "open", "crowded", "damaged", "quarantined")


class RowsRefused(TwinFailed):
    """The guard refused rows of a twin's answer: not finite where they must be, or out of their output's range."""

    def __init__(self, twin: str, bad: int, rows: int) -> None:
        super().__init__(twin, f"{bad} of {rows} rows are not finite or out of range", "rows")


class BothFailed(HybridError):
    """Neither twin gave a usable answer; names both causes."""

    def __init__(self, primary: HybridError, fallback: HybridError) -> None:
        super().__init__(f"no twin could answer ({primary}; {fallback})")
        self._causes = (primary, fallback)

    @property
    def unavailable(self) -> bool:
        """Whether neither took any work."""
        return all(cause.unavailable for cause in self._causes)


class DeadlinePassed(HybridError):
    """Time ran out before either twin answered."""

    def __init__(self, deadline_s: float, primary: str) -> None:
        super().__init__(f"no answer within the deadline of {deadline_s * 1e3:.0f} ms ({primary})")

    @property
    def outcome(self) -> str:
        """Worth another try."""
        return "deadline"


class Overloaded(HybridError):
    """There is no room for one more request."""

    def __init__(self, inside: str, setting: str) -> None:
        super().__init__(
            f"the hybrid is full: {inside} are under way already; try again later, or raise '{setting}' in model.toml"
        )

    @property
    def unavailable(self) -> bool:
        """Worth another try."""
        return True


class FolderShared(HybridError):
    """The folder for exhibits belongs to another user, is a link, or may be written in by others."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"{folder} must be a folder, and no link, of the user that runs the server (uid {os.geteuid()}), in which "
            "nobody else may write; correct its owner and mode, or set another shadow_folder"
        )


def kind_of(text: str) -> str:
    """The kind of a failure that Triton tells of in `text`, see TwinFailed."""
    lower = text.lower()
    if _OF_THE_MODEL.match(lower):
        return "error"
    return next((kind for kind, texts in _TEXTS.items() if any(known in lower for known in texts)), "error")
