"""The preflight of releases that are published: every one against every target, as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..errors import ConversionError, NothingServed, PreflightFailed
from ..publishing.repository import Repository
from ..targets import TARGETS
from .environments import Environments
from .examine import Verdict, examine, published, target_of

__all__ = ["Row", "preflight", "table"]

_HEAD = ("model", "release", "target", "ONNX Runtime", "static", "loaded", "worst difference")


@dataclass(frozen=True)
class Row:
    """One release against one target."""

    name: str
    version: int
    verdict: Verdict

    @property
    def failure(self) -> PreflightFailed | None:
        """The sentence where the target would refuse the release."""
        found = self.verdict
        if not found.refusals:
            return None
        return PreflightFailed(f"release {self.version} of {self.name}", found.target, found.refusals)

    @property
    def cells(self) -> tuple[str, ...]:
        """What the table shows. A dash: it was not loaded, or there are no golden samples to compare with."""
        found = self.verdict
        loaded = ("refused" if found.loading else "ok") if found.loaded else "-"
        return (
            self.name,
            str(self.version),
            found.target.release,
            found.target.runtime.version,
            "refused" if found.static else "ok",
            loaded,
            "-" if found.worst is None else f"{found.worst:.2g}",
        )


def preflight(
    repository: Repository,
    names: Sequence[str],
    targets: Sequence[str],
    environments: Environments,
    report: Callable[[str], None],
) -> tuple[list[Row], list[ConversionError]]:
    """Hold the served release of each model (all where none is named) against `targets`, its own where none is given.

    Gives an error for each model that is not served, or whose files are broken: it must not hide the others.
    """
    rows: list[Row] = []
    errors: list[ConversionError] = []
    for name in names or repository.names():
        try:
            rows += _rows(repository, name, targets, environments, report)
        except ConversionError as error:
            errors.append(error)
    return rows, errors


def _rows(
    repository: Repository,
    name: str,
    targets: Sequence[str],
    environments: Environments,
    report: Callable[[str], None],
) -> list[Row]:
    version = repository.served(name)
    if version is None:
        raise NothingServed(repository.root, name)
    candidate = published(repository, name, version)
    rows = []
    for target in [TARGETS[key] for key in targets] or [target_of(repository, name, version)]:
        report(f"checking release {version} of {name} against {target}")
        rows.append(Row(name, version, examine(candidate, target, environments)))
    return rows


def table(rows: Iterable[Row]) -> str:
    """Rows in columns, under a head."""
    lines = [_HEAD, *(row.cells for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
