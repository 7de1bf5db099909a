import time

import pytest

from conversion.measuring import timing
from conversion.measuring.timing import Patience, Race, race


def test_all_run_in_every_round_and_each_is_first_in_its_turn():
    calls = []
    names = ("original", "a", "b")
    found = race({name: lambda name=name: calls.append(name) for name in names}, Race(least=6, most=6, attempts=1))
    rounds = [tuple(calls[i : i + 3]) for i in range(6, len(calls), 3)]
    assert len(rounds) == 6
    assert all(sorted(one) == sorted(names) for one in rounds)
    assert [one[0] for one in rounds] == ["original", "a", "b", "original", "a", "b"]
    assert {name: timed.rounds for name, timed in found.items()} == dict.fromkeys(names, 6)


def test_the_ratio_tells_how_many_times_as_fast_as_the_first():
    found = race({"original": lambda: time.sleep(0.02), "twin": lambda: time.sleep(0.005)}, Race(least=5, most=5))
    assert found["original"].ratio == 1
    twin = found["twin"]
    assert twin.ratio_quartiles[0] <= twin.ratio <= twin.ratio_quartiles[1]
    assert twin.ratio > 1
    assert twin.gain > 1
    assert twin.range_ms[0] <= twin.ms <= twin.range_ms[1]
    assert twin.range_ms[0] >= 5


def test_time_ends_a_race_but_never_before_the_least_number_of_rounds():
    found = race({"slow": lambda: time.sleep(0.01)}, Race(least=4, most=1000, seconds=0.0, attempts=1))
    assert found["slow"].rounds == 4


@pytest.mark.parametrize(("shares", "kept"), [([0.5, 0.05], 0.05), ([0.5, 0.3, 0.4], 0.3), ([0.02], 0.02)])
def test_a_disturbed_race_is_run_again_and_the_quietest_one_counts(monkeypatch, shares, kept):
    told = iter(shares)
    monkeypatch.setattr(timing, "_others", lambda before, after: next(told))
    monkeypatch.setattr(timing, "_WAIT_S", 0.0)
    found = race({"only": lambda: None}, Race(least=2, most=2, attempts=3))
    assert found["only"].others == kept
    assert list(told) == []


def test_on_a_machine_that_stays_busy_races_are_no_longer_run_again(monkeypatch):
    shares = [0.5, 0.4, 0.5, 0.4, 0.5, 0.02, 0.3, 0.2]
    told = iter(shares)
    monkeypatch.setattr(timing, "_others", lambda before, after: next(told))
    monkeypatch.setattr(timing, "_WAIT_S", 0.0)
    patience, how, kept = Patience(), Race(least=2, most=2, attempts=2), []
    for _ in range(5):
        kept.append(race({"only": lambda: None}, how, patience)["only"].others)
    # Two attempts, two attempts, patience is lost, a quiet race finds it again, two attempts.
    assert kept == [0.4, 0.4, 0.5, 0.02, 0.2]
    assert list(told) == []


def test_the_share_of_others_is_what_neither_idles_nor_is_ours():
    assert timing._others((0.0, 0.0, 0.0), (10.0, 6.0, 4.0)) == pytest.approx(0.2)
    assert timing._others((0.0, 0.0, 0.0), (10.0, 4.0, 4.5)) == 0.0
