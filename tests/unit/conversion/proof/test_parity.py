import math

import numpy as np
import onnx
import pytest

from conversion.errors import ProviderMissing
from conversion.profiles import CPU, profile_for
from conversion.proof.parity import Case, Parity, Twin, compare, prove
from conversion.spec import ParitySpec, ToleranceSpec
from conversion.spec.serving import GpuSpec

TOLERANCE = ParitySpec(atol=1e-3, rtol=1e-2)


def one(expected, got):
    case = Case({"x": np.zeros((2, 1), np.float32)}, {"y": np.asarray(expected)})
    (comparison,) = compare(case, {"y": np.asarray(got)}, TOLERANCE)
    return comparison


def f32(*values):
    return np.array(values, np.float32)


def test_equal_values_hold_with_no_difference():
    comparison = one(f32(1, 2), f32(1, 2))
    assert comparison.failure is None
    assert (comparison.max_abs, comparison.worst) == (0.0, 0.0)


def test_a_difference_within_atol_plus_rtol_times_the_original_holds():
    comparison = one(f32(10.0), f32(10.1))
    assert comparison.failure is None
    assert comparison.worst == pytest.approx(0.1 / (1e-3 + 0.1), rel=1e-4)


def test_a_difference_above_the_tolerance_fails_with_its_size():
    comparison = one(f32(10.0, 1.0), f32(10.0, 1.5))
    assert comparison.failure == "1 of 2 values differ by more than 0.001 + 0.01·|original| (worst 0.5)"
    assert comparison.max_abs == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        (f32(1, 2), f32(np.nan, 2)),
        (f32(1, 2), f32(np.inf, 2)),
        (f32(np.nan, 2), f32(1, 2)),
        (f32(np.inf, 2), f32(-np.inf, 2)),
    ],
)
def test_values_that_are_not_finite_fail_unless_the_originals_are_so_too(expected, got):
    assert "not finite" in (one(expected, got).failure or "")


def test_the_same_nan_and_infinity_hold():
    assert one(f32(np.nan, np.inf, 1), f32(np.nan, np.inf, 1)).failure is None


def test_dtype_is_compared_before_shape_and_shape_before_values():
    assert one(f32(1, 2), np.array([5.0])).failure == "dtype float64, expected float32"
    assert one(f32(1, 2), f32(5)).failure == "shape [1], expected [2]"


def test_strings_are_compared_as_text():
    assert one(np.array(["a", "b"], object), np.array([b"a", b"b"], object)).failure is None
    assert one(np.array(["a", "b"], object), np.array([b"a", b"c"], object)).failure == "the strings differ"


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        (f32(1, 2), f32(np.nan, 2)),
        (f32(1, 2), np.array([1.0, 2.0])),
        (f32(1, 2), f32(1)),
        (np.array(["a"], object), np.array([b"b"], object)),
    ],
)
def test_what_no_share_of_the_tolerance_tells_has_used_none(expected, got):
    parity = Parity((one(f32(10.0), f32(10.1)), one(expected, got)))
    assert parity.worst == math.inf
    (figures,) = parity.by_output().values()
    assert figures["worst"] is None
    assert figures["max_abs"] == pytest.approx(0.1, rel=1e-4), "where it could be compared"


def test_of_all_cases_the_largest_share_is_told():
    parity = Parity((one(f32(10.0), f32(10.1)), one(f32(10.0), f32(10.3)), one(f32(10.0), f32(10.0))))
    assert parity.by_output()["y"]["worst"] == parity.worst == pytest.approx(0.3 / 0.101, rel=1e-4)
    assert Parity((one(f32(1), f32(np.nan)),)).by_output() == {"y": {"max_abs": None, "max_rel": None, "worst": None}}


def test_rows_of_other_cases_come_behind_its_own_where_they_are_of_the_same_shape():
    first, second, longer = (
        Case({"x": np.full(size, size[0])}, {"y": np.ones(size[0])}) for size in ((3, 2), (1, 2), (2, 5))
    )
    joined = first.with_rows_of([second, first, longer], most_bytes=64)
    assert joined.inputs["x"].tolist() == [[3, 3]] * 3 + [[1, 1]]
    assert joined.expected["y"].tolist() == [1.0] * 4
    assert first.rows == 3
    assert first.with_rows_of([second], most_bytes=63).rows == 3


def test_missing_and_surplus_outputs_are_all_reported():
    case = Case({"x": f32(0)}, {"y": f32(0), "z": f32(0)})
    found = {c.output: c.failure for c in compare(case, {"y": f32(0), "w": f32(0)}, TOLERANCE)}
    assert found == {"y": None, "z": "the twin has no such output", "w": "the original has no such output"}


def test_integers_and_booleans_compare_exactly_within_the_tolerance():
    assert one(np.array([1, 2]), np.array([1, 3])).failure is not None
    assert one(np.array([True]), np.array([False])).failure is not None
    assert one(np.array([5003, 12]), np.array([5000, 12])).failure is not None, "rtol is for floats"
    assert one(np.array([2**60 + 1]), np.array([2**60])).failure is not None, "as floats they are the same"
    assert one(np.array([2**60, -7]), np.array([2**60, -7])).failure is None


@pytest.mark.parametrize(
    ("dtype", "holds"),
    [(np.uint8, True), (np.int16, True), (np.int32, False), (np.int64, False), (np.uint32, False)],
)
def test_whole_numbers_of_32_bits_and_more_are_names_of_which_none_is_near(dtype, holds):
    eight_bits = ToleranceSpec(atol=0.05, rtol=0.05, of_largest=0.1)
    case = Case({"x": f32(0)}, {"y": np.array([[100, 37]], dtype)})
    found = compare(case, {"y": np.array([[100, 40]], dtype)}, eight_bits)
    assert (found[0].failure is None) is holds


def test_a_twin_that_raises_fails_every_output_of_the_case(affine):
    case = Case({"x": np.zeros((2, 5), np.float32)}, {"y": np.zeros((2, 4), np.float32)})
    parity = prove(Twin(affine, 1), [case], TOLERANCE)
    assert len(parity.failures) == 1
    assert parity.failures[0].startswith("output 'y' at x[2, 5]: the twin failed:")


def test_a_real_twin_holds_and_a_changed_weight_does_not(affine):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 4)).astype(np.float32)
    expected = np.maximum(x * f32(1, 2, 3, 4), 0)
    cases = [Case({"x": x}, {"y": expected})]
    assert prove(Twin(affine, 1), cases, TOLERANCE).failures == []
    weights = onnx.numpy_helper.to_array(affine.graph.initializer[0]).copy()
    weights[2] += 0.5
    affine.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights, "w"))
    assert len(prove(Twin(affine, 1), cases, TOLERANCE).failures) == 1


@pytest.mark.parametrize("gpu", [GpuSpec(), GpuSpec("tensorrt", "fp16")])
def test_an_onnx_runtime_without_the_gpus_provider_is_refused_and_not_run_on_the_cpu(affine, gpu):
    providers = profile_for("gpu", gpu).providers
    with pytest.raises(ProviderMissing, match=rf"on CPUExecutionProvider instead of {providers[0][0]}"):
        Twin(affine, 1, providers)


def test_a_provider_that_is_there_but_takes_no_node_is_not_the_one_in_use(affine):
    # Azure's comes with every build, and takes nothing but calls of a service.
    with pytest.raises(ProviderMissing, match="on CPUExecutionProvider instead of AzureExecutionProvider"):
        Twin(affine, 1, [("AzureExecutionProvider", {}), (CPU, {})])


def test_the_nodes_that_each_provider_took_are_counted(affine):
    assert Twin(affine, 1, [(CPU, {}), ("AzureExecutionProvider", {})]).nodes == {CPU: 2}
    assert Twin(affine, 1).nodes == {}


def test_an_answer_of_another_shape_than_the_graph_declares_fails_though_its_values_hold(affine):
    """What is declared is what is published, and the hybrid refuses all else."""
    affine.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 2
    cases = [Case({"x": np.ones((rows, 4), np.float32)}, {"y": f32(*[[1, 2, 3, 4]] * rows)}) for rows in (2, 3)]
    found = prove(Twin(affine, 1), cases, TOLERANCE)
    assert found.failures == ["output 'y' at x[3, 4]: shape [3, 4], and the graph declares [2, 4]"]
