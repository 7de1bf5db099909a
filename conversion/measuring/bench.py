"""Original against twin of what is published: time, memory and accuracy, measured anew on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from python_backend.original.loading import Device, load

from ..interface import input_facts
from ..profiles import TENSORRT, profile_for
from ..proof.accuracy import Accuracy, Scorer, labelled
from ..proof.parity import Twin, require_providers
from ..proof.samples import batch_maker, item_maker
from ..release.gpu_config import padded
from ..spec import ModelSpec
from .memory import peak_memory_mb
from .timing import Race, Timing, race

__all__ = ["Measured", "measure"]

_RACE = Race(least=7, most=60, seconds=20.0)


@dataclass(frozen=True)
class Measured:
    """Figures of one release; times by batch size, memory in MB (10^6 bytes) at its peak in a process of its own.

    `provider` is the twin's; `nodes` counts what each provider took of its graph, where it is not the CPU's alone.
    `precision` is that in which it was proved, or which TensorRT was asked for.
    """

    provider: str
    precision: str
    nodes: dict[str, int]
    threads: int
    original: dict[int, Timing]
    twin: dict[int, Timing]
    memory: dict[str, float]
    accuracy: Accuracy | None


def measure(
    spec: ModelSpec,
    _work: Path,
    report: Callable[[str], None],
    *,
    original: Path,
    twin: Path,
    sizes: Sequence[int],
    profile: str,
    precision: str = "fp32",
    operators: tuple[str, ...] = (),
) -> Measured:
    """Measure a release: `original` is its bundle, `twin` its ONNX file of those operators, proved in `precision`.

    On CUDA its batches are filled up as they are when it is served.

    Raises ProviderMissing where the twin would not run where the profile says, ArtefactError.
    """
    where, threads = profile_for(profile, spec.serving.gpu, precision, operators), spec.serving.original_threads
    # Before frameworks fail in words of their own. The session itself comes after: it finds the libraries of CUDA that
    # torch has loaded.
    require_providers(where.providers)
    filled = padded(operators, spec.serving.max_batch_size)
    model = load(original, Device(threads, where.gpu))
    session = Twin(str(twin), threads, where.providers, filled)
    inputs = input_facts(spec, model.inputs)
    make = batch_maker(spec, inputs)
    timed: dict[int, dict[str, Timing]] = {}
    for size in sizes:
        report(f"timing both at {size} rows")
        batch = make(size, 0)
        runners = {"original": partial(model.run, batch), "twin": partial(session.run, batch)}
        timed[size] = race(runners, _RACE)
    accuracy = None
    if spec.serving.max_batch_size:
        report("measuring the accuracy of both")
        # A GPU lets frameworks round: what answers are worth is held against those of the CPU, as `convert` does.
        exact = model if where.gpu is None else load(original, Device(threads))
        accuracy = Scorer(spec, labelled(spec, item_maker(spec, inputs), inputs), exact.run).accuracy(session.run)
    report("measuring the memory of both")
    row = make(1, 0)
    return Measured(
        provider=where.providers[0][0],
        precision=spec.serving.gpu.precision if where.providers[0][0] == TENSORRT else precision,
        nodes=dict(session.nodes),
        threads=threads,
        original={size: found["original"] for size, found in timed.items()},
        twin={size: found["twin"] for size, found in timed.items()},
        memory={
            "original": peak_memory_mb("original", original, row, sizes, threads=threads, where=where),
            "twin": peak_memory_mb("twin", twin, row, sizes, threads=threads, where=where, padded=filled),
        },
        accuracy=accuracy,
    )
