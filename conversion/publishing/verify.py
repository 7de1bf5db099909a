"""Is every release on disk still what was published, and does it still answer as it did? Reads only, locks nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from python_backend.integrity import CONFIG, Damage, against_sums, config_damages, digests, pins

from ..errors import PublishError
from ..release.evidence import EVIDENCE, evidence_at, tolerance_of
from ..release.golden import GOLDEN
from ..release.pbtxt import ROLES
from ..release.replay import REPLAYS
from ..report.release import REPORT
from .repository import Repository

__all__ = ["Verdict", "verify"]


@dataclass(frozen=True)
class Verdict:
    """One release, or a model of which no release can be told; `problems` is empty where all is well."""

    name: str
    version: int | None
    served: bool
    problems: tuple[str, ...]

    def __str__(self) -> str:
        release = "" if self.version is None else f" release {self.version}{' (served)' if self.served else ''}"
        return f"{self.name}{release}: {'; '.join(self.problems) or 'ok'}"


def verify(
    repository: Repository, names: Sequence[str], replayed: Collection[str], report: Callable[[str], None]
) -> Iterator[Verdict]:
    """A verdict for each release of `names`; the roles in `replayed` are asked for the golden samples as well."""
    for name in names:
        try:
            versions, pinning = repository.versions(name), _pinning(repository, name)
        # One model that cannot be looked at must not hide the others.
        except PublishError as error:
            yield Verdict(name, None, False, (str(error),))
            continue
        served = next(iter(pins(repository.root / name / CONFIG)[-1:]), None)
        if pinning and served not in versions:
            yield Verdict(name, None, False, tuple(pinning))
        for version in versions:
            report(f"{name} release {version}")
            problems = _release(repository, name, version, replayed)
            if version == served:
                problems += pinning
            yield Verdict(name, version, version == served, tuple(problems))


def _release(repository: Repository, name: str, version: int, replayed: Collection[str]) -> list[str]:
    folders = {role: repository.release_folder(name, role, version) for role in ROLES}
    found = {role: digests(folder) for role, folder in folders.items()}
    damages = {role: against_sums(folder, found[role]) for role, folder in folders.items()}
    problems = [f"{_place(folders[role])}/{damage}" for role in ROLES for damage in damages[role]]
    if any(damage.file == EVIDENCE for damage in damages["hybrid"]):
        return problems
    try:
        with evidence_at(folders["hybrid"] / EVIDENCE) as evidence:
            problems += _against_evidence(evidence["files"], folders, found, damages)
            tolerance = tolerance_of(evidence)
        for role, replay in REPLAYS.items():
            # Damaged code is not run, and damaged samples prove nothing.
            if role in replayed and not damages[role] and not damages["hybrid"]:
                told = replay(folders[role], folders["hybrid"] / GOLDEN, tolerance)
                problems += [f"{_place(folders[role])}: {sentence}" for sentence in told]
    except PublishError as error:
        problems.append(str(error))
    return problems


def _against_evidence(
    files: Mapping[str, str],
    folders: Mapping[str, Path],
    found: Mapping[str, Mapping[str, str]],
    damages: Mapping[str, Sequence[Damage]],
) -> Iterator[str]:
    """What the checksums in evidence.json add to those in SHA256SUMS."""
    for role, folder in folders.items():
        listed = {path.partition("/")[2]: digest for path, digest in files.items() if path.startswith(f"{role}/")}
        told = {damage.file for damage in damages[role]}
        # None of these was there yet when the evidence was written.
        for file in sorted((listed.keys() | found[role].keys()) - {CONFIG, EVIDENCE, REPORT}):
            same = listed.get(file) == found[role].get(file)
            if same and file in told:
                yield f"{_place(folder)}/{file}: is what {EVIDENCE} says, so that it is SHA256SUMS that changed"
            elif not same and file not in told:
                yield f"{_place(folder)}/{file}: is not what {EVIDENCE} says"


def _pinning(repository: Repository, name: str) -> list[str]:
    """What is wrong with the configurations by which the three models are served."""
    problems, pinned = [], {}
    newest = max(repository.versions(name), default=0)
    for role, suffix in ROLES.items():
        model = f"{name}{suffix}"
        pinned[model] = versions = pins(repository.root / model / CONFIG)
        folder = repository.release_folder(name, role, versions[-1] if versions else newest)
        problems += [os.path.normpath(f"{_place(folder)}/{damage}") for damage in config_damages(folder)]
    if len(set(pinned.values())) > 1 or any(len(versions) > 1 for versions in pinned.values()):
        told = ", ".join(
            f"{model} pins {', '.join(map(str, versions)) or 'none'}" for model, versions in pinned.items()
        )
        problems.append(f"{told}: all three must pin the same release; convert or roll back to have that repaired")
    problems += [
        f"{model}/{CONFIG} pins release {version}, which is not on disk"
        for model, versions in pinned.items()
        for version in versions
        if not (repository.root / model / str(version)).is_dir()
    ]
    return problems


def _place(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"
