"""The order of the steps: read, skip or build, stage, publish. The only module that knows it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import PublishError, RepositoryUnwritable
from .evidence import EVIDENCE, make_evidence, read_evidence
from .fingerprint import fingerprint
from .golden import GOLDEN
from .interface import Facts
from .pbtxt import model_configs
from .repository import Load, Repository
from .spec import ModelSpec
from .worker import run_worker

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
    load: Load | None = None,
    new_interface: bool = False,
) -> Outcome:
    """Bring the repository to a release of `spec`. Raises a subclass of ConversionError; then nothing has changed.

    `load` tells a running server of each model that changes. `build_folder` holds the work in progress and the logs.
    """
    digest, sources = fingerprint(spec)
    with repository.locked():
        for sentence in repository.repair(spec.name):
            report(sentence)
        if not force and (found := _existing(spec, repository, digest, report)):
            return found
        work = build_folder / "work" / spec.name
        shutil.rmtree(work, ignore_errors=True)
        try:
            built = run_worker(spec, work, build_folder / "logs" / f"convert-{spec.name}.log", report)
            report("publishing")
            version = _publish(
                spec,
                repository,
                built=built,
                digest=digest,
                sources=sources,
                work=work,
                load=load,
                new_interface=new_interface,
            )
        finally:
            shutil.rmtree(work, ignore_errors=True)
            repository.discard(spec.name)
        evidence = read_evidence(repository.release_folder(spec.name, "hybrid", version) / EVIDENCE)
        return Outcome(spec.name, version, False, version, evidence)


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
    digest: str,
    sources: dict[str, str],
    work: Path,
    load: Load | None,
    new_interface: bool,
) -> int:
    inputs, outputs = ([_facts(f) for f in built[key]] for key in ("inputs", "outputs"))
    staged = repository.stage(spec.name)
    try:
        shutil.copytree(work / "onnx", staged / "onnx", dirs_exist_ok=True)
        shutil.copytree(work / "original", staged / "original", dirs_exist_ok=True)
        shutil.copyfile(work / GOLDEN, staged / "hybrid" / GOLDEN)
        # A version carries the code that serves it: an old release keeps its old code.
        for role in ("original", "hybrid"):
            for path in sorted((_CODE / role).glob("*.py")):
                shutil.copyfile(path, staged / role / path.name)
        evidence = make_evidence(spec, built, digest, sources, staged)
        (staged / "hybrid" / EVIDENCE).write_text(json.dumps(evidence, indent=1) + "\n")
    except (OSError, shutil.Error) as error:
        raise RepositoryUnwritable(repository.root, str(error)) from error
    configs = model_configs(spec, inputs, outputs)
    return repository.publish(spec.name, staged, configs, load, new_interface)


def _facts(plain: dict[str, Any]) -> Facts:
    return Facts(
        plain["name"], plain["dtype"], tuple(plain["shape"]), tuple(plain["range"]) if plain["range"] else None
    )
