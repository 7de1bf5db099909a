"""Instances, threads and batching of a twin: what is served where nothing is measured, and what is worth measuring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..spec import ServingSpec

__all__ = ["Arrangement", "arrangements", "default_arrangement", "fixed", "in_words"]

_INSTANCES, _THREADS = 2, 1
# Each instance holds the model once more; beyond these a machine with more cores gives each of them more threads.
_MOST_INSTANCES = 8


@dataclass(frozen=True)
class Arrangement:
    """How Triton serves a twin: `threads` of ONNX Runtime for each of its `instances`, and whether requests are joined.

    Its text, such as "2x1_batching", is fit for a model's name.
    """

    instances: int
    threads: int
    dynamic_batching: bool

    def __str__(self) -> str:
        return f"{self.instances}x{self.threads}{'_batching' if self.dynamic_batching else ''}"


def default_arrangement(serving: ServingSpec) -> Arrangement:
    """What is served where nothing is measured: what the spec fixes, else 2 instances of 1 thread with batching.

    A model without rows is never batched.
    """
    return Arrangement(
        serving.instances or _INSTANCES, serving.threads or _THREADS, _batching(serving.dynamic_batching, serving)
    )


def fixed(serving: ServingSpec) -> bool:
    """Whether the spec leaves nothing open."""
    return serving.instances is not None and serving.threads is not None and not _open_batching(serving)


def arrangements(serving: ServingSpec, cores: int) -> tuple[Arrangement, ...]:
    """What is worth measuring on a machine with so many cores, all different, the safe one first.

    That is the default as far as the cores go, then an instance for each core, then one instance with all cores; each
    with batching and without. What the spec fixes stays; what it leaves open never takes more than the cores.
    """
    batching = (True, False) if _open_batching(serving) else (_batching(serving.dynamic_batching, serving),)
    found = (Arrangement(*shape, joined) for shape in _shapes(serving, cores) for joined in batching)
    return tuple(dict.fromkeys(found))


def in_words(served: Mapping[str, Any]) -> str:
    """For people: "2 instances of 1 thread, batching off", out of the plain data of an Arrangement."""
    instances, threads = served["instances"], served["threads"]
    return (
        f"{instances} instance{'' if instances == 1 else 's'} of {threads} thread{'' if threads == 1 else 's'}, "
        f"batching {'on' if served['dynamic_batching'] else 'off'}"
    )


def _open_batching(serving: ServingSpec) -> bool:
    return serving.max_batch_size > 0 and serving.dynamic_batching is None


def _batching(wanted: bool | None, serving: ServingSpec) -> bool:
    return serving.max_batch_size > 0 and wanted is not False


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
