import threading

from python_backend.hybrid.cooldown import CoolDown


def test_it_rests_at_once_and_lets_one_probe_through_a_second_later(clock):
    rest = CoolDown(clock)
    assert rest.allows()
    rest.failed()
    assert not rest.allows()
    clock.now += 0.99
    assert not rest.allows()
    clock.now += 0.02
    assert rest.allows()
    assert not rest.allows()


def test_each_failed_probe_doubles_the_pause_up_to_a_minute(clock):
    rest = CoolDown(clock)
    rest.failed()
    pauses = []
    for _ in range(9):
        start = clock.now
        while not rest.allows():
            clock.now += 0.5
        pauses.append(clock.now - start)
        rest.failed()
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_calls_that_were_under_way_when_the_twin_died_do_not_lengthen_the_pause(clock):
    rest = CoolDown(clock)
    for _ in range(16):
        rest.failed()
    clock.now += 1.01
    assert rest.allows()


def test_a_success_ends_the_rest_and_resets_the_pause(clock):
    rest = CoolDown(clock)
    rest.failed()
    clock.now += 1.01
    assert rest.allows()
    rest.failed()
    rest.succeeded()
    assert not rest.resting
    rest.failed()
    clock.now += 1.01
    assert rest.allows()


def test_three_late_answers_in_a_row_are_needed(clock):
    rest = CoolDown(clock)
    rest.failed(late=True)
    rest.failed(late=True)
    rest.succeeded()
    rest.failed(late=True)
    rest.failed(late=True)
    assert rest.allows()
    rest.failed(late=True)
    assert not rest.allows()


def test_a_probe_without_a_verdict_does_not_close_the_door_for_good(clock):
    rest = CoolDown(clock)
    rest.failed()
    clock.now += 1.01
    assert rest.allows()
    clock.now += 1.01
    assert rest.allows()


def test_of_many_threads_one_is_the_probe(clock):
    rest = CoolDown(clock)
    rest.failed()
    clock.now += 2
    barrier, allowed = threading.Barrier(16), []

    def ask():
        barrier.wait()
        if rest.allows():
            allowed.append(1)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(allowed) == 1
