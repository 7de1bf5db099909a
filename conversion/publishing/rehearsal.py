"""A release on a server of its own, before any caller can meet it: does it load, and does it answer as it did?"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from ..errors import RehearsalImpossible, ReleaseRefused
from ..release.linking import link_or_copy
from ..release.pbtxt import ROLES
from .live import Live, LiveServer
from .live_replay import golden_of, replay_hybrid, replay_twins
from .pinning import Pins

__all__ = ["rehearse"]


def rehearse(name: str, version: int, folders: Mapping[str, Path], scratch: Path, live: Live) -> None:
    """Serve the release in `folders` (by role) alone, from `scratch`, and replay its golden samples.

    Loaded for the first time beside a release that serves, one that does not load can take 24.10 down with it: here
    nobody is served. Raises AnswersDiffer, ReleaseRefused, OSError; reports that it was done, or why it was not.
    """
    if live.rehearsal is None:
        live.report("not rehearsed, as asked")
        return
    try:
        _lay_out(name, version, folders, scratch)
        with live.rehearsal(scratch) as server:
            live.report(f"rehearsed on a server of its own: {_replay(server, name, version, folders['hybrid'])}")
    except RehearsalImpossible as error:
        live.report(f"not rehearsed: {error}")
    except ReleaseRefused as error:
        raise type(error)(f"in rehearsal, {error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _lay_out(name: str, version: int, folders: Mapping[str, Path], scratch: Path) -> None:
    shutil.rmtree(scratch, ignore_errors=True)
    for role, suffix in ROLES.items():
        shutil.copytree(folders[role], scratch / f"{name}{suffix}" / str(version), copy_function=link_or_copy)
    Pins(scratch, name).write({role: [version] for role in ROLES}, version)


def _replay(server: LiveServer, name: str, version: int, hybrid: Path) -> str:
    golden = golden_of(hybrid)
    if golden is None:
        return "it loads; it has no golden samples to replay"
    replay_twins(server, name, version, golden)
    return f"golden samples hold, the hybrid's answered by {replay_hybrid(server, name, version, golden)}"
