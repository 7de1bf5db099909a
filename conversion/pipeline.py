"""The order of the steps: read, skip or build, stage, publish. The only module that knows it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .arrangements.settling import Machine, Settled, settle
from .environments import Environments
from .errors import PreflightFailed, PublishError, RepositoryUnwritable
from .evidence import EVIDENCE, make_evidence, read_evidence
from .fingerprint import fingerprint, sha256_folder
from .golden import GOLDEN
from .gpu_config import Traits
from .interface import facts_of
from .live import Live
from .pbtxt import model_configs
from .preference import at_best
from .preflight import Candidate, Verdict, examine, published
from .report.release import REPORT, release_report
from .repository import Repository
from .spec import ModelSpec
from .targets import TARGETS
from .worker import Task, run_worker

__all__ = ["Outcome", "convert"]

_CODE = Path(__file__).parents[1] / "python_backend"


@dataclass(frozen=True)
class Outcome:
    """What became of one model: the release that holds it, whether it was there already, which one is served."""

    name: str
    version: int
    unchanged: bool
    served: int
    evidence: dict[str, Any]


def convert(
    spec: ModelSpec,
    repository: Repository,
    *,
    build_folder: Path,
    report: Callable[[str], None],
    force: bool = False,
    live: Live | None = None,
    new_interface: bool = False,
    environments: Environments | None = None,
    machine: Machine | None = None,
) -> Outcome:
    """Bring the repository to a release of `spec`. Raises a subclass of ConversionError; then nothing has changed.

    `live` is a running server to go live on. `build_folder` holds the work in progress and the logs.
    With `environments` the graph has to load in the target's ONNX Runtime too, where that can be had; with a `machine`
    it is measured there how the twin is best served.
    """
    digest, sources = fingerprint(spec)
    with repository.locked():
        for sentence in repository.repair(spec.name, live):
            report(sentence)
        if not force and (found := _existing(spec, repository, digest, report)):
            if environments:
                candidate = published(repository, spec.name, found.version)
                _preflight(f"release {found.version} of {spec.name}", candidate, spec, environments)
            return found
        work, log = build_folder / "work" / spec.name, build_folder / "logs" / f"convert-{spec.name}.log"
        with _alone(work, log):
            try:
                task = Task("build", "build", spec, gpu=spec.search.profile == "gpu")
                built = run_worker(task, work, log, report)
                settled = settle(spec, built, work, machine, report=report)
                report(f"checking against {TARGETS[spec.target]} and publishing")
                version = _publish(
                    spec,
                    repository,
                    built=built,
                    settled=settled,
                    digest=digest,
                    sources=sources,
                    work=work,
                    live=live,
                    new_interface=new_interface,
                    environments=environments,
                )
            finally:
                repository.discard(spec.name)
        evidence = read_evidence(repository.release_folder(spec.name, "hybrid", version) / EVIDENCE)
        return Outcome(spec.name, version, False, version, evidence)


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


def _publish(
    spec: ModelSpec,
    repository: Repository,
    *,
    built: dict[str, Any],
    settled: Settled,
    digest: str,
    sources: dict[str, str],
    work: Path,
    live: Live | None,
    new_interface: bool,
    environments: Environments | None,
) -> int:
    inputs, outputs = (tuple(facts_of(f) for f in built[key]) for key in ("inputs", "outputs"))
    # Weights may be gigabytes: they are read for it only where engines are kept.
    content = sha256_folder(work / "onnx") if spec.serving.gpu.engine_cache else ""
    traits = Traits.of(built["chosen"]["precision"], built["graph"], content)
    configs = model_configs(spec, inputs, outputs, at_best(built["timings"]), settled.arrangement, traits=traits)
    staged = repository.stage(spec.name)
    try:
        shutil.copytree(work / "onnx", staged / "onnx", dirs_exist_ok=True)
        shutil.copytree(work / "original", staged / "original", dirs_exist_ok=True)
        shutil.copyfile(work / GOLDEN, staged / "hybrid" / GOLDEN)
        # A version carries the code that serves it: an old release keeps its old code.
        for role in ("original", "hybrid"):
            for path in sorted((_CODE / role).glob("*.py")):
                shutil.copyfile(path, staged / role / path.name)
        graph, golden = staged / "onnx" / "model.onnx", staged / "hybrid" / GOLDEN
        tolerance = spec.parity.tolerance(built["chosen"]["precision"])
        candidate = Candidate(spec.name, graph, configs, inputs, tolerance, golden)
        new = f"the new release of {spec.name}, which was not published"
        loaded = _preflight(new, candidate, spec, environments).loaded
        evidence = make_evidence(spec, built, digest, sources, staged, serving=settled.facts(), loaded=loaded)
        (staged / "hybrid" / EVIDENCE).write_text(json.dumps(evidence, indent=1) + "\n")
        (staged / "hybrid" / REPORT).write_text(release_report(evidence), encoding="utf-8")
    except (OSError, shutil.Error) as error:
        raise RepositoryUnwritable(repository.root, str(error)) from error
    return repository.publish(spec.name, staged, configs, live, new_interface)


def _preflight(what: str, candidate: Candidate, spec: ModelSpec, environments: Environments | None) -> Verdict:
    verdict = examine(candidate, TARGETS[spec.target], environments)
    if verdict.refusals:
        raise PreflightFailed(what, verdict.target, verdict.refusals)
    return verdict
