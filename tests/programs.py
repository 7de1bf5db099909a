"""Programs that tests run and no Python package carries: the machine's own, or from a Debian package, in build/."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

HOME = Path(__file__).parents[1] / "build" / "debian"
_FOLDERS = ("usr/bin", "usr/sbin", "bin", "sbin")
_TIMEOUT_S = 240.0
# With the folder's own place as ${here}: what is unpacked may be moved.
_WRAPPER = """\
#!/bin/sh
here="$(cd "$(dirname "$0")/.." && pwd)"
LD_LIBRARY_PATH="{libraries}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}" exec "$here/{binary}" "$@"
"""


class ProgramMissing(Exception):
    """A program is neither on PATH nor to be had from Debian."""

    def __init__(self, name: str, package: str, why: str) -> None:
        super().__init__(f"{name} is not on PATH, and Debian's package {package} cannot be unpacked: {why}; install it")


def program(package: str, name: str, *, libraries: Sequence[str] = ()) -> Path:
    """The program `name`: where PATH has it, else that of the Debian `package`, fetched once into build/debian/.

    `libraries` are further packages that hold its shared libraries; the path given is then that of a script that shows
    them to the program and becomes it, so that it can be started and stopped like the program itself. Nothing is
    installed, and only reading new package lists needs root. Raises ProgramMissing.
    """
    found = shutil.which(name)
    return Path(found) if found else unpacked(package, name, libraries=libraries)


def unpacked(package: str, name: str, *, libraries: Sequence[str] = (), home: Path = HOME) -> Path:
    """The same, from Debian in any case, in a folder of `home`. Safe to call in several processes at once."""
    folder = home / package
    with alone(home):
        if not folder.is_dir():
            if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
                raise ProgramMissing(name, package, "there is no apt-get and dpkg-deb here")
            with tempfile.TemporaryDirectory(dir=home, prefix=f".{package}-") as made:
                _unpack([package, *libraries], Path(made) / "root", name)
                (Path(made) / "root").rename(folder)
        binary = next((place for part in _FOLDERS if (place := folder / part / name).is_file()), None)
        if binary is None:
            raise ProgramMissing(name, package, f"it is in none of {', '.join(_FOLDERS)} there")
        return _wrapped(folder, binary) if libraries else binary


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Only one process at a time in a folder, which is made. apt-get, too, reads its lists for one caller alone."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _unpack(packages: Sequence[str], root: Path, name: str) -> None:
    root.mkdir()
    download = ["apt-get", "download", *packages]
    why = _run(download, root)
    if why and os.geteuid() == 0:
        # No package lists, as on a fresh machine, or old ones that name what is there no more.
        _run(["apt-get", "update"], root)
        why = _run(download, root)
    if why:
        raise ProgramMissing(name, packages[0], why)
    for archive in sorted(root.glob("*.deb")):
        if why := _run(["dpkg-deb", "--extract", archive.name, "."], root):
            raise ProgramMissing(name, packages[0], why)
        archive.unlink()


def _run(command: Sequence[str], where: Path) -> str:
    """What it complained of, at last, where it failed; else nothing."""
    done = subprocess.run(command, cwd=where, check=False, capture_output=True, text=True, timeout=_TIMEOUT_S)
    return (done.stderr.strip().splitlines() or ["it said nothing"])[-1] if done.returncode else ""


def _wrapped(folder: Path, binary: Path) -> Path:
    script = folder / "run" / binary.name
    places = sorted({path.parent.relative_to(folder) for path in folder.glob("**/lib/**/*.so*")})
    script.parent.mkdir(exist_ok=True)
    written = _WRAPPER.format(
        libraries=":".join(f"$here/{place}" for place in places), binary=binary.relative_to(folder)
    )
    if not script.is_file() or script.read_text() != written:
        script.write_text(written)
        script.chmod(0o755)
    return script
