"""What the evidence says of the proof, and of the machine."""

import os
from dataclasses import replace

import pytest

from conversion.release.evidence import machine, make_evidence, tolerance_of
from conversion.spec import ParitySpec, ToleranceSpec

CARD = "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 42\nBus Location: \t 0000:00:06.0\n"


def test_the_processor_and_the_cards_are_named(tmp_path):
    (tmp_path / "cpuinfo").write_text(
        "processor\t: 0\nmodel name\t: Some CPU\n\nprocessor\t: 1\nmodel name\t: Some CPU\n"
    )
    assert machine(tmp_path)["gpus"] == []
    for bus in ("0000:00:06.0", "0000:00:07.0"):
        (tmp_path / "driver/nvidia/gpus" / bus).mkdir(parents=True)
        (tmp_path / "driver/nvidia/gpus" / bus / "information").write_text(CARD)
    told = machine(tmp_path)
    assert told["processor"] == "Some CPU"
    assert told["gpus"] == ["NVIDIA H100 80GB HBM3"] * 2


@pytest.fixture
def _on_one_core():
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.usefixtures("_on_one_core")
def test_the_cores_that_may_be_used_are_told_beside_those_of_the_machine():
    told = machine()
    assert (told["cores"], told["usable_cores"]) == (os.cpu_count(), 1)


@pytest.fixture
def proved(tmp_path):
    """The evidence of a twin of that precision."""

    def make(spec, precision="fp32", comparisons=()):
        built = {key: [] for key in ("inputs", "outputs", "trials", "unfit")}
        built |= {"graph": {}, "parity": {"comparisons": list(comparisons)}, "seconds": 1.0, "accuracy": None}
        built |= {"memory": {}, "chosen": {"name": "", "precision": precision, "parity": {}}}
        built |= {"original": {}, "timings": {}}
        return make_evidence(spec, built, "", {}, tmp_path, serving={})

    return make


@pytest.mark.parametrize(
    ("precision", "usual", "stressed"), [("fp32", ToleranceSpec(), 1e-5), ("int8", ParitySpec().int8, 0.1)]
)
def test_what_stress_is_held_to_is_told_beside_what_samples_are(proved, spec, precision, usual, stressed):
    told = proved(spec, precision)
    assert tolerance_of(told) == usual
    assert ToleranceSpec(**told["parity"]["stress"]) == replace(usual, of_largest=stressed)


@pytest.mark.parametrize(
    ("most", "wanted", "told"), [(32, (), [1, 2, 7, 32]), (32, (4, 1), [1, 4]), (1, (), [1]), (0, (), [])]
)
def test_batch_sizes_are_those_of_samples_and_not_of_stress(proved, spec, most, wanted, told):
    serving = replace(spec.serving, max_batch_size=most)
    sized = replace(spec, serving=serving, parity=ParitySpec(batch_sizes=wanted))
    stressed = {"case": "zeros: x[3, 9]", "rows": 3, "output": "y"}
    assert proved(sized, comparisons=[stressed])["parity"]["batch_sizes"] == told
