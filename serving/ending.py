"""How a command that stays is ended: by Ctrl-C, SIGTERM or SIGHUP, once and in order."""

from __future__ import annotations

import signal

__all__ = ["interruptible"]


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
