"""What `tune` found, as a page and as a section."""

import re

import pytest

from conversion.spec.serving import TunedSpec
from conversion.tuning.page import tuned_page
from conversion.tuning.tune import section_of

SERVED = {
    "instances": 2,
    "threads": 1,
    "dynamic_batching": True,
    "joined_rows": 32,
    "queue_delay_us": 0,
    "split_rows": False,
    "hybrid_instances": 1,
}
BEST = {
    "instances": 1,
    "threads": 2,
    "dynamic_batching": False,
    "joined_rows": 8,
    "queue_delay_us": 500,
    "split_rows": True,
    "hybrid_instances": 2,
}


def run(arrangement, *figures, failure=""):
    levels = [{"clients": n, "per_s": per_s, "p50_ms": 1.0, "p99_ms": p99} for n, per_s, p99 in figures]
    return {**arrangement, "levels": levels, "best_clients": 8, "failure": failure}


RUNS = [run(SERVED, (1, 70.0, 18.0), (8, 130.0, 120.0)), run(BEST, (1, 105.0, 14.0), (8, 134.5, 91.25))]
FOUND = {
    "name": "net",
    "release": 3,
    "date": "2026-11-26T00:00:00+00:00",
    "machine": {"processor": "AMD EPYC", "cores": 2},
    "p99_ms": 100.0,
    "clients": [1, 8],
    "margin": 0.05,
    "runs": 7,
    "steps": [{"varied": "joining", "runs": [*RUNS, run(SERVED | {"instances": 9}, failure="<no>")]}],
    "final": RUNS,
    "best": BEST,
    "served": SERVED,
    "default": SERVED,
    "within": True,
    "gain": {"median": 1.57, "low": 1.5, "high": 1.6},
    "gain_over_default": None,
}


def test_every_run_stands_on_the_page_which_needs_nothing_from_anywhere():
    page = tuned_page(FOUND, True)
    for told in (
        "2 threads with rows of their own, batching by the hybrid, 8 rows at most, after 0.5 ms",
        "91.2",
        "&lt;no&gt;",
    ):
        assert told in page
    assert "1.57" in page
    assert len(re.findall("<svg", page)) == 2
    assert not re.search(r"(src|href)\s*=|url\(|@import", page)
    assert "nothing tried is clearly better" in tuned_page(FOUND, False)
    assert "nothing tried keeps the limit" in tuned_page(FOUND | {"within": False}, False)


def test_what_is_better_becomes_a_section():
    expected = TunedSpec(1, 2, False, 8, 500, split_rows=True, hybrid_instances=2, p99_ms=100.0, gain=1.57)
    assert section_of(FOUND) == expected
    assert section_of(FOUND | {"gain": None}).gain == 0.0, "what is served keeps the limit nowhere"


@pytest.mark.parametrize(
    "change",
    [
        {"best": SERVED},
        {"within": False},
        {"gain": {"median": 1.04, "low": 1.01, "high": 1.06}},
    ],
)
def test_what_is_no_better_does_not(change):
    assert section_of(FOUND | change) is None
