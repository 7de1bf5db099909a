"""One server process, with its stubs: spawned, watched, drained, and gone when this process is gone."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_LAUNCHER = Path(__file__).with_name("launcher.py")
_LOOK_EVERY_S = 0.1
_SIGNALS_EVERY_S = 0.5
# Longer than a server needs between the end of its last stub and its own.
_IDLE_S = 3.0


class ServerProcess:
    """A server in a process group of its own, so that Ctrl-C in the terminal reaches only the one who started it.

    A thread spawns it and waits for it: the kernel ties "end with the parent" to the thread that spawned, and whoever
    calls `start` may be a short-lived one.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], log_path: Path) -> None:
        self._command = [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), *command]
        self._environ = dict(environ)
        self._log_path = log_path
        self._spawned = threading.Event()
        self._ended = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._error: OSError | None = None

    def start(self) -> None:
        """Spawn it. Raises OSError when the log cannot be written or the binary cannot be run."""
        threading.Thread(target=self._keep, name="triton-keeper", daemon=True).start()
        self._spawned.wait()
        if self._error is not None:
            raise self._error

    def _keep(self) -> None:
        try:
            self._log_path.parent.mkdir(parents=True, exist_ok=True)
            with open(self._log_path, "wb", opener=_appending) as log:
                self._process = subprocess.Popen(
                    self._command,
                    env=self._environ,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            self._error = error
            self._ended.set()
            return
        finally:
            self._spawned.set()
        # Left unreaped until its group is cleared, so that the group's number cannot have become another's.
        os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        self._signal_group(signal.SIGKILL)
        self._process.wait()
        self._ended.set()

    def _signal_group(self, number: signal.Signals) -> None:
        assert self._process is not None
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):
            return

    @property
    def pid(self) -> int:
        """The server's process id. It is the group's as well."""
        if self._process is None:
            raise RuntimeError("the server was not started")
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """None while it runs, then the code it ended with; minus a signal's number when one ended it."""
        return self._process.returncode if self._process is not None and self._ended.is_set() else None

    def wait(self, timeout_s: float | None = None) -> bool:
        """True once the process and its stubs are gone, False when they are not within `timeout_s`."""
        if timeout_s is not None:
            return self._ended.wait(timeout_s)
        # Python runs a handler in the main thread alone, and a wait without an end there never hears of a signal that
        # the kernel gave to another thread.
        while not self._ended.wait(_SIGNALS_EVERY_S):
            pass
        return True

    def kill(self) -> None:
        """SIGKILL to the process and its stubs."""
        if self._process is not None and not self._ended.is_set():
            self._signal_group(signal.SIGKILL)

    def stop(self, drain_s: float, *, stubs_alone: bool = False) -> bool:
        """SIGTERM, then SIGKILL to all that is left after `drain_s`. True when it ended by itself.

        `stubs_alone` says that every model runs in a stub: then a server without a living stub has nothing to drain.
        It would wait its whole time for a model whose stub was killed.
        """
        if self._process is None or self._ended.is_set():
            return True
        # One to the server alone: it ends its stubs itself, after what is in flight.
        # It may have ended just now, and not be known to.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGTERM)
        try:
            drained = self._drain(drain_s, give_up_without_stubs=stubs_alone)
        finally:
            # Also when a second Ctrl-C cuts the waiting short: nothing may outlive this call.
            if not self._ended.is_set():
                self._signal_group(signal.SIGKILL)
                self.wait()
        return drained

    def _drain(self, drain_s: float, *, give_up_without_stubs: bool) -> bool:
        deadline = idle_since = time.monotonic()
        deadline += drain_s
        while not self._ended.wait(_LOOK_EVERY_S):
            now = time.monotonic()
            if not give_up_without_stubs or self._has_stubs():
                idle_since = now
            if now > deadline or now - idle_since > _IDLE_S:
                return False
        return True

    def _has_stubs(self) -> bool:
        """Whether the server's group holds another living process."""
        assert self._process is not None
        return any(pid != self._process.pid for pid in group_members(self._process.pid))


def _appending(path: str, flags: int) -> int:
    """Each write goes to the end: whoever rotates a log by copying it and cutting it short leaves no hole in it."""
    return os.open(path, flags | os.O_APPEND, 0o666)


def group_members(group: int) -> list[int]:
    """The living processes of a process group. A zombie is not living."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name, in parentheses, may hold anything; after the last one come state, parent and group.
            state, _, of_group = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if state not in "ZX" and int(of_group) == group:
            members.append(int(stat.parent.name))
    return members
