from dataclasses import replace

import numpy as np

from conversion.errors import ArtefactError
from conversion.interface import Facts
from conversion.proof.stress import stress_cases, stress_tolerance
from conversion.spec import ToleranceSpec
from conversion.spec.serving import ServingSpec

from ..classifier import SIZE, classifier


def by_kind(cases):
    return {case.stress: case.inputs["x"] for case in cases}


def test_zeros_tiny_large_and_noise_are_tried(subject):
    cases, unfit = stress_cases(subject(classifier()))
    made = by_kind(cases)
    assert unfit == []
    assert (made["zeros"] == 0).all()
    assert 0 < np.abs(made["tiny"]).max() < 1e-4
    assert np.abs(made["large"]).max() > 100
    assert made["noise"].std() > 0.5
    assert all(array.dtype == np.float32 and array.shape == (2, *SIZE) for array in made.values())


def test_no_more_rows_are_tried_than_are_served(subject):
    made = subject(classifier(), serving=ServingSpec(max_batch_size=1))
    assert {case.rows for case in stress_cases(made)[0]} == {1}


def test_stress_stays_within_the_range_that_the_spec_gives(subject):
    made = subject(classifier())
    limited = replace(made, inputs=(Facts("x", "float32", ("batch", *SIZE), (0.0, 1.0)),))
    for array in by_kind(stress_cases(limited)[0]).values():
        assert array.min() >= 0
        assert array.max() <= 1


def test_where_the_original_itself_wavers_nothing_is_proved(subject):
    def wavers(arrays, answer):
        silent = not arrays["x"].any()
        return {"scores": answer["scores"] + (0.1 * len(arrays["x"]) if silent else 0)}

    cases, unfit = stress_cases(subject(classifier(), wavers))
    assert "zeros" not in by_kind(cases)
    assert [one.stress for one in unfit] == ["zeros"]
    assert "changes with the batch" in unfit[0].reason


def test_where_the_last_bit_of_the_inputs_decides_nothing_is_proved(subject):
    def amplifies(arrays, answer):
        large = np.abs(arrays["x"]).max() > 100
        bits = arrays["x"].view(np.int32) & 1
        return {"scores": answer["scores"] + (bits.mean(axis=(1, 2, 3), keepdims=True)[:, 0, 0] if large else 0)}

    cases, unfit = stress_cases(subject(classifier(), amplifies))
    assert set(by_kind(cases)) == {"zeros", "tiny", "noise"}
    assert [one.stress for one in unfit] == ["large"]
    assert "with the last bit of the inputs" in unfit[0].reason


def test_where_the_original_fails_nothing_is_proved(subject):
    def fails(arrays, answer):
        if np.abs(arrays["x"]).max() > 100:
            raise ArtefactError("overflow")
        return answer

    cases, unfit = stress_cases(subject(classifier(), fails))
    assert set(by_kind(cases)) == {"zeros", "tiny", "noise"}
    assert [one.stress for one in unfit] == ["large"]


def test_cancellation_is_allowed_for_and_never_less_than_the_spec():
    assert stress_tolerance(ToleranceSpec()).of_largest == 1e-5
    assert stress_tolerance(ToleranceSpec(of_largest=0.1)).of_largest == 0.1
