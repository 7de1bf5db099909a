"""The model repository on disk: releases are added whole, never overwritten, and served by what config.pbtxt pins.

A release N is the version directory N of all three models. It is staged on the same file system, renamed into place,
and goes live by a walk over the pins (`switching`), which a running server takes step by step. Until the walk has
ended it has not happened: it is undone by whoever began it, or, where that one was killed, by `repair` from the
journal. A new release that a server refused goes into quarantine.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from python_backend.integrity import CONFIG, write_sums

from ..errors import (
    AnswersDiffer,
    ConversionError,
    InterfaceChanged,
    PublishError,
    ReleaseBroken,
    ReleaseQuarantined,
    ReleaseStays,
    ReleaseUnknown,
    RepositoryUnwritable,
    UndoFailed,
)
from ..release.byte_code import bar_byte_code
from ..release.pbtxt import ROLES, TWINS, interface_difference, layout_difference, read_config, unfinished, write_config
from .folders import Folders
from .journal import Journal, Switch
from .live import Live
from .pinning import Pins
from .rehearsal import rehearse
from .repairing import repair_files
from .switching import back, forward, synchronise

__all__ = ["Repository"]


class Repository(Folders):
    """A Triton model repository that releases are published to."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._journal = Journal(self._staging / "journal")

    def publish(
        self,
        name: str,
        staged: Path,
        configs: Mapping[str, Any],
        live: Live | None = None,
        new_interface: bool = False,
    ) -> int:
        """Make the staged folders the next release and serve it; gives its number.

        On any failure, an interrupt too, the old release serves on; the new one is dropped, or, where a server was told
        of it, in quarantine. Raises InterfaceChanged, RepositoryUnwritable, ReleaseQuarantined, and UndoFailed where
        that is not so: the file system refused that too.
        """
        old = self.served(name)
        if old is not None and not new_interface:
            difference = interface_difference(Pins(self.root, name).config("hybrid"), configs["hybrid"])
            if difference:
                raise InterfaceChanged(name, old, difference)
        quarantined = (one.version for one in self.quarantine.releases(name))
        version = max((*self.versions(name), *quarantined), default=0) + 1
        try:
            with self._refusals():
                for role, config in configs.items():
                    # Each version keeps the configuration that it was made with, for the way back.
                    write_config(config, staged / role / CONFIG)
                    bar_byte_code(staged / role)
                    write_sums(staged / role)
            self._go_live(name, version, {role: staged / role for role in ROLES}, live)
        finally:
            self.discard(name)
        return version

    def switch(self, name: str, version: int | None, live: Live | None = None) -> int:
        """Serve a release that is on disk (None: the one before the served one); gives its number.

        On any failure the old one serves on; the other one stays where it is, unless a server got other answers from
        it than its golden samples: that one goes into quarantine. Raises ReleaseUnknown, ReleaseBroken,
        RepositoryUnwritable, ReleaseStays, ReleaseQuarantined.
        """
        served, known = self.served(name), self.releases(name)
        if version is None:
            version = max((v for v in known if served is not None and v < served), default=None)
        if version is None or version not in known:
            raise ReleaseUnknown(name, version, known)
        # A server that is told to load what it must refuse can crash (24.10), with both releases pinned.
        if damaged := self.damages(name, version):
            raise ReleaseBroken(name, version, damaged, served=version == served)
        if version != served:
            self._go_live(name, version, {}, live)
        return version

    def repair(self, name: str, live: Live | None = None) -> list[str]:
        """Undo what a killed publisher left: half releases, an unfinished switch, files; on the running server too.

        Gives what was done, and what was left alone, in sentences. Raises ModelForeign before anything is touched,
        RepositoryUnreadable and JournalDamaged where it cannot be told what to undo, PublishError where the server does
        not answer.
        """
        self.require_ours(name)
        done: list[str] = []
        self.discard(name)
        shutil.rmtree(self._scratch(name), ignore_errors=True)
        with self._refusals():
            if switch := self._journal.begun(name):
                done += [f"undid the unfinished switch of {name} to release {switch.new}"]
                try:
                    done += self._undo(name, switch, live, None)
                except OSError as error:
                    raise UndoFailed(name, switch.new, "its publisher was cut short", error) from error
            self._journal.end(name)
            done += repair_files(self, name)
            served = self.served(name)
            # What is not whole the server would refuse; it goes on with what it has.
            if live and served in self.releases(name):
                done += synchronise(Pins(self.root, name), name, served, live)
        return done

    def catch_up(self, name: str, live: Live) -> None:
        """Bring a server to what is pinned that came while files alone were written. What it does not take is told."""
        try:
            told = self.repair(name, live)
        except PublishError as error:
            told = [f"the files are written, and {error}"]
        for sentence in told:
            live.report(sentence)

    def _go_live(self, name: str, version: int, staged: Mapping[str, Path], live: Live | None) -> None:
        """Rehearse, take what is staged into the repository, walk; undo all of it on any failure."""
        folders = dict(staged) or {role: self.release_folder(name, role, version) for role in ROLES}
        pins, old, told = Pins(self.root, name), self.served(name), None
        with self._refusals():
            switch = Switch(old, version, bool(staged), self._beside(name, old, version, folders), pins.saved())
        try:
            with self._refusals():
                self._journal.begin(name, switch)
                if live:
                    rehearse(name, version, folders, self._scratch(name), live)
                for role, folder in staged.items():
                    self._model(name, role).mkdir(exist_ok=True)
                    folder.rename(self.release_folder(name, role, version))
                told = live
                forward(pins, name, switch, live, self.release_folder(name, "hybrid", version))
                self._journal.end(name)
        except BaseException as error:
            refused = live is not None and (switch.added or isinstance(error, AnswersDiffer))
            why = error.cause if isinstance(error, RepositoryUnwritable) else str(error) or "interrupted"
            try:
                untaken = self._undo(name, switch, told, why if refused else None)
            # The journal stays: the next publisher undoes the rest.
            except (OSError, KeyboardInterrupt) as failure:
                raise UndoFailed(name, version, why, failure) from error
            # What says that all is as before would not be true.
            untold = bool(untaken) and isinstance(error, (KeyboardInterrupt, RepositoryUnwritable))
            if refused and (untold or isinstance(error, ConversionError)):
                raise ReleaseQuarantined(
                    name,
                    version,
                    why,
                    place=self.quarantine.place(name, version),
                    served=old,
                    untaken=untaken,
                ) from error
            # What was proved once is not taken away for what may be this machine's: a full /dev/shm, too little memory.
            proved = live and isinstance(error, PublishError) and not isinstance(error, RepositoryUnwritable)
            if untold or proved:
                raise ReleaseStays(name, version, why, served=old, untaken=untaken) from error
            raise

    def _undo(self, name: str, switch: Switch, live: Live | None, why: str | None) -> list[str]:
        """Serve again what was served before; the new release goes into quarantine if there is a reason `why`.

        Without one it is removed if it was added for the switch. Gives what the server did not take. Raises OSError.
        """
        untaken = back(Pins(self.root, name), name, switch, live)
        placed = {role: self.release_folder(name, role, switch.new) for role in ROLES}
        if why is not None:
            staged = self._staged(name)
            roles = {role: folder if folder.is_dir() else staged / role for role, folder in placed.items()}
            self.quarantine.add(name, switch.new, roles, why)
        elif switch.added:
            for folder in filter(Path.exists, placed.values()):
                shutil.rmtree(folder)
        for role in ROLES:
            # Where the release was the first one; of any other model what lies there is nobody's to remove.
            unfinished(self.config_path(name, role)).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self._model(name, role).rmdir()
        self._journal.end(name)
        return untaken

    def _beside(self, name: str, old: int | None, new: int, folders: Mapping[str, Path]) -> dict[str, list[int]]:
        """What each twin pins while both releases are needed: the old one too, where it can be loaded beside the new.

        Triton may load the old one again; damaged, it would be refused, and 24.10 can crash of that. Where the new one
        takes fewer rows both stay: only longer calls are refused, not all of them until the hybrid has switched.
        """
        served = Pins(self.root, name)
        if old is None or any(
            layout_difference(served.config(role), read_config(folders[role] / CONFIG)) for role in ROLES
        ):
            return {role: [new] for role in TWINS}
        return {role: [new] if self.damages(name, old, [role]) else [old, new] for role in TWINS}
