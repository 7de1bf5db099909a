"""Whether a release is still what was published: the files of a version against its SHA256SUMS, and what pins them.

One file for all who load a release: the packages beside it link to it, and publishing copies it into every version. A
directory that has neither SHA256SUMS nor a config.pbtxt of its own was not published; nothing is asked of it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

# In the format of coreutils: `sha256sum --check SHA256SUMS` reads it.
SUMS = "SHA256SUMS"
CONFIG = "config.pbtxt"
# The folder that Python writes its byte code to, or the file that publishing puts there to keep Python from it. Neither
# is compared: what was copied without it, or has been run, is what was published.
BYTE_CODE = "__pycache__"
_LINES = re.compile(rb"[^\n]*\n|[^\n]+")
_LINE = re.compile(rb"\\?([0-9a-f]{64})  (.+)")
# What publishing adds to a version's own config.pbtxt, to the letter.
_PIN = re.compile(rb"^version_policy \{\n  specific \{\n((?:    versions: [1-9][0-9]*\n)+)  \}\n\}\n", re.MULTILINE)
_SHOWN = 3


class Damage(NamedTuple):
    """A file, relative to the version directory, and what is wrong with it."""

    file: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"


class ReleaseDamaged(Exception):
    """A version directory, or what pins it, is not what was published."""

    def __init__(self, directory: Path, damages: Sequence[Damage]) -> None:
        more = f"; and {len(damages) - _SHOWN} more" if len(damages) > _SHOWN else ""
        super().__init__(
            f"{directory} is not what was published: {'; '.join(map(str, damages[:_SHOWN]))}{more}; "
            "convert the model again, or roll back to a release that is intact"
        )


def is_release(directory: Path) -> bool:
    """Whether a version directory was published: nothing else has a list of checksums, or a config.pbtxt, there."""
    return (directory / SUMS).exists() or (directory / CONFIG).exists()


def write_sums(directory: Path) -> None:
    """Write SHA256SUMS over every other file below `directory`, byte code left out. Raises OSError."""
    (directory / SUMS).write_bytes(_rendered(digests(directory)))


def require_intact(directory: Path, suffix: str = "") -> None:
    """Raise ReleaseDamaged unless the version in `directory`, and the config.pbtxt that pins it, are as published.

    With a `suffix` only files whose names end so are read: what is large need not be read twice.
    """
    found = [*damages(directory, suffix), *config_damages(directory)]
    if found:
        raise ReleaseDamaged(directory, found)


def damages(directory: Path, suffix: str = "") -> list[Damage]:
    """All that is wrong with the files in a version directory; nothing for one that was not published."""
    return against_sums(directory, digests(directory, suffix), suffix) if is_release(directory) else []


def digests(directory: Path, suffix: str = "") -> dict[str, str]:
    """The SHA-256 of each file below `directory`, in hexadecimal, by its path there; SHA256SUMS itself is left out.

    So is byte code. What cannot be read, or is no plain file, has the reason in place of the digest.
    """
    files = sorted((inside, path) for inside, path in _files(directory, "") if inside.endswith(suffix))
    return {inside: _digest(path) for inside, path in files if inside != SUMS}


def against_sums(directory: Path, found: Mapping[str, str], suffix: str = "") -> list[Damage]:
    """What differs between SHA256SUMS in `directory` and the digests that were `found` of the files ending so."""
    try:
        listed = (directory / SUMS).read_bytes()
    except OSError as error:
        return [Damage(SUMS, f"cannot be read ({error.strerror})")]
    lines = [line for line in _LINES.findall(listed) if line.rstrip(b"\n").endswith(os.fsencode(suffix))]
    # The bytes decide; what stands in them only explains.
    if b"".join(lines) != _rendered(found):
        return _explained(lines, found) or [Damage(SUMS, "is not as it was written")]
    return []


def config_damages(directory: Path) -> list[Damage]:
    """What differs between the model's config.pbtxt and that of the last release that it pins, but for the pins."""
    if not is_release(directory):
        return []
    outer = f"../{CONFIG}"
    try:
        served = (directory.parent / CONFIG).read_bytes()
    except OSError as error:
        return [Damage(outer, f"cannot be read ({error.strerror})")]
    pinned = _PIN.search(served)
    if pinned is None:
        return [Damage(outer, "pins no release in the words that publishing writes")]
    origin = directory.parent / _versions(pinned)[-1] / CONFIG
    try:
        own = origin.read_bytes()
    except OSError as error:
        return [Damage(f"../{origin.parent.name}/{CONFIG}", f"cannot be read ({error.strerror})")]
    if served[: pinned.start()] + served[pinned.end() :] != own:
        return [Damage(outer, f"is not the configuration of release {origin.parent.name}, which it pins")]
    return []


def pins(config: Path) -> tuple[int, ...]:
    """The versions that a model's config.pbtxt pins; none where it cannot be read or pins in other words."""
    try:
        pinned = _PIN.search(config.read_bytes())
    except OSError:
        return ()
    return tuple(map(int, _versions(pinned))) if pinned else ()


def _versions(pinned: re.Match[bytes]) -> list[str]:
    return re.findall("[0-9]+", pinned[1].decode("ascii"))


def _files(directory: Path, inside: str) -> Iterator[tuple[str, Path]]:
    try:
        entries = list(os.scandir(directory))
    except OSError:
        # To be told like a file that cannot be read.
        yield inside.rstrip("/"), directory
        return
    for entry in entries:
        if entry.name == BYTE_CODE:
            continue
        if not entry.is_dir(follow_symlinks=False):
            yield f"{inside}{entry.name}", Path(entry.path)
        else:
            yield from _files(Path(entry.path), f"{inside}{entry.name}/")


def _digest(path: Path) -> str:
    # To open a pipe or a device would wait for ever.
    if not path.is_file():
        return "no plain file"
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"unreadable: {error.strerror}"


def _rendered(found: Mapping[str, str]) -> bytes:
    return b"".join(_line(name, digest) for name, digest in sorted(found.items()))


def _line(name: str, digest: str) -> bytes:
    escaped = _escaped(name)
    return os.fsencode(f"{'' if escaped == name else chr(92)}{digest}  {escaped}\n")


def _escaped(name: str) -> str:
    """How coreutils writes a name; a line with an escape in it starts with a backslash."""
    return name.replace("\\", "\\\\").replace("\n", "\\n")


def _explained(lines: Sequence[bytes], found: Mapping[str, str]) -> list[Damage]:
    expected: dict[str, str] = {}
    told = []
    for number, line in enumerate(lines, 1):
        parts = _LINE.fullmatch(line.rstrip(b"\n"))
        if parts is None:
            told.append(Damage(SUMS, f"line {number} is not a checksum and a name"))
        else:
            expected[os.fsdecode(parts[2])] = parts[1].decode("ascii")
    there = {_escaped(name): digest for name, digest in found.items()}
    for name in sorted(expected.keys() | there.keys()):
        digest = there.get(name, "no such file")
        if name not in expected:
            told.append(Damage(name, f"is not listed in {SUMS}"))
        elif digest != expected[name]:
            told.append(Damage(name, f"expected SHA-256 {_short(expected[name])}, found {_short(digest)}"))
    return told


def _short(digest: str) -> str:
    return f"{digest[:12]}…" if re.fullmatch("[0-9a-f]{64}", digest) else digest
