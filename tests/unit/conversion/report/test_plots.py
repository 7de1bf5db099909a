"""Plots: figures stand where they belong, and in the picture."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversion.report.candidates import by_fate, timed
from conversion.report.plots import loss_plot, memory_plot, ratio_plot, share_bar, speed_plot
from conversion.report.scatter import loss_scatters, tolerance_scatters
from pages.drawing import Axis, Drawing, shortened

from . import releases
from .releases import accuracy, candidate, outputs, timing

ANY = st.one_of(st.floats(-1e300, 1e300), st.sampled_from([math.inf, -math.inf, math.nan, 0.0, 5e-324]))


@settings(deadline=None)
@given(st.lists(ANY, max_size=8), ANY, st.booleans())
def test_an_axis_keeps_everything_within_its_ends(values, value, logarithmic):
    axis = Axis.over(values, 10, 200, logarithmic)
    assert all(10 <= axis.at(v) <= 200 for v in (*values, value))


@settings(deadline=None)
@given(st.lists(st.floats(1e-9, 1e9), min_size=2, max_size=8), st.booleans())
def test_an_axis_keeps_the_order(values, logarithmic):
    axis = Axis.over(values, 0, 500, logarithmic)
    places = [axis.at(v) for v in sorted(values)]
    assert places == sorted(places)


def test_a_logarithmic_axis_gives_a_factor_the_same_length_everywhere():
    axis = Axis(1, 1000, 0, 300, logarithmic=True)
    assert [axis.at(v) for v in (1, 10, 100, 1000)] == axis.decades() == [0, 100, 200, 300]
    assert axis.at(0) == axis.at(-5) == 0


def test_a_falling_axis_puts_more_above_less():
    axis = Axis(0, 1, 100, 0)
    assert (axis.at(0.25), axis.at(2), axis.at(-1)) == (75, 0, 100)


@pytest.mark.parametrize("make", releases.ALL)
def test_every_part_of_a_plot_is_in_the_picture(make):
    evidence = make()
    speed, raced = evidence["speed"]["batches"], timed(by_fate(evidence["search"]))
    plots = [*tolerance_scatters(raced, speed), *loss_scatters(raced, speed, 0.001)]
    plots += [speed_plot(speed), ratio_plot({"net": speed})] if speed else []
    plots += [loss_plot(evidence["accuracy"])] if evidence["accuracy"] else []
    plots += filter(None, [memory_plot(evidence["memory"]), share_bar(0.5)])
    for plot in plots:
        assert_within(plot)


def assert_within(plot: Drawing):
    points = [(m.x, m.y) for m in plot.marks] + [(t.x, t.y) for t in plot.texts]
    points += [p for line in plot.lines for p in ((line.x1, line.y1), (line.x2, line.y2))]
    points += [p for bar in plot.bars for p in ((bar.x, bar.y), (bar.x + bar.width, bar.y + bar.height))]
    for x, y in points:
        assert 0 <= x <= plot.width
        assert 0 <= y <= plot.height


def test_the_faster_twin_stands_left_of_the_original_and_the_slower_one_right():
    def places(ratio):
        original, twin = speed_plot(releases.side_by_side("1", 10.0, ratio)).marks
        return original.x, twin.x

    (original, twin), (slow_original, slow_twin) = places(4.0), places(0.5)
    assert twin < original
    assert slow_twin > slow_original


def test_the_spread_reaches_from_the_least_to_the_most():
    batches = releases.side_by_side("1", 10.0, 4.0) | releases.side_by_side("8", 90.0, 3.0)
    plot = speed_plot(batches)
    spreads = [line for line in plot.lines if "spread" in line.kind]
    assert len(spreads) == 4
    for mark, line in zip(plot.marks, spreads, strict=True):
        assert line.x1 < mark.x < line.x2
        assert mark.kind in line.kind


def test_a_ratio_above_one_stands_right_of_the_line():
    plot = ratio_plot({"net": releases.side_by_side("1", 10.0, 2.0) | releases.side_by_side("8", 10.0, 0.5)})
    line = next(line for line in plot.lines if line.kind == "limit")
    above, below = plot.marks
    assert below.x < line.x1 < above.x


def test_a_loss_over_the_limit_stands_right_of_it():
    def places(loss):
        plot = loss_plot(accuracy(loss))
        return plot.marks[0].x, next(line.x1 for line in plot.lines if line.kind == "limit")

    mark, limit = places(0.005)
    assert mark > limit
    mark, limit = places(0.0)
    assert mark < limit


def test_memory_is_as_long_as_it_is_large_and_needs_both():
    original, twin = memory_plot({"original_mb": 800.0, "twin_mb": 200.0}).bars
    assert original.width == 4 * twin.width
    assert memory_plot({"original_mb": 800.0, "twin_mb": None}) is None


@pytest.mark.parametrize(
    ("part", "width", "kind"), [(0.0, 0, "twin"), (0.25, 40, "twin"), (1, 160, "twin"), (9, 160, "bad")]
)
def test_a_bar_is_the_share_of_its_frame(part, width, kind):
    bar = share_bar(part).bars[1]
    assert (bar.width, bar.kind) == (width, kind)
    assert share_bar(None) is None


def raced(*candidates):
    return timed(by_fate({"batch_sizes": [1, 8], "candidates": list(candidates)}))


def test_candidates_are_lettered_in_the_order_of_the_table():
    search = {"batch_sizes": [1], "candidates": [candidate(fate="failed") for _ in range(800)] + [candidate()]}
    chosen, failed = by_fate(search)
    letters = [entry.letter for entry in (*chosen.entries, *failed.entries)]
    assert (letters[0], letters[25], letters[26], letters[-1]) == ("A", "Z", "AA", "ADU")
    assert len(set(letters)) == 801


def test_a_candidate_uses_the_tolerance_as_its_worst_output_does():
    one, two = by_fate(
        {
            "batch_sizes": [],
            "candidates": [candidate(parity=outputs("a", "b", worst=0.3)), candidate(fate="failed", parity={})],
        }
    )
    assert one.entries[0].used == 0.3
    assert two.entries[0].used is None


def test_only_what_was_timed_and_compared_is_plotted_and_never_alone():
    one = candidate(parity=outputs("y"), timings={"1": timing(1.0, 4.0)})
    two = candidate(fate="parity", parity=outputs("y", worst=3), quick={"1": timing(0.5, 1.0), "8": timing(2.0, 1.0)})
    plots = tolerance_scatters(raced(one, two, candidate(fate="failed")), {})
    assert [len(plot.marks) for plot in plots] == [2]
    bad, chosen = plots[0].marks
    assert (bad.kind, bad.diamond, chosen.kind, chosen.diamond) == ("bad early", True, "chosen", False)
    limit = next(line for line in plots[0].lines if line.kind == "limit")
    assert bad.x < chosen.x
    assert bad.y < limit.y1 < chosen.y
    assert tolerance_scatters(raced(one), {}) == []


def test_losses_are_plotted_only_where_there_are_any():
    fast = candidate(fate="accuracy", parity=outputs("y"), accuracy=accuracy(0.11), quick={"1": timing(0.5, 1.0)})
    held = candidate(parity=outputs("y"), accuracy=accuracy(), timings={"1": timing(1.0, 4.0), "8": timing(9.0, 4.0)})
    slow = candidate(fate="slower", parity=outputs("y"), accuracy=accuracy(), timings={"8": timing(12.0, 3.0)})
    plots = loss_scatters(raced(fast, held, slow), {}, 0.001)
    assert [plot.texts[0].text.replace("\N{NO-BREAK SPACE}", " ") for plot in plots] == ["1 row"]
    assert loss_scatters(raced(fast, held), {}, None) == []


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 100), st.floats(1e-6, 10)), min_size=2, max_size=12))
def test_no_letter_lies_on_another_one_or_on_a_mark(points):
    all_of_them = [candidate(parity=outputs("y", worst=worst), timings={"1": timing(ms, 2.0)}) for ms, worst in points]
    (plot,) = tolerance_scatters(raced(*all_of_them), {})
    letters = [text for text in plot.texts if text.kind == "letter"]
    assert len(letters) == len(points)
    for n, one in enumerate(letters):
        for other in letters[:n]:
            assert math.dist((one.x, one.y), (other.x, other.y)) >= 11


@pytest.mark.parametrize(("text", "told"), [("short", "short"), ("a" * 40, "a" * 9 + "…")])
def test_a_name_that_does_not_fit_is_cut(text, told):
    assert shortened(text, 62) == told
