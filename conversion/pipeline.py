"""The order of the steps: read, skip or build, stage, publish. The only module that knows it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from python_backend.original.bundle import SOURCE

from .arrangements.settling import Machine, Settled, settle
from .errors import PreflightFailed, PublishError, RepositoryUnwritable
from .interface import facts_of
from .preflight.environments import Environments
from .preflight.examine import Candidate, Verdict, examine, published
from .publishing.live import FindLive, Live
from .publishing.repository import Repository
from .release.evidence import EVIDENCE, make_evidence, read_evidence
from .release.fingerprint import fingerprint, fingerprint_of_built, sha256_folder
from .release.golden import GOLDEN
from .release.gpu_config import Traits
from .release.pbtxt import model_configs
from .report.release import REPORT, release_report
from .spec import ModelSpec
from .spec.preference import at_best
from .targets import TARGETS
from .worker import Task, run_worker

__all__ = ["Outcome", "convert"]

_CODE = Path(__file__).parents[1] / "python_backend"
# Longer than a switch takes on a server that is slow to load: what was searched for minutes is not thrown away for it.
_PATIENCE_S = 1800.0
# `make serve` has a server that ended back within this, unless it has ended several times.
_SERVER_PATIENCE_S = 60.0
# Between two looks whether the server is back.
_PAUSE_S = 1.0


@dataclass(frozen=True)
class Outcome:
    """What became of one model: the release that holds it, whether it was there already, which one is served.

    `live` is where a new release went live.
    """

    name: str
    version: int
    unchanged: bool
    served: int
    evidence: dict[str, Any]
    live: Live | None = None


def convert(
    spec: ModelSpec,
    repository: Repository,
    *,
    build_folder: Path,
    report: Callable[[str], None],
    force: bool = False,
    find_live: FindLive = lambda: None,
    new_interface: bool = False,
    environments: Environments | None = None,
    machine: Machine | None = None,
) -> Outcome:
    """Bring the repository to a release of `spec`. Raises a subclass of ConversionError; then nothing has changed.

    `find_live` gives a running server to go live on, and is asked before the search and again after it. `build_folder`
    holds the work in progress and the logs. With `environments` the graph has to load in the target's ONNX Runtime too,
    where that can be had; with a `machine` it is measured there how the twin is best served.
    """
    digest, sources = fingerprint(spec)
    with repository.locked(_PATIENCE_S, report):
        before = find_live()
        found = _current(spec, repository, digest, before, report=report, force=force)
    if found:
        if environments:
            candidate = published(repository, spec.name, found.version)
            _preflight(f"release {found.version} of {spec.name}", candidate, spec, environments)
        return found
    work, log = build_folder / "work" / spec.name, build_folder / "logs" / f"convert-{spec.name}.log"
    with _alone(work, log):
        # Minutes, in which the repository is for others to publish to and to roll back.
        task = Task("build", "build", spec, gpu=spec.search.profile == "gpu")
        built = run_worker(task, work, log, report)
        digest, sources = fingerprint_of_built(spec, (digest, sources), work / "original" / SOURCE)
        settled = settle(spec, built, work, machine, report=report)
        report(f"checking against {TARGETS[spec.target]}")
        ready = _ready(spec, built, settled, work, environments)
        with _held(repository, spec.name, find_live, before is not None, report) as live:
            # What was seen before may have changed: somebody was killed, or has published the same.
            if found := _current(spec, repository, digest, live, report=report, force=force):
                return found
            report("publishing")
            version = _publish(
                spec, repository, ready, digest=digest, sources=sources, live=live, new_interface=new_interface
            )
            # One that has come meanwhile may have looked at the pins before they were written.
            if live is None and (live := find_live()):
                repository.catch_up(spec.name, live)
            evidence = read_evidence(repository.release_folder(spec.name, "hybrid", version) / EVIDENCE)
    return Outcome(spec.name, version, False, version, evidence, live)


@contextlib.contextmanager
def _held(
    repository: Repository, name: str, find_live: FindLive, seen: bool, report: Callable[[str], None]
) -> Iterator[Live | None]:
    """Hold the repository, with the server to go live on, if there is one.

    One that does not answer, and one that was `seen` before and is not there now, has a minute to come back, in which
    the repository is for others. After that it is as it is found.
    """

    def reached(live: Live | None) -> bool:
        return not seen if live is None else live.answers(name)

    end = None
    while True:
        with repository.locked(_PATIENCE_S, report):
            live = find_live()
            if reached(live) or (end is not None and time.monotonic() >= end):
                yield live
                return
        if end is None:
            end = time.monotonic() + _SERVER_PATIENCE_S
            report(f"waiting for {live.server.address if live else 'the server that ran before'}: it does not answer")
        while time.monotonic() < end and not reached(find_live()):
            time.sleep(_PAUSE_S)


def _current(
    spec: ModelSpec,
    repository: Repository,
    digest: str,
    live: Live | None,
    *,
    report: Callable[[str], None],
    force: bool,
) -> Outcome | None:
    """Repair the repository, and find the release that `spec` would give again. The repository has to be locked."""
    for sentence in repository.repair(spec.name, live):
        report(sentence)
    return None if force else _existing(spec, repository, digest, report)


@contextlib.contextmanager
def _alone(work: Path, log: Path) -> Iterator[None]:
    """Hold an empty place for `work` and its log, which conversions into other repositories share. Raises PublishError.

    The log is what is locked: it stays where work is removed.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PublishError(
                f"{work} is in use by another conversion of this name; wait for it, or name another folder with --build"
            ) from error
        shutil.rmtree(work, ignore_errors=True)
        try:
            yield
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _existing(spec: ModelSpec, repository: Repository, digest: str, report: Callable[[str], None]) -> Outcome | None:
    served = repository.served(spec.name)
    for version in reversed(repository.releases(spec.name)):
        try:
            evidence = read_evidence(repository.release_folder(spec.name, "hybrid", version) / EVIDENCE)
        except PublishError as error:
            report(str(error))
            continue
        if evidence.get("fingerprint") == digest and served is not None:
            if not (damages := repository.damages(spec.name, version)):
                return Outcome(spec.name, version, True, served, evidence)
            report(f"release {version} is damaged: {'; '.join(damages)}")
    return None


@dataclass(frozen=True)
class _Ready:
    """A twin in `work` that may be published: how it was built and is served, and that the target takes it."""

    work: Path
    built: dict[str, Any]
    settled: Settled
    configs: dict[str, Any]
    loaded: bool


def _ready(
    spec: ModelSpec, built: dict[str, Any], settled: Settled, work: Path, environments: Environments | None
) -> _Ready:
    """Configure what was built, and hold it to the target. Raises PreflightFailed, OSError."""
    inputs, outputs = (tuple(facts_of(f) for f in built[key]) for key in ("inputs", "outputs"))
    # Weights may be gigabytes: they are read for it only where engines are kept.
    content = sha256_folder(work / "onnx") if spec.serving.gpu.engine_cache else ""
    traits = Traits.of(built["chosen"]["precision"], built["graph"], content)
    configs = model_configs(spec, inputs, outputs, at_best(built["timings"]), settled.arrangement, traits=traits)
    tolerance = spec.parity.tolerance(built["chosen"]["precision"])
    candidate = Candidate(spec.name, work / "onnx" / "model.onnx", configs, inputs, tolerance, work / GOLDEN)
    new = f"the new release of {spec.name}, which was not published"
    return _Ready(work, built, settled, configs, _preflight(new, candidate, spec, environments).loaded)


def _publish(
    spec: ModelSpec,
    repository: Repository,
    ready: _Ready,
    *,
    digest: str,
    sources: dict[str, str],
    live: Live | None,
    new_interface: bool,
) -> int:
    """Stage what is ready and publish it; gives the release's number. The repository has to be locked."""
    work, staged = ready.work, repository.stage(spec.name)
    try:
        shutil.copytree(work / "onnx", staged / "onnx", dirs_exist_ok=True)
        shutil.copytree(work / "original", staged / "original", dirs_exist_ok=True)
        shutil.copyfile(work / GOLDEN, staged / "hybrid" / GOLDEN)
        # A version carries the code that serves it: an old release keeps its old code.
        for role in ("original", "hybrid"):
            for path in sorted((_CODE / role).glob("*.py")):
                shutil.copyfile(path, staged / role / path.name)
        serving = ready.settled.facts()
        evidence = make_evidence(spec, ready.built, digest, sources, staged, serving=serving, loaded=ready.loaded)
        (staged / "hybrid" / EVIDENCE).write_text(json.dumps(evidence, indent=1) + "\n", encoding="utf-8")
        (staged / "hybrid" / REPORT).write_text(release_report(evidence), encoding="utf-8")
        return repository.publish(spec.name, staged, ready.configs, live, new_interface)
    except (OSError, shutil.Error) as error:
        raise RepositoryUnwritable(repository.root, str(error)) from error
    finally:
        repository.discard(spec.name)


def _preflight(what: str, candidate: Candidate, spec: ModelSpec, environments: Environments | None) -> Verdict:
    verdict = examine(candidate, TARGETS[spec.target], environments)
    if verdict.refusals:
        raise PreflightFailed(what, verdict.target, verdict.refusals)
    return verdict
