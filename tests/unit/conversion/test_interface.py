from dataclasses import replace

import pytest

from conversion.errors import FixedDimension, NameMismatch, NameTaken, Unsupported, UnsupportedDtype
from conversion.interface import Facts, input_facts, output_names
from conversion.spec import InputSpec, OutputSpec
from conversion.spec.serving import ServingSpec
from python_backend.original.bundle import Tensor

TOLD = [Tensor("image", "float32", (None, None, 3))]


def test_what_the_artefact_tells_need_not_be_written(spec):
    assert input_facts(spec, TOLD) == (Facts("image", "float32", ("batch", "image_1", 3)),)


def test_the_spec_names_dimensions_and_gives_a_range(spec):
    given = InputSpec("image", shape=("batch", "time", 3), range=(0, 1))
    assert input_facts(replace(spec, inputs=(given,)), TOLD) == (
        Facts("image", "float32", ("batch", "time", 3), (0, 1)),
    )


def test_a_dynamic_dimension_can_be_narrowed_to_a_number(spec):
    given = InputSpec("image", shape=("batch", 16, 3))
    assert input_facts(replace(spec, inputs=(given,)), TOLD)[0].shape == ("batch", 16, 3)


def test_an_input_without_a_name_stands_for_the_only_one(spec):
    given = InputSpec("", shape=("batch", 16, 3))
    assert input_facts(replace(spec, inputs=(given,)), TOLD)[0] == Facts("image", "float32", ("batch", 16, 3))


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        (InputSpec("picture"), NameMismatch, "names the inputs picture, but the model has image"),
        (InputSpec("image", dtype="uint8"), Unsupported, "says input 'image' is uint8, the model says float32"),
        (InputSpec("image", shape=("batch", 4, 4)), Unsupported, r"the model has \['batch', 'image_1', 3\]"),
        (InputSpec("image", shape=("batch", 3)), Unsupported, r"the shape \['batch', 3\]"),
    ],
)
def test_a_spec_that_contradicts_the_artefact_is_refused(spec, given, error, sentence):
    with pytest.raises(error, match=sentence):
        input_facts(replace(spec, inputs=(given,)), TOLD)


def test_a_dtype_that_cannot_be_served_is_refused(spec):
    with pytest.raises(UnsupportedDtype, match="tensor 'x' has dtype bfloat16"):
        input_facts(spec, [Tensor("x", "bfloat16", (None, 3))])


def test_an_artefact_with_a_fixed_batch_is_refused(spec):
    with pytest.raises(
        FixedDimension, match=r"dimension 'batch' of tensor 'x' is fixed, \[2, 3\], and must be dynamic"
    ):
        input_facts(spec, [Tensor("x", "float32", (2, 3))])


def test_without_a_batch_the_first_dynamic_dimension_has_a_name_of_its_own(spec):
    unbatched = replace(spec, serving=ServingSpec(max_batch_size=0))
    assert input_facts(unbatched, TOLD)[0].shape == ("image_0", "image_1", 3)


def test_outputs_keep_their_names_unless_the_spec_sets_them(spec):
    assert output_names(spec, (), ["a", "b"]) == ("a", "b")
    named = replace(spec, outputs=(OutputSpec("first"), OutputSpec("second")))
    assert output_names(named, (), ["a", "b"]) == ("first", "second")
    assert output_names(replace(spec, outputs=(OutputSpec("b"), OutputSpec("a"))), (), ["a", "b"]) == ("a", "b")
    with pytest.raises(NameMismatch, match="names the outputs first, second, but the model has a"):
        output_names(named, (), ["a"])


def test_an_output_that_is_named_as_another_one_is_refused(spec):
    renamed = replace(spec, outputs=(OutputSpec("a"), OutputSpec("second")))
    assert output_names(renamed, (), ["a", "b"]) == ("a", "second")
    swapped = replace(spec, outputs=(OutputSpec("b"), OutputSpec("second")))
    with pytest.raises(NameMismatch, match="names the outputs b, second, but the model has a, b"):
        output_names(swapped, (), ["a", "b"])


def test_values_that_may_not_be_finite_are_those_of_tensors_that_there_are(spec):
    """Told here, and not by what serves it, after the whole search."""
    allowed = replace(spec, serving=ServingSpec(allow_non_finite_inputs=("image",), allow_non_finite_outputs=("a",)))
    assert output_names(allowed, input_facts(allowed, TOLD), ["a"]) == ("a",)
    with pytest.raises(NameMismatch, match="names the outputs a in allow_non_finite_outputs, but the model has b"):
        output_names(allowed, (), ["b"])
    other = [Tensor("picture", "float32", (None, 3))]
    with pytest.raises(NameMismatch, match="names the inputs image in allow_non_finite_inputs, but the model has pic"):
        input_facts(allowed, other)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("served_by", "output 'served_by' is the hybrid's own; name it otherwise in"),
        ("image", "output 'image' has the name of an input; name it otherwise in"),
    ],
)
def test_an_output_whose_name_is_taken_is_refused_and_another_name_helps(spec, name, sentence):
    inputs = input_facts(spec, TOLD)
    with pytest.raises(NameTaken, match=sentence):
        output_names(spec, inputs, [name])
    with pytest.raises(NameTaken, match=sentence):
        output_names(replace(spec, outputs=(OutputSpec(name),)), inputs, ["a"])
    assert output_names(replace(spec, outputs=(OutputSpec("a"),)), inputs, [name]) == ("a",)
