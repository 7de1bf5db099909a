"""The hybrid and its twin under load in turns: the order alternates, and rounds that others disturbed are repeated."""

from __future__ import annotations

from dataclasses import dataclass

from loadtests.closed_loop import Connections, Run
from loadtests.figures import Measured, Round, measured
from loadtests.processor import others_share, sample
from loadtests.wire import Answer, Arrays, decode, difference, encode

_KEEP_EVERY = 50
_WARM_UP_CLIENTS = 4
_WARM_UP_S = 2.0


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


class Comparison:
    """One hybrid against its ONNX twin on a running server, whose processor time is read if its pid is known."""

    def __init__(self, connections: Connections, hybrid: str, twin: str, inputs: Arrays, pid: int | None) -> None:
        self._connections = connections
        self._pid = pid
        self._hybrid = Target(hybrid, encode(hybrid, inputs), "onnx")
        self._twin = Target(twin, encode(twin, inputs), None)
        self._golden: Answer = decode(connections.ask(self._twin.request))
        self.repeated = 0

    def measure(self, plan: Plan) -> dict[int, list[Round]]:
        """All rounds for each number of clients. Raises WrongAnswer, grpc.RpcError."""
        for target in (self._twin, self._hybrid):
            run = self._connections.run(target.request, _WARM_UP_CLIENTS, _WARM_UP_S, _KEEP_EVERY)
            self._check(target, run, plan.tolerance)
        return {clients: self._rounds(plan, clients) for clients in plan.clients}

    def _rounds(self, plan: Plan, clients: int) -> list[Round]:
        rounds: list[Round] = []
        left = plan.rounds * plan.attempts
        while len(rounds) < plan.rounds:
            one = self._round(plan, clients, turned=left % 2 == 1)
            # Once the attempts run out, a disturbed round is better than none.
            if one.others <= plan.quiet or left <= plan.rounds - len(rounds):
                rounds.append(one)
            else:
                self.repeated += 1
            left -= 1
        return rounds

    def _round(self, plan: Plan, clients: int, *, turned: bool) -> Round:
        figures: dict[Target, Measured] = {}
        others = 0.0
        order = (self._twin, self._hybrid)
        for target in reversed(order) if turned else order:
            before = sample(self._pid)
            run = self._connections.run(target.request, clients, plan.seconds, _KEEP_EVERY)
            after = sample(self._pid)
            self._check(target, run, plan.tolerance)
            figures[target] = measured(run.latencies, run.seconds, after.server - before.server)
            if self._pid is not None:
                others = max(others, others_share(before, after))
        return Round(figures[self._hybrid], figures[self._twin], others)

    def _check(self, target: Target, run: Run, tolerance: float) -> None:
        if run.errors:
            raise WrongAnswer(f"{len(run.errors)} requests to {target.model} failed; the first: {run.errors[0]}")
        if not run.latencies:
            raise WrongAnswer(f"no request to {target.model} was answered")
        for kept in run.kept:
            wrong = difference(decode(kept), self._golden, tolerance, target.twin)
            if wrong:
                raise WrongAnswer(f"{target.model}: {wrong}")
