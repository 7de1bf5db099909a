"""What is worth measuring on a machine, and what is served where nothing is measured."""

from hypothesis import given
from hypothesis import strategies as st

from conversion.arrangements.arrangement import Arrangement, arrangements, default_arrangement, fixed, in_words
from conversion.spec.serving import ServingSpec

COUNTS = st.none() | st.integers(1, 20)
SERVING = st.builds(
    ServingSpec,
    max_batch_size=st.sampled_from([0, 8]),
    instances=COUNTS,
    threads=COUNTS,
    dynamic_batching=st.none() | st.booleans(),
    split_rows=st.none() | st.booleans(),
)


def tried(cores, **serving):
    return [str(one) for one in arrangements(ServingSpec(**serving), cores)]


def test_two_cores_offer_two_instances_or_one_with_two_threads_and_the_twin_or_the_hybrid_joins_requests():
    assert tried(2, split_rows=False) == ["2x1_batching", "2x1_joining4", "1x2_joining4", "1x2_batching", "1x2"]


def test_where_threads_could_have_rows_of_their_own_that_is_tried_too():
    own = "1x2_split_joining4"
    assert tried(2) == ["2x1_batching", "2x1_joining4", "1x2_joining4", own, "1x2_batching", "1x2"]
    assert tried(2, split_rows=True) == ["2x1_batching", "2x1_joining4", own, "1x2_split_batching", "1x2_split"]
    assert tried(2, max_batch_size=1, split_rows=True) == ["2x1_batching", "2x1", "1x2", "1x2_batching"]
    serving = ServingSpec(instances=1, threads=4, split_rows=True)
    assert default_arrangement(serving).split_rows
    assert not default_arrangement(ServingSpec(split_rows=True)).split_rows


def test_one_core_leaves_one_instance_of_one_thread():
    assert tried(1) == ["1x1_batching", "1x1_joining4", "1x1"]
    assert tried(1, max_batch_size=0) == ["1x1"]


def test_more_cores_are_filled_by_instances_or_by_threads_and_two_instances_stay_the_safe_one():
    assert tried(4, split_rows=False) == [
        "2x1_batching",
        "2x1_joining4",
        *("4x1_joining4", "4x1_batching"),
        *("1x4_joining4", "1x4_batching", "1x4"),
    ]


def test_beyond_eight_instances_each_gets_more_threads_instead():
    assert tried(64, dynamic_batching=False, hybrid_instances=1) == ["2x1", "8x8", "1x64"]


def test_what_the_spec_fixes_does_not_vary():
    assert tried(2, dynamic_batching=True) == ["2x1_batching", "1x2_batching", "1x2_split_batching"]
    assert tried(4, instances=2, dynamic_batching=False) == ["2x1", "2x2"]
    assert tried(4, threads=2, dynamic_batching=False) == ["2x2", "1x2"]
    assert tried(2, instances=3, threads=5, split_rows=False) == ["3x5_batching", "3x5_joining4", "3x5"]
    assert tried(2, threads=2, max_joined_rows=1) == ["1x2_batching", "1x2"]


def test_the_hybrid_joins_a_few_rows_where_the_twin_does_not_and_else_as_many_as_a_call_may_have():
    assert [
        one.joined_rows for one in arrangements(ServingSpec(threads=2, split_rows=False, max_batch_size=100), 2)
    ] == [100, 4, 1]
    assert [one.joined_rows for one in arrangements(ServingSpec(threads=2, split_rows=False, max_batch_size=4), 2)] == [
        4,
        4,
        1,
    ]
    assert [
        one.joined_rows for one in arrangements(ServingSpec(threads=2, split_rows=False, max_joined_rows=5), 2)
    ] == [5, 5, 1]


def test_a_model_without_rows_is_never_batched():
    assert tried(2, max_batch_size=0) == ["2x1", "1x2"]
    assert tried(2, max_batch_size=0, dynamic_batching=True) == ["2x1", "1x2"]
    assert not default_arrangement(ServingSpec(max_batch_size=0)).dynamic_batching


def test_where_nothing_is_measured_the_spec_counts_and_else_two_instances_of_one_thread_with_batching():
    assert default_arrangement(ServingSpec()) == Arrangement(2, 1, dynamic_batching=True, joined_rows=32)
    serving = ServingSpec(instances=3, threads=4, dynamic_batching=False)
    assert default_arrangement(serving) == Arrangement(3, 4, dynamic_batching=False, joined_rows=1)


@given(SERVING, st.integers(1, 200))
def test_all_that_is_tried_differs_keeps_what_is_fixed_and_takes_no_more_than_the_cores(serving, cores):
    found = arrangements(serving, cores)
    assert 1 <= len(found) == len(set(found)) <= 13
    for one in found:
        assert serving.instances in (None, one.instances)
        assert serving.threads in (None, one.threads)
        if serving.max_batch_size:
            assert serving.dynamic_batching in (None, one.dynamic_batching)
        asked_for = max(cores, (serving.instances or 1) * (serving.threads or 1))
        assert 1 <= one.instances * one.threads <= asked_for


@given(SERVING, st.integers(1, 200))
def test_where_the_spec_leaves_nothing_open_there_is_only_what_it_says(serving, cores):
    if fixed(serving):
        assert arrangements(serving, cores) == (default_arrangement(serving),)


def test_an_arrangement_in_words():
    two = {"instances": 2, "threads": 1, "dynamic_batching": False}
    assert in_words(two) == in_words(two | {"joined_rows": 1}) == "2 instances of 1 thread, batching off"
    assert in_words(two | {"joined_rows": 8}) == "2 instances of 1 thread, batching by the hybrid, 8 rows at most"
    batching = {"instances": 1, "threads": 4, "dynamic_batching": True, "joined_rows": 32}
    assert in_words(batching) == "1 instance of 4 threads, batching on"
    assert in_words(batching | {"hybrid_instances": 2}).endswith("batching on, 2 processes of the hybrid")
    assert in_words(batching | {"split_rows": True}) == "1 instance of 4 threads with rows of their own, batching on"


def test_on_a_gpu_it_is_two_instances_or_one_with_batching_whatever_the_cores():
    assert [str(one) for one in arrangements(ServingSpec(), 4, gpu=True)] == ["2x1_batching", "1x1_batching"]
    fixed_count = arrangements(ServingSpec(instances=3, dynamic_batching=False), 4, gpu=True)
    assert [str(one) for one in fixed_count] == ["3x1"]


def test_with_many_cores_what_answers_most_is_tried_with_more_processes_of_the_hybrid_too():
    two = ["2x1_batching", "1x1_batching", "2x1_batching_by2"]
    assert [str(one) for one in arrangements(ServingSpec(), 8, gpu=True)] == two
    assert [str(one) for one in arrangements(ServingSpec(), 16, gpu=True)] == [*two, "2x1_batching_by4"]
    assert tried(7) == [each for each in tried(7) if "by" not in each]
    assert tried(16)[-2:] == ["8x2_split_joining4_by2", "8x2_split_joining4_by4"]
    assert "8x2_split_joining4" in tried(16)
    assert tried(8, dynamic_batching=False)[-1:] == ["8x1_by2"]


def test_as_many_processes_of_the_hybrid_as_the_spec_says():
    assert {one.hybrid_instances for one in arrangements(ServingSpec(hybrid_instances=3), 16)} == {3}
    assert {one.hybrid_instances for one in arrangements(ServingSpec(hybrid_instances=1), 16, gpu=True)} == {1}
    assert default_arrangement(ServingSpec(hybrid_instances=3)).hybrid_instances == 3
    assert default_arrangement(ServingSpec()).hybrid_instances == 1
