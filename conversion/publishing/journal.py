"""What a switch that has begun needs to be undone: written before its first step, gone with its last."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import JournalDamaged, RepositoryUnreadable
from ..release.pbtxt import replace_file, unfinished

__all__ = ["Journal", "Switch"]


@dataclass(frozen=True)
class Switch:
    """A way from release `old` (None: there is none) to `new`.

    `added`: the new one was put into the repository for it, so that undoing takes it out again. `beside` is what each
    twin pins while both are needed. `saved` has the config.pbtxt of each role as it was, where there was one.
    """

    old: int | None
    new: int
    added: bool
    beside: dict[str, list[int]]
    saved: dict[str, bytes]


class Journal:
    """The switches that have begun in one repository, at most one for each model."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self, name: str, switch: Switch) -> None:
        """Note a switch, whole or not at all. Raises OSError."""
        self._folder.mkdir(exist_ok=True)
        # Any byte of a damaged configuration has to come back as it was: Latin-1 has a character for each.
        saved = {role: content.decode("latin-1") for role, content in switch.saved.items()}
        replace_file(json.dumps(asdict(switch) | {"saved": saved}).encode(), self._path(name))

    def begun(self, name: str) -> Switch | None:
        """The switch that has begun and not ended; one that cannot be read is not taken for none.

        Raises RepositoryUnreadable, JournalDamaged.
        """
        path = self._path(name)
        try:
            noted = json.loads(path.read_bytes())
            saved = {role: text.encode("latin-1") for role, text in noted.pop("saved").items()}
            return Switch(**noted, saved=saved)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RepositoryUnreadable(path, error.strerror or str(error)) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise JournalDamaged(path, name) from error

    def end(self, name: str) -> None:
        """The switch is done, or undone; there may have been none. Raises OSError."""
        for path in (self._path(name), unfinished(self._path(name))):
            path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"
