from dataclasses import replace

import pytest

from conversion.spec.preference import as_parameter, asked_first, at_best, batch_range, in_words, preference
from conversion.spec.serving import ServingSpec


def ranges(spec, prefer, ratios=None, largest=100):
    serving = ServingSpec(prefer=prefer, max_batch_size=largest)
    return preference(replace(spec, serving=serving), ratios or {})


@pytest.mark.parametrize(
    ("text", "first", "last"), [("1", 1, 1), ("7", 7, 7), ("2-8", 2, 8), ("10-100", 10, 100), ("3-3", 3, 3)]
)
def test_batch_sizes_are_one_or_from_one_to_another(text, first, last):
    assert batch_range(text) == range(first, last + 1)


def test_batch_sizes_without_an_end_hold_all_that_follow():
    assert batch_range("9-")[0] == 9
    assert 1 << 16 in batch_range("9-")


@pytest.mark.parametrize("text", ["", "0", "-8", "8-2", "2..8", "a", "1-2-3", " 1", "01", "1" * 5000])
def test_what_names_no_batch_size_is_empty(text):
    assert not batch_range(text)


@pytest.mark.parametrize("twin", ["onnx", "original"])
def test_a_twin_that_the_spec_names_serves_all_sizes_whatever_was_measured(spec, twin):
    assert ranges(spec, twin, {1: 0.5, 10: 2.0}) == ((1, twin),)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"1": "original", "2-8": "original", "9-": "onnx"}, ((1, "original"), (9, "onnx"))),
        ({"9-": "onnx", "1-8": "original"}, ((1, "original"), (9, "onnx"))),
        ({"4-7": "original"}, ((1, "onnx"), (4, "original"), (8, "onnx"))),
        ({"1-2": "original", "5-": "original"}, ((1, "original"), (3, "onnx"), (5, "original"))),
        ({"1-": "original"}, ((1, "original"),)),
        ({"1-100": "original"}, ((1, "original"),)),
        ({"101-": "original"}, ((1, "onnx"),)),
        ({}, ((1, "onnx"),)),
    ],
)
def test_sizes_that_a_table_does_not_name_are_the_onnx_twins(spec, table, expected):
    assert ranges(spec, table, {1: 0.5, 10: 0.5}) == expected


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ({}, ((1, "onnx"),)),
        ({1: 2.0, 10: 3.0}, ((1, "onnx"),)),
        ({1: 0.9, 10: 0.8, 100: 0.7}, ((1, "original"),)),
        ({1: 1.0}, ((1, "onnx"),)),
        ({10: 0.9}, ((1, "original"),)),
        ({1: 0.9, 10: 1.1}, ((1, "original"), (4, "onnx"))),
        ({1: 1.1, 10: 0.9, 100: 1.1}, ((1, "onnx"), (4, "original"), (32, "onnx"))),
        ({1: 1.1, 10: 1.2, 100: 0.9}, ((1, "onnx"), (32, "original"))),
        ({10: 1.1, 1: 0.9}, ((1, "original"), (4, "onnx"))),
    ],
)
def test_auto_is_whoever_is_faster_at_the_nearest_measured_size(spec, ratios, expected):
    assert ranges(spec, "auto", ratios) == expected


@pytest.mark.parametrize(
    ("quartiles", "twin"), [((0.74, 1.14), "onnx"), ((0.90, 1.0), "onnx"), ((0.74, 0.99), "original")]
)
def test_the_original_is_asked_first_only_where_it_is_clearly_faster(spec, quartiles, twin):
    timings = {"1": {"ratio": 0.94, "ratio_quartiles": quartiles}}
    assert ranges(spec, "auto", at_best(timings)) == ((1, twin),)


@pytest.mark.parametrize(("low", "high", "border"), [(1, 2, 2), (4, 9, 6), (8, 9, 9), (1, 100, 10), (10, 100, 32)])
def test_the_border_between_two_measured_sizes_is_their_geometric_middle_rounded_up(spec, low, high, border):
    assert ranges(spec, "auto", {low: 0.5, high: 2.0}) == ((1, "original"), (border, "onnx"))


@pytest.mark.parametrize(("largest", "expected"), [(0, 1), (1, 1), (3, 1), (4, 2)])
def test_sizes_that_are_never_served_make_no_range(spec, largest, expected):
    for prefer in ("auto", {"1-3": "original"}):
        found = ranges(spec, prefer, {1: 0.9, 10: 1.1}, largest)
        assert found[0] == (1, "original")
        assert len(found) == expected


@pytest.mark.parametrize(
    ("found", "parameter", "words"),
    [
        (((1, "onnx"),), "onnx", "onnx"),
        (((1, "original"),), "original", "original"),
        (((1, "original"), (9, "onnx")), "1:original,9:onnx", "original up to 8 rows, onnx from 9 on"),
        (((1, "original"), (2, "onnx")), "1:original,2:onnx", "original up to 1 row, onnx from 2 on"),
        (
            ((1, "onnx"), (4, "original"), (5, "onnx"), (8, "original")),
            "1:onnx,4:original,5:onnx,8:original",
            "onnx up to 3 rows, original at 4, onnx from 5 to 7, original from 8 on",
        ),
    ],
)
def test_it_is_told_to_the_hybrid_and_to_people(found, parameter, words):
    assert as_parameter(found) == parameter
    assert in_words(found) == words


@pytest.mark.parametrize(
    ("parameter", "rows", "twin"),
    [
        ("onnx", 9, "onnx"),
        ("1:original,9:onnx", 1, "original"),
        ("1:original, 9:onnx", 8, "original"),
        ("1:original,9:onnx", 9, "onnx"),
        ("", 1, ""),
    ],
)
def test_who_is_asked_first_is_read_back_from_the_hybrids_parameter(parameter, rows, twin):
    assert asked_first(parameter, rows) == twin
