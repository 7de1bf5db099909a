"""Instances, threads and batching of a twin: what is served where nothing is measured, and what is worth measuring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..serving_spec import ServingSpec

__all__ = ["Arrangement", "arrangements", "default_arrangement", "fixed", "in_words"]

_INSTANCES, _THREADS = 2, 1
# Each instance holds the model once more; beyond these a machine with more cores gives each of them more threads.
_MOST_INSTANCES = 8
# Rows that the hybrid joins where the twin's own batching is off: larger calls gain a CPU little, and all wait longer.
_JOINED_ROWS = 4


@dataclass(frozen=True)
class Arrangement:
    """How Triton serves a twin: `threads` of ONNX Runtime for each of its `instances`, and who joins requests, if any.

    The hybrid joins requests while all instances are busy, up to `joined_rows` in a call; with `dynamic_batching` the
    twin's own queue joins what reaches it, the calls of those who ask it directly among them. Triton's queue before the
    hybrid may wait `queue_delay_us` microseconds for company. With `split_rows` the rows of a call run side by side, a
    thread for each part; otherwise all threads share every row. The text, such as "1x2_joining4", is fit for a model's
    name.
    """

    instances: int
    threads: int
    dynamic_batching: bool
    joined_rows: int
    queue_delay_us: int = 0
    split_rows: bool = False

    @property
    def sessions(self) -> int:
        """How often ONNX Runtime holds the model."""
        return self.instances * (2 if self.split_rows else 1)

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
        )

    def __str__(self) -> str:
        by_hybrid = f"_joining{self.joined_rows}" if self.joined_rows > 1 else ""
        delay = f"_after{self.queue_delay_us}us" if self.queue_delay_us else ""
        split = "_split" if self.split_rows else ""
        return f"{self.instances}x{self.threads}{split}{'_batching' if self.dynamic_batching else by_hybrid}{delay}"


def default_arrangement(serving: ServingSpec) -> Arrangement:
    """What is served where nothing is measured: what the spec fixes, else 2 instances of 1 thread with batching.

    A model without rows is never batched.
    """
    one = Arrangement(serving.instances or _INSTANCES, serving.threads or _THREADS, *_usual(serving))
    split = serving.split_rows is True and _can_split(one, serving)
    return replace(one, queue_delay_us=serving.max_queue_delay_microseconds, split_rows=split)


def fixed(serving: ServingSpec) -> bool:
    """Whether the spec leaves nothing open; rows are not split where it says all but that."""
    return serving.instances is not None and serving.threads is not None and not _open_batching(serving)


def arrangements(serving: ServingSpec, cores: int, *, gpu: bool = False) -> tuple[Arrangement, ...]:
    """What is worth measuring on a machine with so many cores, all different, the safe one first.

    That is the default as far as the cores go, then an instance for each core, then one instance with all cores; each
    with the joining left to the hybrid, and with the twin's own batching; the last one with neither as well. Where an
    instance has several threads and the hybrid joins requests, that is also tried with the rows split. What the spec
    fixes stays; what it leaves open never takes more than the cores.

    On a `gpu` it is two instances and one: while one of them computes, the other copies. Large calls are what a GPU is
    for, so batching is on unless the spec says otherwise.
    """
    if gpu:
        counts = (serving.instances,) if serving.instances else (_INSTANCES, 1)
        delay = serving.max_queue_delay_microseconds
        return tuple(Arrangement(count, serving.threads or 1, *_usual(serving), delay) for count in counts)
    shapes, usual = _shapes(serving, cores), _usual(serving)
    found = [Arrangement(*shapes[0], *usual)]
    if _open_batching(serving):
        few = serving.max_joined_rows or min(serving.max_batch_size, _JOINED_ROWS)
        found += [Arrangement(*shape, *joining) for shape in shapes for joining in ((False, few), usual)]
        found.append(Arrangement(*shapes[-1], dynamic_batching=False, joined_rows=1))
    else:
        found += [Arrangement(*shape, *usual) for shape in shapes]
    found = [each for one in found for each in _split(one, serving)]
    return tuple(dict.fromkeys(replace(one, queue_delay_us=serving.max_queue_delay_microseconds) for one in found))


def in_words(served: Mapping[str, Any]) -> str:
    """For people: "2 instances of 1 thread, batching off", out of the plain data of an Arrangement."""
    one = Arrangement.of(served)
    by_hybrid = f"by the hybrid, {one.joined_rows} rows at most" if one.joined_rows > 1 else "off"
    return (
        f"{one.instances} instance{'' if one.instances == 1 else 's'} of"
        f" {one.threads} thread{'' if one.threads == 1 else 's'}{' with rows of their own' if one.split_rows else ''},"
        f" batching {'on' if one.dynamic_batching else by_hybrid}"
        f"{f', after {one.queue_delay_us / 1e3:g} ms' if one.queue_delay_us else ''}"
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
    room = max(1, min(cores // (threads or 1), _MOST_INSTANCES))
    return [
        (min(_INSTANCES, room), threads or _THREADS),
        (room, threads or max(1, cores // room)),
        (1, threads or cores),
    ]
