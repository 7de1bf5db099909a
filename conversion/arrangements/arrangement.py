"""Instances, threads and batching of a twin: what is served where nothing is measured, and what is worth measuring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..spec.serving import ServingSpec

__all__ = ["MOST_INSTANCES", "Arrangement", "arrangements", "default_arrangement", "fixed", "hybrid_counts", "in_words"]

_INSTANCES, _THREADS = 2, 1
# Each instance holds the model once more; beyond these a machine with more cores gives each of them more threads.
MOST_INSTANCES = 8
# Rows that the hybrid joins where the twin's own batching is off: larger calls gain a CPU little, and all wait longer.
_JOINED_ROWS = 4
# A process of the hybrid is Python: it hands on what one core can. The twin needs the others.
_CORES_FOR_A_HYBRID, _HYBRID_COUNTS = 4, (2, 4)


@dataclass(frozen=True)
class Arrangement:
    """How Triton serves a twin: `threads` of ONNX Runtime for each of its `instances`, and who joins requests, if any.

    The hybrid joins requests while all instances are busy, up to `joined_rows` in a call. With `dynamic_batching` the
    twin's own queue joins what reaches it, the calls of those who ask it directly among them, and the hybrid only what
    it has no thread for. Triton's queue before the hybrid may wait `queue_delay_us` microseconds for company. With
    `split_rows` the rows of a call run side by side, a thread for each part; otherwise all threads share every row.
    `hybrid_instances` processes of the hybrid hand the requests on. The text, such as "1x2_joining4", is fit for a
    model's name.
    """

    instances: int
    threads: int
    dynamic_batching: bool
    joined_rows: int
    queue_delay_us: int = 0
    split_rows: bool = False
    hybrid_instances: int = 1

    @property
    def sessions(self) -> int:
        """How often ONNX Runtime holds the model."""
        return self.instances * (2 if self.split_rows else 1)

    @property
    def twin(self) -> Arrangement:
        """The same for all whose twins are served alike, however many processes of the hybrid ask them."""
        return replace(self, hybrid_instances=1)

    @classmethod
    def of(cls, served: Mapping[str, Any]) -> Arrangement:
        """Out of plain data, as evidence has it: older releases do not say all of it."""
        return cls(
            instances=served["instances"],
            threads=served["threads"],
            dynamic_batching=served["dynamic_batching"],
            joined_rows=served.get("joined_rows", 1),
            queue_delay_us=served.get("queue_delay_us", 0),
            split_rows=served.get("split_rows", False),
            hybrid_instances=served.get("hybrid_instances", 1),
        )

    def __str__(self) -> str:
        by_hybrid = f"_joining{self.joined_rows}" if self.joined_rows > 1 else ""
        delay = f"_after{self.queue_delay_us}us" if self.queue_delay_us else ""
        split = "_split" if self.split_rows else ""
        hybrids = f"_by{self.hybrid_instances}" if self.hybrid_instances > 1 else ""
        joining = "_batching" if self.dynamic_batching else by_hybrid
        return f"{self.instances}x{self.threads}{split}{joining}{delay}{hybrids}"


def default_arrangement(serving: ServingSpec) -> Arrangement:
    """What is served where nothing is measured: what the spec fixes, else 2 instances of 1 thread with batching.

    A model without rows is never batched.
    """
    one = Arrangement(serving.instances or _INSTANCES, serving.threads or _THREADS, *_usual(serving))
    split = serving.split_rows is True and _can_split(one, serving)
    return replace(
        one,
        queue_delay_us=serving.max_queue_delay_microseconds or 0,
        split_rows=split,
        hybrid_instances=serving.hybrid_instances or 1,
    )


def fixed(serving: ServingSpec) -> bool:
    """Whether the spec leaves nothing open; what it does not say of rows and of the hybrid is their default then."""
    return serving.instances is not None and serving.threads is not None and not _open_batching(serving)


def arrangements(serving: ServingSpec, cores: int, *, gpu: bool = False) -> tuple[Arrangement, ...]:
    """What is worth measuring on a machine with so many cores, all different, the safe one first.

    That is the default as far as the cores go, then an instance for each core, then one instance with all cores; each
    with the joining left to the hybrid, and with the twin's own batching; the last one with neither as well. Where an
    instance has several threads and the hybrid joins requests, that is also tried with the rows split. What the spec
    fixes stays; what it leaves open never takes more than the cores.

    On a `gpu` it is two instances and one: while one of them computes, the other copies. Large calls are what a GPU is
    for, so batching is on unless the spec says otherwise.

    With many cores, what answers most requests is also tried with more processes of the hybrid.
    """
    found, fastest = _on_gpu(serving) if gpu else _on_cpu(serving, cores)
    if count := serving.hybrid_instances:
        found = [replace(one, hybrid_instances=count) for one in found]
    elif not fixed(serving):
        found += [replace(fastest, hybrid_instances=count) for count in hybrid_counts(cores)]
    delay = serving.max_queue_delay_microseconds or 0
    return tuple(dict.fromkeys(replace(one, queue_delay_us=delay) for one in found))


def hybrid_counts(cores: int) -> tuple[int, ...]:
    """How many processes of the hybrid, beside a single one, are worth measuring on a machine with so many cores."""
    return tuple(count for count in _HYBRID_COUNTS if count * _CORES_FOR_A_HYBRID <= cores)


def _on_gpu(serving: ServingSpec) -> tuple[list[Arrangement], Arrangement]:
    """What is worth measuring, and which of it should answer most requests."""
    counts = (serving.instances,) if serving.instances else (_INSTANCES, 1)
    found = [Arrangement(count, serving.threads or 1, *_usual(serving)) for count in counts]
    return found, found[0]


def _on_cpu(serving: ServingSpec, cores: int) -> tuple[list[Arrangement], Arrangement]:
    """What is worth measuring, and which of it should answer most requests: an instance for each core, if they may."""
    shapes, usual = _shapes(serving, cores), _usual(serving)
    found = [Arrangement(*shapes[0], *usual)]
    fastest = Arrangement(*shapes[min(1, len(shapes) - 1)], *usual)
    if _open_batching(serving):
        few = serving.max_joined_rows or min(serving.max_batch_size, _JOINED_ROWS)
        fastest = replace(fastest, dynamic_batching=False, joined_rows=few)
        found += [Arrangement(*shape, *joining) for shape in shapes for joining in ((False, few), usual)]
        found.append(Arrangement(*shapes[-1], dynamic_batching=False, joined_rows=1))
    else:
        found += [Arrangement(*shape, *usual) for shape in shapes]
    return [each for one in found for each in _split(one, serving)], _split(fastest, serving)[-1]


def in_words(served: Mapping[str, Any]) -> str:
    """For people: "2 instances of 1 thread, batching off", out of the plain data of an Arrangement."""
    one = Arrangement.of(served)
    by_hybrid = f"by the hybrid, {one.joined_rows} rows at most" if one.joined_rows > 1 else "off"
    return (
        f"{one.instances} instance{'' if one.instances == 1 else 's'} of"
        f" {one.threads} thread{'' if one.threads == 1 else 's'}{' with rows of their own' if one.split_rows else ''},"
        f" batching {'on' if one.dynamic_batching else by_hybrid}"
        f"{f', after {one.queue_delay_us / 1e3:g} ms' if one.queue_delay_us else ''}"
        f"{f', {one.hybrid_instances} processes of the hybrid' if one.hybrid_instances > 1 else ''}"
    )


def _open_batching(serving: ServingSpec) -> bool:
    return serving.max_batch_size > 0 and serving.dynamic_batching is None


def _can_split(one: Arrangement, serving: ServingSpec) -> bool:
    return one.threads > 1 and serving.max_batch_size > 1


def _split(one: Arrangement, serving: ServingSpec) -> list[Arrangement]:
    """The arrangement with its rows split or not, as the spec says; both, where it leaves that open."""
    split = replace(one, split_rows=True)
    if serving.split_rows is False or not _can_split(one, serving):
        return [one]
    if serving.split_rows:
        return [split]
    # Callers with one row each, who are what is measured, have nothing to split where nobody joins them; and who joins
    # them makes little difference to it.
    twice = _open_batching(serving) and one.dynamic_batching
    return [one] if fixed(serving) or one.joined_rows == 1 or twice else [one, split]


def _usual(serving: ServingSpec) -> tuple[bool, int]:
    """Batching and joined rows, where the spec leaves nothing open or nothing is measured."""
    batching = serving.max_batch_size > 0 and serving.dynamic_batching is not False
    return batching, serving.max_joined_rows or (serving.max_batch_size if batching else 1)


def _shapes(serving: ServingSpec, cores: int) -> list[tuple[int, int]]:
    """Instances and threads."""
    instances, threads = serving.instances, serving.threads
    if instances is not None:
        return [(instances, each) for each in ((threads,) if threads else (_THREADS, max(1, cores // instances)))]
    room = max(1, min(cores // (threads or 1), MOST_INSTANCES))
    return [
        (min(_INSTANCES, room), threads or _THREADS),
        (room, threads or max(1, cores // room)),
        (1, threads or cores),
    ]
