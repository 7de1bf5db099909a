"""Will a target serve this release? Told from its files, and by loading the graph in the target's own ONNX Runtime.

The static checks need nothing but the files. Where an environment with the target's ONNX Runtime can be had, the graph
is loaded in it, the signature that it reports is held against config.pbtxt as the C++ backend does, and one batch is
run: the golden samples of the release where it has them, whose stored outputs the answer has to match, generated inputs
else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from python_backend.integrity import CONFIG

from ..graphs.graph import load_onnx, unreadable
from ..interface import Facts, facts_of
from ..proof.parity import Case, compare
from ..proof.samples import Batch, batch_maker
from ..publishing.repository import Repository
from ..release.evidence import EVIDENCE, evidence_at, tolerance_of
from ..release.golden import GOLDEN, read_golden
from ..release.pbtxt import ROLES, read_config
from ..spec import ModelSpec, SourceSpec, ToleranceSpec
from ..targets import TARGETS, Target
from .config_rules import config_refusals, twin_refusals, written_signature
from .environments import Environments, Loaded, load_in

__all__ = ["Candidate", "Verdict", "examine", "published", "target_of"]


@dataclass(frozen=True)
class Candidate:
    """A release as it lies on disk, staged or published. `configs` are by role; `golden` need not exist."""

    name: str
    graph: Path
    configs: Mapping[str, Any]
    inputs: tuple[Facts, ...]
    tolerance: ToleranceSpec
    golden: Path


@dataclass(frozen=True)
class Verdict:
    """What a target makes of a candidate: a sentence for all that is wrong, in the files and in loading the graph.

    `loaded` is whether the graph was given to the target's ONNX Runtime. `worst` is the largest absolute difference
    from the golden outputs, None where none were compared.
    """

    target: Target
    static: tuple[str, ...]
    loading: tuple[str, ...] = ()
    loaded: bool = False
    worst: float | None = None

    @property
    def refusals(self) -> tuple[str, ...]:
        """All that is wrong."""
        return (*self.static, *self.loading)


def examine(candidate: Candidate, target: Target, environments: Environments | None) -> Verdict:
    """Check a release against `target`; without `environments` from its files alone. Raises BrokenOnnx."""
    static = _static(candidate, target)
    python = environments.python(target.runtime.version) if environments else None
    if python is None:
        return Verdict(target, static)
    inputs, expected = _batch(candidate)
    found = load_in(python, candidate.graph, inputs)
    faults, worst = _judged(candidate, found, Case(inputs, expected))
    # What the file itself shows is told once.
    news = [fault for fault in faults if fault not in static]
    loading = tuple(f"in ONNX Runtime {target.runtime.version} {fault}" for fault in news)
    return Verdict(target, static, loading, loaded=True, worst=worst)


def published(repository: Repository, name: str, version: int) -> Candidate:
    """A release that is in the repository. Raises PublishError where its files are broken."""
    with evidence_at(repository.release_folder(name, "hybrid", version) / EVIDENCE) as evidence:
        inputs, tolerance = tuple(facts_of(plain) for plain in evidence["inputs"]), tolerance_of(evidence)
    return Candidate(
        name=name,
        graph=repository.release_folder(name, "onnx", version) / "model.onnx",
        configs={role: read_config(repository.release_folder(name, role, version) / CONFIG) for role in ROLES},
        inputs=inputs,
        tolerance=tolerance,
        golden=repository.release_folder(name, "hybrid", version) / GOLDEN,
    )


def target_of(repository: Repository, name: str, version: int) -> Target:
    """The target that a published release was made for. Raises PublishError where its evidence is broken."""
    with evidence_at(repository.release_folder(name, "hybrid", version) / EVIDENCE) as evidence:
        # Releases that say nothing are from before there was a choice.
        return TARGETS[evidence.get("target", {"release": ModelSpec.target})["release"]]


def _static(candidate: Candidate, target: Target) -> tuple[str, ...]:
    model = load_onnx(candidate.graph, weights=False)
    return (
        *unreadable(model, target),
        *config_refusals(candidate.name, candidate.configs, target),
        *twin_refusals(candidate.configs["onnx"], written_signature(model)),
    )


def _batch(candidate: Candidate) -> tuple[Batch, Batch]:
    """Inputs of one batch and the outputs that belong to them, none for generated inputs."""
    if candidate.golden.is_file():
        case = read_golden(candidate.golden)
        return case.inputs, case.expected
    make = batch_maker(ModelSpec(candidate.name, candidate.graph.parent, SourceSpec()), candidate.inputs)
    return make(2 if candidate.configs["onnx"].max_batch_size else 1, 0), {}


def _judged(candidate: Candidate, found: Loaded, case: Case) -> tuple[list[str], float | None]:
    """What is wrong with a graph that was loaded, and the largest difference from the case's outputs."""
    faults = [f"the graph fails: {found.failure}"] if found.failure else []
    if "overridable" in found.facts:
        faults += twin_refusals(candidate.configs["onnx"], found.facts)
    if found.failure or not case.expected:
        return faults, None
    comparisons = compare(case, dict(found.outputs), candidate.tolerance)
    faults += [f"output '{c.output}' at {c.case}: {c.failure}" for c in comparisons if c.failure]
    return faults, max((c.max_abs for c in comparisons if c.max_abs is not None), default=None)
