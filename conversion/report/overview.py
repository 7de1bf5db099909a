"""The report of all models: what is served of each, with the way to its own report, and what was measured since."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pages.page import render

from ..errors import PublishError
from ..publishing.repository import Repository
from ..release.evidence import EVIDENCE, evidence_at
from .plots import ratio_plot
from .release import REPORT, require_schema
from .verdict import verdict, wins

__all__ = ["Served", "overview", "read_bench", "served", "write_overview"]


@dataclass(frozen=True)
class Served:
    """The release of one model that is served. `evidence` is None where `problem` says why; `link` may be empty."""

    name: str
    version: int | None
    link: str = ""
    evidence: Mapping[str, Any] | None = None
    problem: str = ""

    @property
    def verdict(self) -> str:
        """In one sentence."""
        return self.problem if self.evidence is None else verdict(self.evidence)

    @property
    def wins(self) -> bool:
        """Whether the twin is faster than the original anywhere."""
        return self.evidence is not None and wins(self.evidence)


def write_overview(repository: Repository, output: Path, bench: Path) -> list[str]:
    """Write the report of all models; gives a sentence for each that is only named there. `bench` need not exist.

    Raises PublishError.
    """
    found = served(repository, output.parent)
    if not found:
        raise PublishError(f"{repository.root} serves no model; publish one with convert")
    page = overview(found, read_bench(bench))
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(page, encoding="utf-8")
    except OSError as error:
        raise PublishError(f"{output} cannot be written: {error.strerror or error}") from error
    return [f"the report only names {model.name}: {model.problem}" for model in found if model.problem]


def overview(models: list[Served], bench: Mapping[str, Any] | None) -> str:
    """The page. Its figures are those of the models' evidence and of `bench`, the content of bench.json."""
    proved = [model for model in models if model.evidence is not None]
    speeds = {m.name: m.evidence["speed"]["batches"] for m in proved if m.evidence and m.evidence["speed"]["batches"]}
    measured = {name: entry["batches"] for name, entry in bench["models"].items()} if bench else {}
    return render(
        __package__,
        "overview.html",
        models=models,
        proved=proved,
        ratio_plot=ratio_plot(speeds) if speeds else None,
        bench=bench,
        bench_plot=ratio_plot(measured) if measured else None,
    )


def served(repository: Repository, beside: Path) -> list[Served]:
    """What is served of each model; links lead from the folder `beside` to the release's own report."""
    found = (_served(repository, name, beside) for name in repository.names())
    return [model for model in found if model is not None]


def _served(repository: Repository, name: str, beside: Path) -> Served | None:
    version: int | None = None
    link = ""
    try:
        version = repository.served(name)
        if version is None:
            return None
        folder = repository.release_folder(name, "hybrid", version)
        if (folder / REPORT).is_file():
            link = quote(Path(os.path.relpath(folder / REPORT, beside)).as_posix())
        with evidence_at(folder / EVIDENCE) as evidence:
            require_schema(evidence)
            found = Served(name, version, link, evidence)
            overview([found], None)
    # One damaged model must not hide the others.
    except PublishError as error:
        return Served(name, version, link, problem=str(error))
    return found


def read_bench(path: Path) -> dict[str, Any] | None:
    """What `bench` measured last, None where it was never run. Raises PublishError where the file is broken."""
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        overview([], content)
    # What an older version of ours wrote may lack what is shown today.
    except KeyError as error:
        raise PublishError(f"{path} is broken (it lacks {error}); run bench again, or remove it") from error
    except (OSError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise PublishError(f"{path} is broken ({error}); run bench again, or remove it") from error
    return content
