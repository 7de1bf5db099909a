"""Everything that can go wrong around a Triton server, one class for each situation.

    ServingError                   exit 1
    ├── UsageError                 exit 2   an argument that cannot be meant
    │   └── RepositoryError        exit 2   the model repository, or a model in it, is not what it must be
    ├── MachineError               exit 3   this machine lacks something
    │   ├── TritonNotFound
    │   ├── PythonNotSuitable
    │   ├── NoRunDirectory
    │   ├── NoSharedMemory
    │   ├── PortNotOpened                   nobody has it, and the system does not let this user listen there
    │   └── StateNotWritten                 no room for the state file, or no right to it
    ├── PortTaken                  exit 4
    ├── StateTaken                 exit 4   the state file is that of another server that runs
    ├── ServerFailed               exit 5   the process died, or never became live
    ├── ModelError                 exit 6   the server refused to load, unload or run a model
    │   ├── ModelNotFound
    │   ├── LoadFailed
    │   │   └── LoadHangs                   nothing happens any more, and Triton waits for it
    │   ├── UnloadFailed
    │   └── ProbeFailed
    ├── ServerUnreachable          exit 7   nothing answers at that address
    ├── KeyRefused                 exit 8   the control API is behind a key, and this is not the one
    └── RepositoryUnreadable       exit 9   the server answers, and cannot list its own repository

`exit_code` is what the command line ends with. 0 is success.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar


class ServingError(Exception):
    """Base of every error of this package."""

    exit_code: ClassVar[int] = 1


class UsageError(ServingError):
    """An argument that cannot be meant."""

    exit_code = 2


class RepositoryError(UsageError):
    """The model repository, or one model in it, is not what it must be."""

    def __init__(self, path: Path, found: str, remedy: str) -> None:
        super().__init__(f"{path}: {found}; {remedy}")
        self.path = path


class MachineError(ServingError):
    """This machine lacks something that a server needs."""

    exit_code = 3


class TritonNotFound(MachineError):
    """There is no tritonserver, or a part of it is missing."""

    def __init__(self, searched: Sequence[str], missing: str = "tritonserver") -> None:
        super().__init__(
            f"no {missing} in {', '.join(searched)}; run `make setup`, or set UNDERSTUDY_TRITON to the directory of one"
        )


class PythonNotSuitable(MachineError):
    """Triton's Python backend cannot run with this interpreter."""

    def __init__(self, executable: str, found: str, remedy: str) -> None:
        super().__init__(f"Triton's Python backend cannot use {executable}: {found}; {remedy}")


class NoRunDirectory(MachineError):
    """There is no folder that Triton's Python backend could be laid out in, and run from."""

    def __init__(self, complaints: Sequence[str]) -> None:
        super().__init__(
            f"Triton's Python backend has no folder to run from: {', and '.join(complaints)}; set TMPDIR to one that "
            "has room, can be written, is not mounted noexec and has a plain path"
        )


class NoSharedMemory(MachineError):
    """The models that are to be loaded have more processes than shared memory has room for."""

    def __init__(self, processes: int, free_mib: int) -> None:
        super().__init__(
            f"the models to load have {processes} processes, each of which takes 1 MiB of shared memory at the least, "
            f"and {free_mib} MiB are free; load fewer models, or make room in memory and /dev/shm (Docker: --shm-size)"
        )


class PortNotOpened(MachineError):
    """Nobody has the port, and the system does not let this user listen there all the same."""

    def __init__(self, service: str, port: int, error: OSError) -> None:
        another = f"choose another with --{service}-port"
        remedy = {
            errno.EACCES: f"ports below 1024 are for root alone, as a rule: {another}",
            errno.EADDRNOTAVAIL: "bring the loopback interface up (ip link set lo up)",
        }.get(error.errno or 0, another)
        which = f"port {port}" if port else "a free port"
        super().__init__(f"{which} ({service}) cannot be opened on loopback ({error.strerror or error}); {remedy}")
        self.port = port


class StateNotWritten(MachineError):
    """The file that tells where the server runs cannot be written."""

    def __init__(self, path: Path, found: str) -> None:
        super().__init__(
            f"the state file {path} cannot be written ({found}), and publishing finds the server by it; make room "
            "there, or name another with --state"
        )
        self.path = path


class PortTaken(ServingError):
    """Something listens already where the server should."""

    exit_code = 4

    def __init__(self, service: str, port: int, holder: str | None = None) -> None:
        who = f"by {holder}" if holder else "by another process"
        super().__init__(
            f"port {port} ({service}) is taken {who}; stop that process, or choose another with --{service}-port"
        )
        self.port = port


class StateTaken(ServingError):
    """The state file tells of another server, which runs: publishing would not find it any more."""

    exit_code = 4

    def __init__(self, path: Path, pid: int, url: str) -> None:
        super().__init__(
            f"the state file {path} is taken by process {pid}, a Triton that serves at {url}; stop that one, or choose "
            "another --state and --log"
        )
        self.path = path


class ServerFailed(ServingError):
    """The server's process ended, or did not become live in time. Quotes the end of its log."""

    exit_code = 5

    def __init__(self, what: str, log_path: Path, tail: Sequence[str] = ()) -> None:
        quoted = "".join(f"\n    {line}" for line in tail)
        super().__init__(f"tritonserver {what}; its log is {log_path}{quoted}")
        self.log_path = log_path
        self.tail = tuple(tail)


class ModelError(ServingError):
    """The server refused something about one model. `reason` is the server's own sentence."""

    exit_code = 6
    verb: ClassVar[str] = "use"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"could not {self.verb} model '{name}': {reason}")
        self.name = name
        self.reason = reason


class ModelNotFound(ModelError):
    """The server's repository holds no such model."""

    verb = "find"


class LoadFailed(ModelError):
    """A model, or one of its versions, did not load. What was serving before still serves."""

    verb = "load"


class LoadHangs(LoadFailed):
    """Triton waits for a process of the model that died while it was loaded, or that does nothing."""

    def __init__(self, name: str, what: str, waited_s: float) -> None:
        super().__init__(name, f"a process of it {what}, and Triton has waited for it for {waited_s:.0f} s since")


class UnloadFailed(ModelError):
    """A model is still there after the server was asked to drop it."""

    verb = "unload"


class ProbeFailed(ModelError):
    """A synthetic inference failed: the model says that it is ready, and is not."""

    verb = "run"


class ServerUnreachable(ServingError):
    """No server answers at that address."""

    exit_code = 7

    def __init__(self, url: str, found: str) -> None:
        super().__init__(f"no Triton answers at {url}: {found}; start one with `make serve`, or name the right address")
        self.url = url


class KeyRefused(ServingError):
    """The server's control API asks for a key, and was given none, or another one."""

    exit_code = 8

    def __init__(self, url: str, variable: str) -> None:
        super().__init__(
            f"the Triton at {url} keeps loading, unloading and listing of models behind a key, and was given none or "
            f"another one; set {variable} to the one that it was started with"
        )
        self.url = url


class RepositoryUnreadable(ServingError):
    """The server answers, and cannot list its repository: 24.10 stops at the first entry that it cannot look at."""

    exit_code = 9

    def __init__(self, url: str, found: str) -> None:
        super().__init__(
            f"the Triton at {url} answers, and cannot list its model repository: {found}; remove a file that it names "
            "(a link to nothing, as an editor's lock is), or bring back what was moved away"
        )
        self.url = url
