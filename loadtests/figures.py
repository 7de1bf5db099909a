"""From runs to figures: percentiles, ratios of interleaved runs, and the limits that they are held to."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Measured:
    """One run of one model: answers per second, latencies in ms, the server's processor time in ms a request.

    That is None where the server is somewhere else.
    """

    throughput: float
    p50_ms: float
    p99_ms: float
    server_cpu_ms: float | None


@dataclass(frozen=True)
class Round:
    """The hybrid and its twin, one right after the other. `others` is the processor share of other processes.

    That is None where the server is somewhere else.
    """

    hybrid: Measured
    twin: Measured
    others: float | None


@dataclass(frozen=True)
class Spread:
    """A figure over several rounds."""

    median: float
    min: float
    max: float


@dataclass(frozen=True)
class Limits:
    """What is asked of the medians. The first two hold for several clients, the last one for one client."""

    throughput_ratio: float
    p99_ratio: float
    added_p50_ms: float


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def measured(latencies_s: Sequence[float], seconds: float, server_cpu_s: float | None) -> Measured:
    """The figures of one run that had answers."""
    return Measured(
        len(latencies_s) / seconds,
        percentile(latencies_s, 0.5) * 1e3,
        percentile(latencies_s, 0.99) * 1e3,
        None if server_cpu_s is None else server_cpu_s / len(latencies_s) * 1e3,
    )


def spread(values: Sequence[float]) -> Spread:
    """Median, least and most. The median of an even number is the mean of the middle two."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    return Spread(median, ordered[0], ordered[-1])


# What is reported for each number of clients. Ratios are taken round by round: a machine drifts.
RATIOS: dict[str, Callable[[Round], float | None]] = {
    "throughput_ratio": lambda r: r.hybrid.throughput / r.twin.throughput,
    "p99_ratio": lambda r: r.hybrid.p99_ms / r.twin.p99_ms,
    "added_p50_ms": lambda r: r.hybrid.p50_ms - r.twin.p50_ms,
    "added_server_cpu_ms": lambda r: _added(r.hybrid.server_cpu_ms, r.twin.server_cpu_ms),
}


def compare(rounds: Sequence[Round]) -> dict[str, Spread]:
    """Every ratio over the rounds that was measured in them."""
    found = {name: [value for one in rounds if (value := ratio(one)) is not None] for name, ratio in RATIOS.items()}
    return {name: spread(values) for name, values in found.items() if values}


def broken_limits(clients: int, compared: dict[str, Spread], limits: Limits) -> list[str]:
    """The limits that the medians break, in words."""
    broken = []
    if clients == 1:
        added = compared["added_p50_ms"].median
        if added > limits.added_p50_ms:
            broken.append(f"1 client: the hybrid adds {added:.2f} ms, the limit is {limits.added_p50_ms:g} ms")
        return broken
    throughput, p99 = compared["throughput_ratio"].median, compared["p99_ratio"].median
    if throughput < limits.throughput_ratio:
        broken.append(
            f"{clients} clients: the hybrid keeps {throughput:.1%} of the throughput,"
            f" the limit is {limits.throughput_ratio:.1%}"
        )
    if p99 > limits.p99_ratio:
        broken.append(f"{clients} clients: p99 is {p99:.2f} times the twin's, the limit is {limits.p99_ratio:g} times")
    return broken


def report(rounds: dict[int, list[Round]], key: str) -> dict[str, Any]:
    """One figure for each number of clients, as it is written to the file; None where it was not measured."""
    found = {str(clients): compare(of).get(key) for clients, of in rounds.items()}
    return {clients: figure and asdict(figure) for clients, figure in found.items()}


def table(rounds: dict[int, list[Round]]) -> str:
    """What a person reads: both models for each number of clients, and how they compare."""
    lines = [
        f"{'clients':>7}  {'model':<6} {'req/s':>8} {'p50 ms':>8} {'p99 ms':>8} {'CPU ms':>7}"
        "   median of the ratios (least to most)"
    ]
    for clients, of in rounds.items():
        compared = compare(of)
        notes = {
            "twin": "",
            "hybrid": f"throughput {_told(compared['throughput_ratio'])}, p99 {_told(compared['p99_ratio'])}, "
            f"p50 {_told(compared['added_p50_ms'], '+')} ms",
        }
        for model, note in notes.items():
            runs: list[Measured] = [getattr(one, model) for one in of]
            figures = [spread([getattr(run, f) for run in runs]).median for f in ("throughput", "p50_ms", "p99_ms")]
            processors = [run.server_cpu_ms for run in runs if run.server_cpu_ms is not None]
            processor = f"{spread(processors).median:.2f}" if processors else "-"
            lines.append(
                f"{clients:>7}  {model:<6} {figures[0]:>8.1f} {figures[1]:>8.2f} {figures[2]:>8.2f} {processor:>7}"
                f"   {note}".rstrip()
            )
    return "\n".join(lines)


def _added(hybrid: float | None, twin: float | None) -> float | None:
    return None if hybrid is None or twin is None else hybrid - twin


def _told(figure: Spread, sign: str = "") -> str:
    return f"{figure.median:{sign}.3f} ({figure.min:.3f} to {figure.max:.3f})"
