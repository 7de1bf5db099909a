"""How figures read."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pages import figures


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "\N{EN DASH}"),
        (0, "0"),
        (0.0, "0"),
        (-0.0, "0"),
        (4.2219, "4.22"),
        (19.044, "19.0"),
        (254.18, "254"),
        (6543.247, "6,543"),
        (4631000, "4,631,000"),
        (0.0240, "0.0240"),
        (0.00087, "8.7e-04"),
        (1.4960765838623047e-05, "1.5e-05"),
        (-0.00123, "\N{MINUS SIGN}0.00123"),
        (1.2e30, "1.2e+30"),
        (math.inf, "\N{INFINITY}"),
        (-math.inf, "\N{MINUS SIGN}\N{INFINITY}"),
        (math.nan, "not a number"),
    ],
)
def test_a_number_has_three_digits(value, told):
    assert figures.number(value) == told


@pytest.mark.parametrize(
    ("count", "usable", "told"),
    [
        (64, 64, "64 cores"),
        (64, 2, "64 cores, 2 of them usable"),
        (1, 1, "1 core"),
        (64, None, "64 cores"),
        (None, 2, "\N{EN DASH} cores"),
    ],
)
def test_cores_that_could_not_be_used_are_told(count, usable, told):
    """Evidence of older releases does not say how many could be."""
    assert figures.cores(count, usable) == told


@settings(deadline=None)
@given(st.floats(-1e300, 1e300))
def test_a_number_is_never_off_by_more_than_half_of_its_last_digit(value):
    told = figures.number(value).replace(",", "").replace("\N{MINUS SIGN}", "-")
    assert math.isclose(float(told), value, rel_tol=0.0501, abs_tol=0)
    if 1e-3 <= abs(value) < 1e9:
        assert math.isclose(float(told), value, rel_tol=0.00501)


@pytest.mark.parametrize(
    ("form", "value", "told"),
    [
        (figures.percent, 0.11, "11 %"),
        (figures.percent, 0.995, "99.5 %"),
        (figures.percent, 0.9135, "91.35 %"),
        (figures.percent, 0.00104, "0.104 %"),
        (figures.percent, 0.001, "0.1 %"),
        (figures.percent, 1.0, "100 %"),
        (figures.percent, 0, "0 %"),
        (figures.percent, -0.0097, "\N{MINUS SIGN}0.97 %"),
        (figures.percent, 1e-9, "1.0e-07 %"),
        (figures.percent, None, "\N{EN DASH}"),
        (figures.share, 0.0609937, "6.10 %"),
        (figures.share, 3.369, "337 %"),
        (figures.share, None, "\N{EN DASH}"),
        (figures.milliseconds, 4, "4.00 ms"),
        (figures.megabytes, 2055.565, "2,056 MB"),
        (figures.of_bytes, 585492, "0.585 MB"),
        (figures.times, 4.222, "4.22\N{MULTIPLICATION SIGN}"),
        (figures.times, 1, "1.00\N{MULTIPLICATION SIGN}"),
        (figures.sixth, 0.9998285760276137, "0.999829"),
        (figures.setting, 0.001, "0.001"),
        (figures.setting, 1e-05, "1e-05"),
        (figures.rows, "1", "1 row"),
        (figures.rows, 1000, "1,000 rows"),
        (figures.moment, "2026-11-24T18:57:16+00:00", "2026-11-24 18:57:16 UTC"),
    ],
)
def test_a_figure_has_its_unit(form, value, told):
    assert form(value).replace("\N{NO-BREAK SPACE}", " ") == told
