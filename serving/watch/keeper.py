"""An embedded server that is started again when it ends by itself, with its models watched meanwhile."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from serving.errors import MachineError, RepositoryError, ServerFailed, ServerUnreachable
from serving.server import TritonServer
from serving.stubs import Stubs
from serving.watch.care import HANGS, Policy
from serving.watch.rounds import Watch
from serving.watch.telling import Telling

# A server that ends so often within so long is not worth another start.
_ENDS, _WITHIN_S = 5, 600.0
# After so many ends a dead hybrid is loaded anew instead: the next start would wait for longer than that takes.
_ENDS_FOR_HYBRIDS = 2
# What a start may fail for and the next one need not: memory, a disk or a mount that is short, or away, for seconds.
_MAY_PASS = (MachineError, OSError, RepositoryError, ServerFailed, ServerUnreachable)
# A probe under way may take longer; it ends with its connection.
_JOIN_S = 2.0


class Keeper:
    """Keeps one server running until `keep` is interrupted, and looks after its models.

    With `restart_for_hybrids` a hybrid whose process dies takes the server with it: its callers hear of it at once, and
    what the process held is gone, but all other models are away until the server is back.
    """

    def __init__(
        self, server: TritonServer, telling: Telling, policy: Policy, *, restart_for_hybrids: bool = False
    ) -> None:
        self._server = server
        self._telling = telling
        self._policy = policy
        self._restart_for_hybrids = restart_for_hybrids
        self._ended_for = ""
        self._ends: deque[float] = deque(maxlen=_ENDS)

    def keep(self) -> None:
        """Watch the started server, and start it again as often as it ends.

        A start that fails counts as one more end. Raises ServerFailed when it ended six times within ten minutes, and
        where the last of them was such a start, what that one raised: also MachineError, OSError, RepositoryError or
        ServerUnreachable.
        """
        while True:
            with self._watched() as watch:
                status = self._server.wait()
            ended_for, self._ended_for = self._ended_for, ""
            how = f"was ended for {ended_for}" if ended_for else f"ended with {status}"
            self._start_again(how, watch.serving)

    @contextmanager
    def _watched(self) -> Iterator[Watch]:
        stop = threading.Event()
        with self._server.control() as control:
            watch = Watch(
                control,
                self._telling,
                policy=self._policy,
                repository=self._server.repository,
                stubs=Stubs(self._server.pid),
                begin_anew=lambda hybrid, why: not stop.is_set() and self._begin_anew(hybrid, why),
            )
            thread = threading.Thread(target=watch.run, args=(stop,), name="watch", daemon=True)
            thread.start()
            try:
                yield watch
            finally:
                stop.set()
                thread.join(_JOIN_S)

    def _begin_anew(self, hybrid: str, why: str) -> bool:
        """End the server for a hybrid, unless that has not helped lately: where its load hangs nothing else helps."""
        if self._ended_for:
            return True
        wanted = self._restart_for_hybrids or why == HANGS
        if not wanted or self._recent(time.monotonic()) >= _ENDS_FOR_HYBRIDS:
            return False
        self._ended_for = f"{hybrid}: {why}"
        self._server.kill()
        return True

    def _recent(self, now: float) -> int:
        return sum(1 for end in self._ends if now - end < _WITHIN_S)

    def _start_again(self, how: str, models: Sequence[str]) -> None:
        if self._recent(time.monotonic()) == _ENDS:
            what = f"{how}, for the {_ENDS + 1}th time within {_WITHIN_S / 60:.0f} minutes"
            raise ServerFailed(what, self._server.log_path, self._server.log_tail())
        while (failed := self._failed_start(how, models)) is not None:
            how = f"could not be started again: {failed}"
        for name, reason in self._server.failures.items():
            self._telling.failed_to_load(name, reason)
        if self._server.untold:
            self._telling.untold(self._server.untold)

    def _failed_start(self, how: str, models: Sequence[str]) -> str | None:
        """Start it once, after its pause; None where that succeeds, else why not, in one line."""
        now = time.monotonic()
        pause_s = 2.0 ** self._recent(now) - 1
        self._ends.append(now)
        self._telling.restarting(how, pause_s)
        time.sleep(pause_s)
        try:
            # Without a model it ended before it was looked at.
            self._server.restart(models or None)
        except _MAY_PASS as error:
            if self._recent(time.monotonic()) == _ENDS:
                raise
            return str(error).partition("\n")[0]
        return None
