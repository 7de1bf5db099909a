"""What can go wrong between a caller and the twins.

HybridError
├── SettingsInvalid     a parameter of config.pbtxt; the model refuses to load
├── DtypeUnknown        a tensor that NumPy has no dtype for; the model refuses to load
├── ReleaseRefused      the release on disk is damaged, or no twin belongs to it; the model refuses to load
├── RequestInvalid      the caller's mistake: answered INVALID_ARG, and never held against a twin
├── TwinFailed          one twin gave no usable answer; `unavailable` where it cannot be asked at all
├── BothFailed          neither did: answered UNAVAILABLE if neither could be asked, INTERNAL otherwise
└── DeadlinePassed      no answer in time: answered UNAVAILABLE
"""

from __future__ import annotations

from collections.abc import Iterable


class HybridError(Exception):
    """Base of everything that this package raises."""


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


class TwinFailed(HybridError):
    """One twin gave no usable answer. `unavailable`: it is not loaded, dead, or refuses work."""

    def __init__(self, twin: str, cause: str, unavailable: bool = False) -> None:
        super().__init__(f"{twin}: {cause}")
        self.twin = twin
        self.unavailable = unavailable


class BothFailed(HybridError):
    """Neither twin gave a usable answer; names both causes."""

    def __init__(self, primary: HybridError, fallback: HybridError) -> None:
        super().__init__(f"no twin could answer ({primary}; {fallback})")
        self.unavailable = all(isinstance(e, TwinFailed) and e.unavailable for e in (primary, fallback))


class DeadlinePassed(HybridError):
    """Time ran out before either twin answered."""

    def __init__(self, deadline_s: float, primary: str) -> None:
        super().__init__(f"no answer within the deadline of {deadline_s * 1e3:.0f} ms ({primary})")
