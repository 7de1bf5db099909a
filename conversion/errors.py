"""Everything that `conversion` raises, and the exit code that the command line makes of it.

ConversionError                        exit code
├── SpecError                                  3   model.toml
│   ├── SpecMissing
│   ├── SpecUnreadable
│   ├── UnknownKey
│   ├── WrongValue
│   └── KeyMissing
├── ArtefactError                              4   the model's files, or what they do when loaded
├── ExportFailed                               5   no exporter could convert the model
├── Unsupported                                6   the graph cannot be served as the spec asks
│   ├── UnsupportedDtype
│   ├── FixedDimension
│   ├── RowsMixed
│   ├── UnsupportedGraph
│   └── NameMismatch
├── ParityBroken                               7   the twin does not match the original
├── BrokenOnnx                                 8   not a valid ONNX file
├── PublishError                               9   the repository could not be written or switched
│   ├── RepositoryLocked
│   ├── InterfaceChanged
│   ├── ReleaseUnknown
│   ├── ReleaseBroken
│   └── RepositoryUnwritable
├── WorkerDied                                10   the converting process was killed
└── VerificationFailed                        11   a release is not what was published, or answers otherwise
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path


class ConversionError(Exception):
    """Base of everything that this package raises; `exit_code` is the command line's."""

    exit_code = 1


class SpecError(ConversionError):
    """model.toml cannot be used as it is."""

    exit_code = 3


class SpecMissing(SpecError):
    """There is no model.toml where one was looked for."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} does not exist; a model is a folder that holds model.toml")


class SpecUnreadable(SpecError):
    """model.toml is not TOML."""

    def __init__(self, path: Path, cause: str) -> None:
        super().__init__(f"{path} is not valid TOML: {cause}")


class UnknownKey(SpecError):
    """A key that no spec has."""

    def __init__(self, path: Path, key: str, known: Iterable[str]) -> None:
        names = sorted(known)
        place, _, last = key.rpartition(".")
        near = difflib.get_close_matches(last, names, n=1)
        prefix = f"{place}." if place else ""
        hint = f"did you mean '{prefix}{near[0]}'?" if near else f"known here: {', '.join(names)}"
        super().__init__(f"{path}: unknown key '{key}'; {hint}")


class WrongValue(SpecError):
    """A known key with a value of the wrong type or outside its range."""

    def __init__(self, path: Path, key: str, expected: str, found: object) -> None:
        super().__init__(f"{path}: '{key}' must be {expected}, found {found!r}")


class KeyMissing(SpecError):
    """A key without which the model cannot be understood."""

    def __init__(self, path: Path, key: str, why: str) -> None:
        super().__init__(f"{path}: '{key}' is missing: {why}")


class ArtefactError(ConversionError):
    """The model's own files: missing, unreadable, of wrong weights, or with a factory that raises."""

    exit_code = 4


class ExportFailed(ConversionError):
    """Every exporter failed; the sentence names each with its reason."""

    exit_code = 5

    def __init__(self, name: str, attempts: Sequence[tuple[str, str]]) -> None:
        told = "; ".join(f"{exporter}: {cause}" for exporter, cause in attempts)
        super().__init__(f"{name} could not be exported to ONNX ({told})")


class Unsupported(ConversionError):
    """The graph is valid, but cannot be served as the spec asks."""

    exit_code = 6


class UnsupportedDtype(Unsupported):
    """A dtype that Triton's ONNX Runtime backend does not take."""

    def __init__(self, tensor: str, dtype: str, known: Iterable[str]) -> None:
        super().__init__(
            f"tensor '{tensor}' has dtype {dtype}, which Triton's ONNX Runtime backend cannot serve; "
            f"use one of {', '.join(known)}"
        )


class FixedDimension(Unsupported):
    """A dimension that must be dynamic is a number in the artefact, or came out of the export as one."""

    def __init__(self, tensor: str, dimension: str, found: Sequence[object]) -> None:
        shape = ", ".join(str(size) for size in found)
        super().__init__(
            f"dimension '{dimension}' of tensor '{tensor}' is fixed, [{shape}], and must be dynamic; "
            "make the model accept any size there"
            + (", or set max_batch_size = 0 in [serving] to serve it unbatched" if dimension == "batch" else "")
        )


class RowsMixed(Unsupported):
    """A row of an output depends on more than its own row of the inputs, so that batching would change answers."""

    def __init__(self, output: str, how: str) -> None:
        super().__init__(
            f"output '{output}' {how}: requests that Triton batches would change each other's answers; "
            "make each row depend on its own input alone, or set max_batch_size = 0 in [serving]"
        )


class UnsupportedGraph(Unsupported):
    """Operators, opset or IR that the target server's ONNX Runtime cannot read."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the graph cannot be served: {what}")


class NameMismatch(Unsupported):
    """The spec names tensors that the model does not have."""

    def __init__(self, kind: str, named: Iterable[str], found: Iterable[str]) -> None:
        super().__init__(
            f"model.toml names the {kind} {', '.join(named)}, but the model has {', '.join(found)}; "
            "correct the names or leave them out"
        )


class ParityBroken(ConversionError):
    """The twin's outputs differ from the original's by more than the tolerance."""

    exit_code = 7

    def __init__(self, name: str, failures: Sequence[str]) -> None:
        shown = "; ".join(failures[:6]) + (f"; and {len(failures) - 6} more" if len(failures) > 6 else "")
        super().__init__(f"the ONNX twin of {name} does not match the original, nothing was published: {shown}")


class BrokenOnnx(ConversionError):
    """A file that is not a valid ONNX model."""

    exit_code = 8

    def __init__(self, path: Path, cause: str) -> None:
        super().__init__(f"{path} is not a valid ONNX model: {cause}")


class PublishError(ConversionError):
    """The repository could not be written or switched; what was served before is still served."""

    exit_code = 9


class RepositoryLocked(PublishError):
    """Another publisher is at work."""

    def __init__(self, root: Path, holder: str) -> None:
        super().__init__(f"{root} is being published to by process {holder}; wait for it and run again")


class InterfaceChanged(PublishError):
    """The new release has other inputs or outputs than the one that is served."""

    def __init__(self, name: str, served: int, difference: str) -> None:
        super().__init__(
            f"the new release of {name} has another interface than release {served} that callers use ({difference}); "
            "publish it under another name, or accept the break with --new-interface"
        )


class ReleaseUnknown(PublishError):
    """No such release in the repository."""

    def __init__(self, name: str, version: int | None, known: Iterable[int]) -> None:
        listed = ", ".join(map(str, known)) or "none"
        what = f"release {version} of {name}" if version else f"earlier release of {name}"
        super().__init__(f"there is no {what} to serve; releases on disk: {listed}")


class ReleaseBroken(PublishError):
    """The release to serve is not what was published."""

    def __init__(self, name: str, version: int, damages: Sequence[str]) -> None:
        super().__init__(
            f"release {version} of {name} is damaged and is not served ({'; '.join(damages)}); choose another one"
        )


class RepositoryUnwritable(PublishError):
    """The file system refused: full, read-only, or not permitted."""

    def __init__(self, root: Path, cause: str) -> None:
        super().__init__(f"cannot publish to {root}: {cause}; what was served before is untouched")


class WorkerDied(ConversionError):
    """The converting process ended without an answer."""

    exit_code = 10

    def __init__(self, name: str, how: str, log: Path) -> None:
        super().__init__(f"the process that converted {name} {how}; its output is in {log}")


class VerificationFailed(ConversionError):
    """Releases on disk that do not hold."""

    exit_code = 11

    def __init__(self, failed: int, total: int) -> None:
        super().__init__(
            f"{failed} of {total} releases do not hold; convert the models again, or roll back to an ok one"
        )


def by_name() -> dict[str, type[ConversionError]]:
    """All classes of the tree, for an error that crossed a process boundary."""
    found: dict[str, type[ConversionError]] = {}
    queue: list[type[ConversionError]] = [ConversionError]
    while queue:
        cls = queue.pop()
        found[cls.__name__] = cls
        queue += cls.__subclasses__()
    return found
