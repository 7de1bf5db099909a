"""What somebody who was killed left in a repository, and what of it goes.

Only what is noted goes: a switch in the journal, a removal that `prune` began, a release half-way into quarantine.
Whatever else is not whole may be all that is left of a release: it stays, and is told.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..release.pbtxt import ROLES, unfinished
from .folders import Folders
from .pinning import Pins

__all__ = ["repair_files"]


def repair_files(folders: Folders, name: str) -> Iterator[str]:
    """Bring the files of a model in order, as far as that takes nothing that may be wanted; gives what was done or not.

    No switch may be in the journal any more. Raises OSError, PublishError.
    """
    for role in ROLES:
        unfinished(folders.config_path(name, role)).unlink(missing_ok=True)
    pins, served = Pins(folders.root, name), folders.served(name)
    # One that is served, or that a configuration says to serve, is never taken away.
    stay = pins.versions() | ({served} if served is not None else set())
    for version in folders.end_removals(name, stay):
        yield f"removed what was left of release {version} of {name}, which prune had begun to remove"
    whole = set(folders.releases(name))
    for version in folders.versions(name):
        if version in whole:
            continue
        if version not in stay and folders.quarantine.place(name, version).is_dir():
            folders.quarantine.end(name, version, {role: folders.release_folder(name, role, version) for role in ROLES})
            yield f"moved the rest of release {version} of {name} into quarantine"
        else:
            yield _not_whole(folders, name, version, pinned=version in stay)
    if served is not None and served in whole and not pins.hold(served):
        pins.write({role: [served] for role in ROLES}, served)
        yield f"pinned {name} to release {served} again"


def _not_whole(folders: Folders, name: str, version: int, *, pinned: bool) -> str:
    places = [folders.release_folder(name, role, version) for role in ROLES]
    there, missing = ([f"{p.parent.name}/{p.name}" for p in places if p.exists() is found] for found in (True, False))
    lacks = f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
    if pinned:
        return f"release {version} of {name} is pinned and not whole: {lacks}; put it back, or serve another release"
    return (
        f"left version {version} of {name}, which is not whole: {lacks}; put it back, or remove {' and '.join(there)}"
    )
