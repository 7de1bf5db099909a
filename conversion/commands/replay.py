"""`replay`: ask a release again for what its twins differed on in service."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import PublishError, SamplesDiffer
from ..publishing.repository import Repository
from ..release.evidence import EVIDENCE, evidence_at, tolerance_of
from ..release.replay import REPLAYS
from .shared import Commands, add_command, show, with_repository

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add the command."""
    text = "ask both twins of a release again for samples, such as the hybrid keeps where they differ in service"
    added = add_command(commands, "replay", _replay, text)
    added.add_argument("name", help="public name of the model")
    added.add_argument("files", nargs="+", type=Path, metavar="file", help="differing-N.npz, or golden.npz")
    added.add_argument("--release", type=int, help="the release to ask (the served one)")
    with_repository(added)


def _replay(arguments: argparse.Namespace) -> int:
    repository, name = Repository(arguments.repository), arguments.name
    version = repository.served(name) if arguments.release is None else arguments.release
    if version is None or version not in repository.versions(name):
        which = f"release {version}" if version else "served release"
        raise PublishError(f"{arguments.repository} holds no {which} of '{name}'; `releases {name}` lists them")
    folders = {role: repository.release_folder(name, role, version) for role in ("hybrid", "onnx", "original")}
    with evidence_at(folders["hybrid"] / EVIDENCE) as evidence:
        tolerance = tolerance_of(evidence)
    differing = 0
    for path in arguments.files:
        for role, replay in REPLAYS.items():
            failures = replay(folders[role], path, tolerance)
            told = "; ".join(failures) or "answers as the original did"
            show(f"{path}: the {'ONNX twin' if role == 'onnx' else role} of release {version}: {told}")
            differing += bool(failures)
    if differing:
        raise SamplesDiffer(differing, len(REPLAYS) * len(arguments.files))
    return 0
