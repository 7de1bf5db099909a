"""How the release of one model is served: what its spec fixes, what measured best here, or what is safe."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import RehearsalImpossible, ReleaseRefused
from ..interface import Facts, facts_of
from ..proof.samples import Batch
from ..publishing.live import Rehearsal
from ..release.golden import GOLDEN, read_golden
from ..release.gpu_config import Traits
from ..spec import ModelSpec
from .arrangement import Arrangement, arrangements, default_arrangement, fixed
from .callers import callers
from .choice import MARGIN, Figures, best, summarised
from .measuring import Effort, lay_out, measure

__all__ = ["Machine", "Settled", "first_row", "refuse_too_much", "settle"]

_EFFORT = Effort()
# What one instance takes beside the model, and how often it holds the file: as read, as packed, and what it computes.
_INSTANCE_BYTES, _TIMES_HELD = 150e6, 3
# Each has its own region of shared memory, and with more of them serving/shared_memory.py has to make those smaller.
_MOST_PROCESSES = 64


@dataclass(frozen=True)
class Machine:
    """Where arrangements are measured: how a server is started there, and the cores and bytes that it may use."""

    serve: Rehearsal
    cores: int
    free: Callable[[], float]


@dataclass(frozen=True)
class Settled:
    """How it is served, and how that was found: "measured", "tuned", "spec", or "default" for the reason given.

    `figures` has every arrangement that was measured, with so many `clients` at once on so many `cores`.
    """

    arrangement: Arrangement
    how: str
    reason: str = ""
    cores: int | None = None
    clients: int | None = None
    figures: tuple[Figures, ...] = ()

    def facts(self) -> dict[str, Any]:
        """As the evidence has it."""
        return {
            **asdict(self.arrangement),
            "how": self.how,
            "reason": self.reason,
            "cores": self.cores,
            "clients": self.clients,
            "margin": MARGIN,
            "arrangements": [_facts(one) for one in self.figures],
        }


def settle(
    spec: ModelSpec,
    built: Mapping[str, Any],
    work: Path,
    machine: Machine | None,
    *,
    report: Callable[[str], None],
    effort: Effort = _EFFORT,
) -> Settled:
    """Settle how the twin in `work`/onnx is served. No failure here ends a conversion: then the default is served.

    Without a `machine` nothing is measured, nor where the search is off.
    """
    default = default_arrangement(spec.serving)
    if fixed(spec.serving):
        return Settled(default, "tuned" if spec.serving.tuned.instances else "spec")
    if spec.search.level == "off":
        return Settled(default, "default", "the search is off")
    if machine is None:
        return Settled(default, "default", "no server of its own was wanted for it")
    wanted = arrangements(spec.serving, machine.cores, gpu=spec.search.profile == "gpu")
    if len(wanted) == 1:
        return Settled(wanted[0], "default", "the cores leave no choice", machine.cores)
    try:
        refuse_too_much(work / "onnx", wanted, machine.free())
        report(f"measuring {len(wanted)} ways to serve it, for one client and for many")
        return _measured(spec, built, work, machine, wanted=wanted, effort=effort.on(machine.cores))
    except (RehearsalImpossible, ReleaseRefused, OSError) as error:
        return Settled(default, "default", str(error), machine.cores)
    finally:
        shutil.rmtree(work / "arrangements", ignore_errors=True)


def _measured(
    spec: ModelSpec,
    built: Mapping[str, Any],
    work: Path,
    machine: Machine,
    *,
    wanted: tuple[Arrangement, ...],
    effort: Effort,
) -> Settled:
    inputs, outputs = (tuple(facts_of(f) for f in built[key]) for key in ("inputs", "outputs"))
    scratch = work / "arrangements"
    traits = Traits.of(built["chosen"]["precision"], built["graph"])
    names = lay_out(spec, work / "onnx", inputs, outputs, wanted=wanted, scratch=scratch, traits=traits)
    row = first_row(work / GOLDEN, inputs, batched=spec.serving.max_batch_size > 0)
    with machine.serve(scratch) as server, callers(server.address, effort.clients, row) as asking:
        rounds, failures = measure(asking, names, effort)
    figures = summarised(rounds, failures)
    chosen = best(figures)
    if chosen is None:
        raise ReleaseRefused(f"no arrangement answered all requests: {figures[0].failure}")
    return Settled(chosen, "measured", "", machine.cores, effort.clients, figures)


def first_row(path: Path, inputs: tuple[Facts, ...], *, batched: bool) -> Batch:
    """The first golden row, or all of a model without rows, as it is announced: no tensor is without dimensions."""
    found = read_golden(path).inputs
    rows = {fact.name: found[fact.name][:1] if batched else found[fact.name] for fact in inputs}
    least = 2 if batched else 1
    return {name: row if row.ndim >= least else row.reshape(*row.shape, 1) for name, row in rows.items()}


def refuse_too_much(twin: Path, wanted: Sequence[Arrangement], free: float) -> None:
    """All of them are loaded at once: a machine that runs short would kill others too. Raises RehearsalImpossible.

    `free` is the bytes of memory that can be had without swapping.
    """
    if reason := too_much(twin, wanted, free):
        raise RehearsalImpossible(reason)


def too_much(twin: Path, wanted: Sequence[Arrangement], free: float) -> str:
    """Why they cannot be loaded at once, "" where they can."""
    twins = {one.twin for one in wanted}
    processes = sum(one.instances for one in twins) + sum(one.hybrid_instances for one in wanted)
    if processes > _MOST_PROCESSES:
        return (
            f"{processes} processes at once are more than the {_MOST_PROCESSES} that shared memory is divided among; "
            "fix hybrid_instances together with instances, threads and dynamic_batching"
        )
    instances = sum(one.sessions for one in twins)
    held = sum(path.stat().st_size for path in twin.rglob("*") if path.is_file())
    needed = instances * (_INSTANCE_BYTES + _TIMES_HELD * held)
    if needed > free / 2:
        return (
            f"{instances} instances at once could take {needed / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB are available; "
            "half of that is left to others"
        )
    return ""


def _facts(figures: Figures) -> dict[str, Any]:
    met = figures.met
    return {
        **asdict(figures.arrangement),
        "rounds": figures.rounds,
        "one": None if met is None else {"p50_ms": met.one_p50_ms, "p99_ms": met.one_p99_ms},
        "many": None if met is None else {"per_s": met.per_s, "p50_ms": met.p50_ms, "p99_ms": met.p99_ms},
        "gain": figures.gain,
        "gain_quartiles": None if figures.gain_quartiles is None else list(figures.gain_quartiles),
        "failure": figures.failure,
    }
