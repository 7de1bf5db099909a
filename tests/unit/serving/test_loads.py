"""Waiting for loads: a dead process ends the wait for its own load, and for no other."""

from concurrent.futures import Future

import pytest

from serving import loads
from serving.errors import LoadHangs
from serving.stubs import UNNAMED, Stub


class Processes:
    """Of loads that never end: each look tells of the next deaths."""

    def __init__(self, *died):
        self._died = list(died)

    def died(self):
        return [Stub(name, 1, 7) for name in (self._died.pop(0) if self._died else ())]

    def of(self, name):
        return [1]

    def processor_s(self, name):
        return 0.0


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(loads, "_LOOK_EVERY_S", 0.001)
    monkeypatch.setattr(loads, "_HANGS_AFTER_S", 0.05)


@pytest.mark.parametrize("seen_as", ["net", UNNAMED])
def test_a_load_of_which_a_process_died_hangs_also_where_nobody_saw_it_alive(seen_as):
    with pytest.raises(LoadHangs, match="could not load model 'net': a process of it died"):
        loads.wait_for({"net": Future()}, Processes((), (seen_as,)), idle_ends=False)


def test_of_two_loads_the_one_whose_process_died_is_named():
    with pytest.raises(LoadHangs, match="could not load model 'other'"):
        loads.wait_for({"net": Future(), "other": Future()}, Processes(("other",)), idle_ends=False)


def test_a_death_that_may_be_of_either_load_ends_neither():
    """The load whose process it was ends by itself, as most do, and the other one has its time."""
    net, other = Future(), Future()

    class Ending(Processes):
        looks = 0

        def died(self):
            self.looks += 1
            if self.looks == 20:
                net.set_exception(RuntimeError("Stub process is not healthy"))
            if self.looks == 200:
                other.set_result(None)
            return super().died()

    processes = Ending((UNNAMED,))
    loads.wait_for({"net": net, "other": other}, processes, idle_ends=False)
    assert processes.looks == 200
