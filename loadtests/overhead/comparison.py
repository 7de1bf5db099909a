"""The hybrid and its twin under load in turns: the order alternates, and rounds that others disturbed are repeated.

A machine drifts within seconds, by more than the time that the hybrid adds. A lone client leaves nothing under way
between two turns, so its rounds are made of several short ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from loadtests.closed_loop import Connections, Run
from loadtests.figures import Measured, Round, measured
from loadtests.processor import others_share, sample
from loadtests.wire import Answer, Arrays, Tolerance, decode, difference, encode

_KEEP_EVERY = 50
_WARM_UP_CLIENTS = 4
_WARM_UP_S = 2.0
_LONE_TURNS = 6


class WrongAnswer(Exception):
    """A request failed or was answered wrongly; figures would mean nothing."""


@dataclass(frozen=True)
class Plan:
    """How to measure.

    A round in which other processes took more than `quiet` (0 to 1) of the processors is repeated, until `attempts`
    times the rounds asked for have run.
    """

    clients: tuple[int, ...]
    rounds: int
    seconds: float
    quiet: float
    attempts: int
    tolerance: float


@dataclass(frozen=True)
class Target:
    """One model under load: its request, and the twin that must answer it (None: the model does not tell)."""

    model: str
    request: bytes
    twin: str | None


@dataclass
class Share:
    """What one model did in a round, turn after turn; `others` is the mean share of other processes, 0 to 1.

    Both that and `server_cpu_s` are None where the server's processes are not to be seen.
    """

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    server_cpu_s: float | None = None
    others: float | None = None

    def add(self, run: Run, seen: tuple[float, float] | None) -> None:
        """Count one more turn. `seen` are the server's processor time and the share of others meanwhile."""
        if seen is not None:
            server_cpu_s, others = seen
            before = (self.others or 0.0) * self.seconds
            self.others = (before + others * run.seconds) / (self.seconds + run.seconds)
            self.server_cpu_s = (self.server_cpu_s or 0.0) + server_cpu_s
        self.seconds += run.seconds
        self.latencies += run.latencies

    def figures(self) -> Measured:
        """All turns as one."""
        return measured(self.latencies, self.seconds, self.server_cpu_s)


class Comparison:
    """One hybrid against the twin that it asks `first`, on a running server.

    The server's processor time is read if its pid is known.
    """

    def __init__(self, connections: Connections, hybrid: str, first: str, inputs: Arrays, pid: int | None) -> None:
        self._connections = connections
        self._pid = pid
        twin = f"{hybrid}_{first}"
        self._hybrid = Target(hybrid, encode(hybrid, inputs), first)
        self._twin = Target(twin, encode(twin, inputs), None)
        self._golden: Answer = decode(connections.ask(self._twin.request))
        self.repeated = 0
        # By numbers of clients, as far as all of a number's rounds have run.
        self.rounds: dict[int, list[Round]] = {}

    def measure(self, plan: Plan) -> dict[int, list[Round]]:
        """All rounds for each number of clients. Raises WrongAnswer, grpc.RpcError."""
        for target in (self._twin, self._hybrid):
            run = self._connections.run(target.request, _WARM_UP_CLIENTS, _WARM_UP_S, _KEEP_EVERY)
            self._check(target, run, plan.tolerance)
        for clients in plan.clients:
            self.rounds[clients] = self._rounds(plan, clients)
        return self.rounds

    def _rounds(self, plan: Plan, clients: int) -> list[Round]:
        rounds: list[Round] = []
        left = plan.rounds * plan.attempts
        while len(rounds) < plan.rounds:
            one = self._round(plan, clients, turned=left % 2 == 1)
            # Once the attempts run out, a disturbed round is better than none.
            if one.others is None or one.others <= plan.quiet or left <= plan.rounds - len(rounds):
                rounds.append(one)
            else:
                self.repeated += 1
            left -= 1
        return rounds

    def _round(self, plan: Plan, clients: int, *, turned: bool) -> Round:
        turns = _LONE_TURNS if clients == 1 else 1
        order = (self._hybrid, self._twin) if turned else (self._twin, self._hybrid)
        shares = {target: Share() for target in order}
        for turn in range(turns):
            for target in reversed(order) if turn % 2 else order:
                before = sample(self._pid)
                run = self._connections.run(target.request, clients, plan.seconds / turns, _KEEP_EVERY)
                after = sample(self._pid)
                self._check(target, run, plan.tolerance)
                seen = (after.server - before.server, others_share(before, after)) if self._pid is not None else None
                shares[target].add(run, seen)
        others = [share.others for share in shares.values() if share.others is not None]
        return Round(shares[self._hybrid].figures(), shares[self._twin].figures(), max(others, default=None))

    def _check(self, target: Target, run: Run, tolerance: float) -> None:
        if run.errors:
            raise WrongAnswer(f"{len(run.errors)} requests to {target.model} failed; the first: {run.errors[0]}")
        if not run.latencies:
            raise WrongAnswer(f"no request to {target.model} was answered")
        for kept in run.kept:
            wrong = difference(decode(kept), self._golden, Tolerance(tolerance, tolerance), target.twin)
            if wrong:
                raise WrongAnswer(f"{target.model}: {wrong}")
