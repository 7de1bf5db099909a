"""How a command and the processes that it starts come to an end: by a signal, in order, and none without its parent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn, TextIO

__all__ = ["drop", "end", "end_with_parent", "ends_at_once", "interruptible"]

_PR_SET_PDEATHSIG = 1
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt within, so that whatever has begun is undone.

    Once one has come, only Ctrl-C interrupts again: a terminal that closes sends SIGHUP twice, and what undoes has to
    end. `nohup` holds. Outside of the main thread nothing changes.
    """

    def interrupt(_number: int, _frame: object) -> None:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    with _handled_by(interrupt):
        yield


@contextlib.contextmanager
def ends_at_once(sentence: str, code: int) -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP end this process within, with `sentence` and `code`, where nothing is to be undone.

    `nohup` holds. Outside of the main thread nothing changes.
    """

    def end(_number: int, _frame: object) -> None:
        with contextlib.suppress(OSError):
            os.write(2, f"{sentence}\n".encode())
        os._exit(code)

    with _handled_by(end):
        yield


@contextlib.contextmanager
def _handled_by(handler: Callable[[int, object], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, other in before.items():
        # SIGINT in any case: a shell that starts us in the background has it ignored.
        if number != signal.SIGHUP or other is not signal.SIG_IGN:
            signal.signal(number, handler)
    try:
        yield
    finally:
        for number, other in before.items():
            signal.signal(number, other)


def drop(stream: TextIO) -> None:
    """Give up what a stream could not write: Python would try once more at its end, and make 120 of the exit code."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def end(code: int) -> NoReturn:
    """End the process with `code`, also where its last messages cannot be written."""
    if sys.stderr is not None:
        try:
            sys.stderr.flush()
        except OSError:
            drop(sys.stderr)
    sys.exit(code)


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent, process `parent`, has ended; ends it if that is so already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)
