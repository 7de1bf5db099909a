"""How a command ends: by Ctrl-C, SIGTERM or SIGHUP, once and in order, and with its own exit code."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn, TextIO

__all__ = ["drop", "end", "interruptible"]


def interruptible() -> None:
    """Have SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt in the main thread, from which this is called.

    Once one has come, only Ctrl-C interrupts again: a terminal that closes sends SIGHUP twice, a supervisor may send
    SIGTERM to a group and its leader, and requests in flight finish first. `nohup` holds.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # SIGINT in any case: a shell that starts us in the background has it ignored, and Python then leaves it so.
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(_number: int, _frame: object) -> None:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _pass_over)
    raise KeyboardInterrupt


def _pass_over(_number: int, _frame: object) -> None:
    """Nothing. Of a signal that came with the first one Python would complain if it were ignored by now."""


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
