"""The report of one release."""

import copy
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conversion.errors import PublishError
from conversion.report.candidates import ORDER, by_fate
from conversion.report.release import release_report
from conversion.search.candidates import FATES

from . import releases
from .reading import Page, unfounded
from .releases import HOSTILE, accuracy, candidate, outputs, side_by_side, timing


def shown(evidence):
    return Page(release_report(evidence)).text


def test_every_figure_is_one_of_the_evidence(evidence):
    assert unfounded(shown(evidence), evidence) == []


@pytest.mark.parametrize("told", ["8.71", "33", "6.14 %", "99 MB", "0.0461", "1.0e-07", "8,670"])
def test_a_figure_that_is_nowhere_in_the_evidence_is_found_out(told):
    evidence = releases.winning()
    assert unfounded(f"{shown(evidence)} {told}", evidence) == [told]


def test_nothing_outside_the_file_is_needed_or_run(evidence):
    html = release_report(evidence)
    page = Page(html)
    assert all(reference.startswith("#") and reference[1:] in page.ids for reference in page.references)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert not re.search(r"url\(|@import|@font-face|://", html)
    assert "default-src 'none'" in html


def test_names_are_shown_and_never_obeyed():
    html = release_report(releases.hostile())
    page = Page(html)
    assert "<script" not in html
    assert html.count("</style>") == 1
    # Every one of them: model, output, input, case, candidate, layer, operator, file, …
    assert page.text.count(HOSTILE) >= 25
    assert "49" not in page.text


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (
            releases.winning,
            "The twin is 8.67 times as fast as the original at 1 row, 5.40 at 10 rows and 4.50 at 100 rows; "
            "it agrees with the original on 100 % of 200 items.",
        ),
        (
            releases.losing,
            "No candidate wins: the original plays. The best twin is 0.941 times as fast as the original at 1 row, "
            "0.854 at 10 rows and 0.813 at 100 rows; it agrees with the original on 100 % of 200 items.",
        ),
        (
            releases.undecided,
            "No candidate wins; asked first: onnx. The best twin is 0.941 times as fast as the original at 1 row and "
            "0.994 at 10 rows; it agrees with the original on 100 % of 200 items.",
        ),
        (
            releases.mixed,
            "The twin is 1.35 times as fast as the original at 10 rows and 2.81 at 100 rows, but 0.941 times "
            "as fast as the original at 1 row; it agrees with the original on 100 % of 200 items.",
        ),
        (releases.unbatched, "The twin is 1.00 times as fast as the original at 1 row; its accuracy was not measured."),
        (
            releases.untimed,
            "The twin matches the original; its speed was not measured, and it agrees with the original on 100 % of "
            "200 items.",
        ),
    ],
)
def test_the_verdict_is_one_sentence(make, told):
    assert told in shown(make()).replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        (0.0, "it loses nothing of top1 on 200 items."),
        (0.0005, "it loses 0.05 % of top1 on 200 items."),
        (-0.0125, "it gains 1.25 % of top1 on 200 items."),
        (0.00001, "it loses 0.001 % of top1 on 200 items."),
    ],
)
def test_the_verdict_tells_what_is_lost_or_gained(loss, told):
    evidence = releases.winning() | {"accuracy": accuracy(loss, "top1")}
    assert told in shown(evidence).replace("\N{NO-BREAK SPACE}", " ")
    assert unfounded(shown(evidence), evidence) == []


def test_a_verdict_that_wins_is_marked_and_one_that_does_not_is_not():
    assert '<p class="verdict wins">' in release_report(releases.mixed())
    assert '<p class="verdict">' in release_report(releases.losing())


def test_every_fate_has_its_place_from_the_winner_to_what_was_never_tried():
    assert sorted(ORDER) == sorted(FATES)
    assert ORDER == ("chosen", "slower", "accuracy", "parity", "refused", "failed", "skipped")


def test_candidates_stand_by_fate_each_with_its_reason():
    evidence = releases.eight_bits()
    text = shown(evidence)
    table = text[text.index("candidate\n") :]
    places = [table.index(f"\n{fate}\n") for fate in ORDER]
    assert places == sorted(places)
    for one in evidence["search"]["candidates"]:
        for part in (one["name"], one["reason"], *one["kept_fp32"]):
            assert part in table
    for fate, meaning in FATES.items():
        assert f"\n{fate}\n · {meaning}\n" in table


def test_one_that_could_not_be_compared_has_used_no_share_of_the_tolerance():
    (fate,) = by_fate({"batch_sizes": [1], "candidates": [candidate(fate="parity", parity=outputs("a", "b"))]})
    assert fate.entries[0].used == 0.0613
    broken = outputs("a") | {"b": {"max_abs": None, "max_rel": None, "worst": None}}
    (fate,) = by_fate({"batch_sizes": [1], "candidates": [candidate(fate="parity", parity=broken)]})
    assert fate.entries[0].used is None


def test_times_of_an_early_race_are_told_apart():
    html = release_report(releases.eight_bits())
    assert '<span class="early">0.511\N{NO-BREAK SPACE}ms</span>' in html
    assert html.count('class="early"') == 2
    assert 'class="bad early"' in html


def test_a_fate_of_a_later_search_is_shown_after_the_known_ones():
    evidence = releases.eight_bits()
    evidence["search"]["candidates"][3]["fate"] = "unheard of"
    assert shown(evidence).index("\nskipped\n") < shown(evidence).index("\nunheard of\n")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (releases.search_off, "The search was off"),
        (releases.unbatched, "Not measured: accuracy takes a model that is served in batches."),
        (releases.unbatched, "The stress “zeros” was left out: the original itself fails there."),
        (releases.unbatched, "Compared on whole samples."),
        (releases.winning, "Compared at 1, 2, 7, 32 rows."),
        (releases.untimed, "Not measured."),
        (releases.mixed, "Asked first: original up to 8 rows, onnx from 9 on."),
        (releases.winning, "The twin is served with 2 instances of 1 thread, batching on, as model.toml says."),
        (releases.search_off, "batching on, the default. Nothing was measured: the search is off."),
        (releases.arranged, "The twin is served with 1 instance of 2 threads, batching off. That was measured"),
        (releases.arranged, "a request failed: deadline of 10000 ms passed"),
    ],
)
def test_what_is_missing_or_special_is_said(make, told):
    assert told in shown(make())


def test_what_stress_is_held_to_is_said_where_it_is_something_else():
    evidence = releases.winning()
    told = "Under stress and in other sizes than the samples' that is 0.0001 + 0.001 · |original| + 1e-05 · the largest"
    assert told in " ".join(shown(evidence).split())
    evidence["parity"]["stress"] = {key: evidence["parity"][key] for key in ("atol", "rtol", "of_largest")}
    assert "Under stress" not in shown(evidence)


def test_the_worst_cases_are_shown_and_the_others_can_be_opened():
    html = release_report(releases.many_outputs())
    before, _, opened = html.partition("All comparisons, the worst first")
    assert before.count('<td class="name">picture[') == 8
    assert opened.count('<td class="name">picture[') == 240
    assert "All comparisons" not in release_report(releases.winning())


def test_an_output_shows_its_share_of_the_tolerance_by_length():
    evidence = releases.winning()
    evidence["parity"]["worst"] = outputs("scores", worst=0.25)
    assert '<rect class="twin" x="0" y="1" width="40.0"' in release_report(evidence)


def test_cores_that_conversion_could_not_use_are_told_apart():
    evidence = releases.winning()
    evidence["machine"] |= {"cores": 64, "usable_cores": 2}
    assert "64 cores, 2 of them usable, x86_64" in shown(evidence)


def test_evidence_of_another_schema_is_refused_in_one_sentence():
    with pytest.raises(PublishError, match="of classifier is of schema 1, and reports are made of schema 2; publish"):
        release_report(releases.winning() | {"schema": 1})


def test_the_evidence_is_left_as_it_was(evidence):
    before = copy.deepcopy(evidence)
    release_report(evidence)
    assert evidence == before


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Nd", "Nl", "No", "Cc"]), min_size=1, max_size=30)
PARTS = st.one_of(st.just(0.0), st.floats(1e-9, 1), st.floats(-1, 0))
WORST = st.one_of(st.just(0.0), st.just(float("inf")), st.floats(1e-12, 1e6))
MS = st.floats(1e-3, 1e6)
RATIO = st.floats(1e-3, 1e3)


@st.composite
def searched(draw):
    """Evidence of a search of any outcome."""
    evidence = releases.winning()
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    sizes = sorted(draw(st.sets(st.integers(1, 2000), min_size=1, max_size=4)))
    batches = {}
    for size in sizes:
        batches |= side_by_side(str(size), draw(MS), draw(RATIO))
    evidence["speed"]["batches"] = batches
    evidence["parity"]["worst"] = outputs(*names, worst=draw(st.floats(0, 1)))
    evidence["accuracy"] = draw(
        st.one_of(st.none(), st.builds(accuracy, PARTS, st.sampled_from(["top1", "agreement"])))
    )
    evidence["search"] |= {"batch_sizes": sizes, "wins": any(row["ratio"] > 1 for row in batches.values())}
    races = st.dictionaries(st.sampled_from(list(map(str, sizes))), st.builds(timing, MS, RATIO))
    evidence["search"]["candidates"] = draw(
        st.lists(
            st.builds(
                candidate,
                NAMES,
                st.sampled_from(ORDER),
                NAMES,
                parity=st.one_of(st.none(), st.builds(outputs, st.just("y"), worst=WORST)),
                accuracy=st.one_of(st.none(), st.builds(accuracy, PARTS)),
                quick=races,
                timings=races,
                nodes=st.integers(0, 10**6),
                bytes=st.integers(0, 10**10),
            ),
            max_size=30,
        )
    )
    return evidence


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(searched())
def test_whatever_a_search_found_is_a_page_whose_figures_are_the_evidences(evidence):
    page = Page(release_report(evidence))
    assert unfounded(page.text, evidence) == []
    for one in evidence["search"]["candidates"]:
        assert one["name"] in page.text
