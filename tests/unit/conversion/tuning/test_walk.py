"""Which arrangements are tried: a machine that answers by a formula, and what the walk makes of it."""

from dataclasses import replace

import pytest

from conversion.arrangements.arrangement import Arrangement
from conversion.arrangements.callers import Window
from conversion.spec.serving import ServingSpec
from conversion.tuning.run import Run
from conversion.tuning.walk import Room, walk

BASE = Arrangement(2, 1, dynamic_batching=True, joined_rows=32)


class Machine:
    """Gives each arrangement the answers a second that a function says, at `ms` each."""

    def __init__(self, per_s, ms=lambda _: 10.0):
        self._per_s = per_s
        self._ms = ms
        self.steps = []

    def __call__(self, name, wanted):
        self.steps.append((name, list(wanted)))
        return [
            Run(one, {8: [Window((self._ms(one),) * round(self._per_s(one)), 1.0) for _ in range(3)]}) for one in wanted
        ]

    @property
    def runs(self):
        return sum(len(wanted) for _, wanted in self.steps)


def best_of(machine, room, base=BASE, p99_ms=100.0):
    best = base
    for step in walk(base, room, p99_ms, machine):
        best = step.best
    return best


@pytest.mark.parametrize("cores", [1, 2, 3, 4, 8, 16, 64])
def test_less_than_thirty_runs_whatever_the_machine_and_none_that_takes_more_than_its_cores(cores):
    machine = Machine(lambda _: 100)
    best_of(machine, Room(cores, 128, ServingSpec()))
    assert 5 < machine.runs < 30
    tried = {one for _, wanted in machine.steps for one in wanted} - {BASE}
    assert all(one.instances * one.threads <= cores for one in tried if one != BASE and one.instances != 2)
    assert all(len(set(wanted)) == len(wanted) for _, wanted in machine.steps)


@pytest.mark.parametrize("cores", [4, 16, 24, 64])
def test_few_instances_and_many_are_tried_however_many_cores_there_are(cores):
    machine = Machine(lambda _: 100)
    best_of(machine, Room(cores, 32, ServingSpec()))
    shapes = {(one.instances, one.threads) for one in machine.steps[0][1][1:]}
    most = min(cores, 8)
    assert {instances for instances, _ in shapes} == {1 << n for n in range(most.bit_length())}
    assert (1, cores) in shapes
    assert any(one.split_rows and one.instances == most // 2 for one in machine.steps[0][1])


def test_more_instances_than_usual_are_tried_where_the_spec_says_so():
    machine = Machine(lambda one: 100 + one.threads)
    room = Room(64, 32, ServingSpec(instances=16))
    best_of(machine, room, room.nearest(BASE))
    assert {(one.instances, one.threads) for one in machine.steps[0][1]} == {(16, 1), (16, 2), (16, 4)}


def test_of_what_the_machine_cannot_serve_at_once_as_many_are_tried_as_fit():
    machine = Machine(lambda one: 100 + 50 * (one.instances == 4) + 50 * one.dynamic_batching)
    base = replace(BASE, dynamic_batching=False)
    tried = [
        (step.best, len(step.runs))
        for step in walk(base, Room(4, 32, ServingSpec()), 100.0, machine, lambda wanted: len(wanted) <= 3)
    ]
    assert [count for _, count in tried] == [3, 3, 3]
    assert [one.joined_rows for one in machine.steps[1][1][1:]] == [1, 32], "the first and the last"
    machine.steps.clear()
    assert list(walk(BASE, Room(4, 32, ServingSpec()), 100.0, machine, lambda wanted: len(wanted) <= 1)) == []


def test_waiting_that_was_found_before_can_be_given_up_again():
    waiting = Arrangement(1, 4, False, 8, 2000)
    machine = Machine(lambda one: 100 - one.queue_delay_us / 100)
    assert best_of(machine, Room(4, 32, ServingSpec()), waiting).queue_delay_us == 0
    assert [one.queue_delay_us for one in machine.steps[-1][1]] == [2000, 0, 500]
    alone = Machine(lambda one: 100 + 50 * (one.joined_rows == 1) - one.queue_delay_us / 100)
    assert best_of(alone, Room(4, 32, ServingSpec()), waiting) == Arrangement(1, 4, False, 1, 0)
    kept = ServingSpec(max_queue_delay_microseconds=2000)
    assert best_of(machine, Room(4, 32, kept), waiting).queue_delay_us == 2000


def test_who_says_that_nobody_waits_is_not_offered_a_wait():
    joining = Arrangement(1, 4, False, 8)
    machine = Machine(lambda one: 100 + one.queue_delay_us / 10)
    assert best_of(machine, Room(4, 32, ServingSpec()), joining).queue_delay_us == 2000
    assert best_of(machine, Room(4, 32, ServingSpec(max_queue_delay_microseconds=0)), joining).queue_delay_us == 0


def test_each_step_goes_on_from_the_best_so_far():
    def per_s(one):
        return 100 + 50 * (one.threads == 4) + 20 * (one.joined_rows == 8) + 30 * (one.queue_delay_us == 2000)

    machine = Machine(per_s)
    assert best_of(machine, Room(4, 32, ServingSpec())) == Arrangement(1, 4, False, 8, 2000)
    assert [name for name, _ in machine.steps] == ["instances and threads", "joining", "waiting"]
    firsts = [wanted[0] for _, wanted in machine.steps]
    assert firsts == [BASE, replace(BASE, instances=1, threads=4), Arrangement(1, 4, False, 8)]


def test_where_there_are_many_cores_more_processes_of_the_hybrid_are_tried_last():
    machine = Machine(lambda one: 100 * one.hybrid_instances)
    assert best_of(machine, Room(16, 32, ServingSpec())) == replace(BASE, hybrid_instances=4)
    assert [one.hybrid_instances for one in machine.steps[-1][1]] == [1, 2, 4]
    assert best_of(machine, Room(16, 32, ServingSpec(hybrid_instances=1))) == BASE


def test_what_is_hardly_better_is_not_worth_a_change():
    machine = Machine(lambda one: 100 if one == BASE else 104)
    assert best_of(machine, Room(4, 32, ServingSpec())) == BASE


def test_more_answers_are_worth_nothing_beyond_the_limit():
    machine = Machine(lambda one: 500 if one.instances == 4 else 100, lambda one: 150.0 if one.instances == 4 else 50.0)
    assert best_of(machine, Room(4, 32, ServingSpec())).instances != 4
    assert best_of(machine, Room(4, 32, ServingSpec()), p99_ms=200.0).instances == 4


def test_where_nothing_keeps_the_limit_it_goes_where_the_wait_is_shortest():
    machine = Machine(lambda _: 100, lambda one: 400.0 / one.threads)
    assert best_of(machine, Room(4, 32, ServingSpec())).threads == 4


def test_what_the_spec_says_stays():
    machine = Machine(lambda one: 100 * one.threads + one.joined_rows)
    serving = ServingSpec(threads=1, dynamic_batching=False)
    base = Arrangement(2, 1, dynamic_batching=False, joined_rows=1)
    best_of(machine, Room(4, 32, serving), base)
    tried = {one for _, wanted in machine.steps for one in wanted}
    assert {one.threads for one in tried} == {1}
    assert {one.dynamic_batching for one in tried} == {False}


def test_what_is_served_is_brought_in_line_with_what_the_spec_says_since():
    room = Room(4, 32, ServingSpec(hybrid_instances=3, dynamic_batching=False, max_joined_rows=4))
    base = room.nearest(BASE)
    assert base == Arrangement(2, 1, dynamic_batching=False, joined_rows=4, hybrid_instances=3)
    assert room.has(base)
    assert Room(4, 32, ServingSpec()).nearest(BASE) == BASE
    assert Room(4, 32, ServingSpec(split_rows=True)).nearest(BASE) == BASE, "a single thread"
    machine = Machine(lambda one: 100 * one.threads)
    assert best_of(machine, room, base) == replace(base, instances=1, threads=4)


def test_without_rows_only_shapes_are_tried():
    machine = Machine(lambda _: 100)
    base = Arrangement(1, 1, dynamic_batching=False, joined_rows=1)
    best_of(machine, Room(2, 0, ServingSpec(max_batch_size=0)), base)
    assert [name for name, _ in machine.steps] == ["instances and threads"]
