"""A release cannot be published, switched or trusted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from .base import ConversionError


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


class NothingServed(PublishError):
    """No release of a model is served, so that there is nothing to look at."""

    def __init__(self, root: Path, name: str) -> None:
        super().__init__(f"{root} serves no release of '{name}'; publish it with convert")


class ReleaseUnknown(PublishError):
    """No such release in the repository."""

    def __init__(self, name: str, version: int | None, known: Iterable[int]) -> None:
        listed = ", ".join(map(str, known)) or "none"
        what = f"release {version} of {name}" if version else f"earlier release of {name}"
        super().__init__(f"there is no {what} to serve; releases on disk: {listed}")


class ReleaseBroken(PublishError):
    """The release to serve is not what was published; it may be the one that is served already."""

    def __init__(self, name: str, version: int, damages: Sequence[str], *, served: bool) -> None:
        what = "is served and is damaged" if served else "is damaged and is not served"
        super().__init__(f"release {version} of {name} {what} ({'; '.join(damages)}); choose another one")


class ReleaseRefused(PublishError):
    """A server that runs did not take a release, or gave other answers than its golden samples."""


class AnswersDiffer(ReleaseRefused):
    """A release that was asked for its golden samples answered, and otherwise: no machine's shortage does that."""


class RehearsalImpossible(PublishError):
    """This machine cannot run a server of its own for a rehearsal."""


class ReleaseQuarantined(PublishError):
    """A release did not go live; what was served before is served again, as far as the server took it."""

    def __init__(
        self, name: str, version: int, why: str, *, place: Path, served: int | None, untaken: Sequence[str]
    ) -> None:
        super().__init__(
            f"release {version} of {name} did not go live: {why}; {_serving(served, untaken)}, and the new one lies in "
            f"{place}"
        )


class ReleaseStays(PublishError):
    """A release that was published before did not go live again, which may be for what the machine lacks just now."""

    def __init__(self, name: str, version: int, why: str, *, served: int | None, untaken: Sequence[str]) -> None:
        super().__init__(
            f"release {version} of {name} did not go live: {why}; {_serving(served, untaken)}, and release {version} "
            "stays in the repository: put right what failed, and run again"
        )


class RepositoryUnwritable(PublishError):
    """The file system refused: full, read-only, or not permitted."""

    def __init__(self, root: Path, cause: str) -> None:
        super().__init__(f"cannot publish to {root}: {cause}; what was served before is untouched")
        self.cause = cause


class StagingImpossible(PublishError):
    """The repository is a mount of its own, or lies in a folder where nothing can be put beside it."""

    def __init__(self, root: Path, staging: Path, cause: str) -> None:
        super().__init__(
            f"cannot publish to {root}: releases are staged beside it, in {staging}, and renamed into it, and that is "
            f"not possible: {cause}; make the repository a folder below, such as {root / 'model_repository'}, and "
            "serve that"
        )


class UndoFailed(PublishError):
    """A release did not go live, and what had been done for it could not be taken back: the journal still has it."""

    def __init__(self, name: str, version: int, why: str, failure: BaseException) -> None:
        cause = (getattr(failure, "strerror", None) or str(failure)) or "interrupted"
        super().__init__(
            f"release {version} of {name} did not go live ({why}), and that could not be undone: {cause}; until it is, "
            f"release {version} may be served: put that right (a full disk needs space) and run again, which undoes it "
            "first"
        )


class RepositoryUnreadable(PublishError):
    """A folder or a file that cannot be looked at: what it holds is not known, and not taken for nothing."""

    def __init__(self, place: Path, cause: str) -> None:
        super().__init__(f"{place} cannot be read: {cause}; make it readable for this user, or put it back")


class JournalDamaged(PublishError):
    """What tells of a switch that has begun is not as it was written: which release has been proved is not known."""

    def __init__(self, journal: Path, name: str) -> None:
        super().__init__(
            f"{journal} tells of a switch of {name} that has begun and not ended, and is damaged, so that it cannot be "
            "undone: remove the file, and serve a release that is known to be good with `rollback --to`"
        )


class ModelForeign(PublishError):
    """A name under which nothing was published, or may be: a twin's, or that of a model from elsewhere."""


class PreflightFailed(ConversionError):
    """The target's Triton would not serve the release, or its ONNX Runtime gives other answers."""

    exit_code = 12

    def __init__(self, what: str, target: object, refusals: Sequence[str]) -> None:
        told = "; ".join(refusals)
        super().__init__(f"{target} would not serve {what}: {told}; correct that, or choose another target")


class TargetUnknown(ConversionError):
    """A Triton release that no table here has, on the command line."""

    exit_code = 2

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(f"--target must be {expected}, found '{found}'")


class SamplesDiffer(ConversionError):
    """A release answers otherwise than its original did in service."""

    exit_code = 11

    def __init__(self, differing: int, total: int) -> None:
        super().__init__(f"{differing} of {total} answers are not what the original said in service")


class VerificationFailed(ConversionError):
    """Releases on disk that do not hold."""

    exit_code = 11

    def __init__(self, failed: int, total: int) -> None:
        super().__init__(
            f"{failed} of {total} releases do not hold; convert the models again, or roll back to an ok one"
        )


def _serving(served: int | None, untaken: Sequence[str]) -> str:
    if untaken:
        pinned = "no release is pinned any more" if served is None else f"release {served} is pinned again"
        return f"{pinned}, which the server did not take ({'; '.join(untaken)})"
    return "no release is served" if served is None else f"release {served} is served as before"
