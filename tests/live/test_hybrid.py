"""The hybrid on a real Triton: what it answers, and whom it asks."""

import itertools
import json
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from serving import LoadFailed

from .hybrid_net import Load, Net, Shape, right

NUMBERS = itertools.count()
DTYPES = (
    *("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
    *("FP16", "FP32", "FP64"),
)


@pytest.fixture
def publish(triton):
    """Publishes nets, and takes them away again."""
    nets = []

    def make(load=True, **shape):
        net = Net(triton, f"net{next(NUMBERS)}", Shape(**shape))
        nets.append(net)
        return net.load() if load else net

    yield make
    for net in nets:
        net.close()


@pytest.fixture(scope="module")
def net(triton):
    """A net that no test changes for good."""
    made = Net(triton, "net", Shape(seen=True)).load()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def behaved(request):
    """The shared net's twins behave and are free, whatever the test before told them."""
    yield
    if "net" in request.fixturenames:
        request.getfixturevalue("net").settle()


def rows(*starts, width=4):
    x = np.zeros((len(starts), width), np.float32)
    x[:, 0] = starts
    return x


def refused(net, x, **options):
    """Status and text of a request that fails."""
    with pytest.raises(InferenceServerException) as caught:
        net.ask(x, **options)
    return caught.value.status().removeprefix("StatusCode."), caught.value.message()


def test_the_twin_answers_and_is_named_for_each_row(net):
    x = rows(1, 2, 3)
    answer = net.ask(x)
    assert answer.outputs["y"].tobytes() == right(x).tobytes()
    assert answer.served_by == ["onnx"] * 3


def test_only_what_is_asked_for_is_sent_and_asked_of_the_twin(net):
    answer = net.ask(rows(1), outputs=["seen"])
    assert set(answer.outputs) == {"seen"}
    assert answer.served_by == []
    assert answer.seen["asked"] == ["seen"]
    assert net.ask(rows(1), outputs=["served_by"]).served_by == ["onnx"]


def test_what_a_request_carries_reaches_the_twin(net):
    answer = net.ask(rows(1), request_id="r-17", sequence_id=9, parameters={"colour": "blue", "deadline_ms": 4000.5})
    assert answer.seen["request_id"] == "r-17"
    assert answer.seen["correlation_id"] == 9
    assert answer.seen["parameters"] == {"colour": "blue", "deadline_ms": "4000.5"}
    assert net.ask(rows(1), timeout=2_000_000).seen["timeout"] == 2_000_000


def test_a_request_says_whom_it_prefers(net):
    assert net.ask(rows(1), parameters={"prefer": "original"}).served_by == ["original"]
    net.behave("original", error={"all": "out of order"})
    assert net.ask(rows(1), parameters={"prefer": "original"}).served_by == ["onnx"]


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"prefer": "fastest"}, "'prefer' must be one of auto, onnx, original, found 'fastest'"),
        ({"deadline_ms": 0}, "'deadline_ms' must be a positive number, found '0'"),
        ({"deadline_ms": "soon"}, "'deadline_ms' must be a positive number, found 'soon'"),
    ],
)
def test_a_wish_that_makes_no_sense_is_the_callers_mistake(net, parameters, told):
    status, text = refused(net, rows(1), parameters=parameters)
    assert status == "INVALID_ARGUMENT"
    assert told in text


@pytest.mark.parametrize(
    "fault",
    [
        {"error": {"all": "out of order"}},
        {"missing": ["y"]},
        {"dtype": "float64"},
        {"drop_a_row": True},
        {"nan": ["1.0", "2.0"]},
    ],
    ids=["error", "missing output", "wrong dtype", "wrong shape", "no finite row"],
)
def test_whatever_is_wrong_with_the_twin_the_original_answers(net, fault):
    net.behave("onnx", **fault)
    x = rows(1, 2)
    answer = net.ask(x)
    assert answer.outputs["y"].tobytes() == right(x).tobytes()
    assert answer.served_by == ["original"] * 2


def test_a_row_that_is_not_finite_falls_back_alone(net):
    net.behave("onnx", nan=["2.0"])
    x = rows(1, 2, 3)
    answer = net.ask(x)
    assert answer.outputs["y"].tobytes() == right(x).tobytes()
    assert answer.served_by == ["onnx", "original", "onnx"]
    assert [entry["rows"] for entry in _seen(answer)] == [3, 1, 3]


def _seen(answer):
    return [json.loads(text) for text in answer.outputs["seen"].reshape(-1)]


def test_when_both_fail_one_error_names_both_causes(net):
    net.behave("onnx", error={"all": "first cause"})
    net.behave("original", error={"all": "second cause"})
    status, text = refused(net, rows(1))
    assert status == "INTERNAL"
    assert "onnx: first cause" in text
    assert "original: second cause" in text


@pytest.mark.parametrize(("value", "place"), [(np.nan, (0, 3)), (np.inf, (1, 0)), (-np.inf, (1, 2))])
def test_a_value_that_is_not_finite_is_the_callers_mistake(net, value, place):
    x = rows(1, 2)
    x[place] = value
    status, text = refused(net, x)
    assert status == "INVALID_ARGUMENT"
    assert f"input 'x' holds NaN or infinity at {list(place)}" in text


def test_an_empty_batch_is_the_callers_mistake(net):
    status, _ = refused(net, rows())
    assert status == "INVALID_ARGUMENT"


def test_a_late_twin_is_overtaken_within_the_requests_own_deadline(net):
    net.behave("onnx", sleep_s={"5.0": 4.5})
    answer = net.ask(rows(5), parameters={"deadline_ms": 8000})
    assert answer.served_by == ["original"]
    net.behave("original", sleep_s={"5.0": 4.5})
    status, text = refused(net, rows(5), parameters={"deadline_ms": 400})
    assert status == "UNAVAILABLE"
    assert "no answer within the deadline of 400 ms" in text
    status, _ = refused(net, rows(5), timeout=300_000)
    assert status == "UNAVAILABLE"


def test_the_late_answer_of_one_request_never_becomes_anothers(net):
    net.behave("onnx", sleep_s={"6.0": 4.5})
    start = time.monotonic()
    assert net.ask(rows(6), parameters={"deadline_ms": 8000}).served_by == ["original"]
    value = 10
    # Until after the late one has come.
    while value < 210 or time.monotonic() - start < 5.5:
        x = rows(value)
        assert net.ask(x).outputs["y"].tobytes() == right(x).tobytes()
        value += 1
        # One after the other without a pause when it comes.
        time.sleep(0.02 if time.monotonic() - start < 4 else 0)


def test_a_poisonous_request_fails_alone(net):
    for twin in ("onnx", "original"):
        net.behave(twin, error={"13.0": "cannot digest 13"}, sleep_s={"99.0": 0.2})

    def ask(value):
        try:
            return net.ask(rows(value)).outputs["y"][0, 0]
        except InferenceServerException as error:
            return error.message()

    with ThreadPoolExecutor(24) as pool:
        values = [13 if number % 8 == 3 else 99 if number % 8 == 0 else number + 20 for number in range(48)]
        for value, found in zip(values, pool.map(ask, values), strict=True):
            if value == 13:
                assert "cannot digest 13" in found
            else:
                assert found == 2 * value + 1


@pytest.mark.parametrize("batching", [True, False], ids=["batched", "one by one"])
def test_64_clients_get_their_own_values_byte_for_byte(publish, batching):
    net = publish(batching=batching, dims=(-1,), max_batch_size=8, parameters={"max_concurrency": "6"})

    def make(random):
        # Wide rows live in shared memory that is used again at once; narrow ones share a call with others.
        width = int(random.choice([3, 4, 50_000]))
        return random.standard_normal((int(random.integers(1, 9)), width)).astype(np.float32)

    with Load(net, 64, make, pause_s=0) as load:
        load.more(1500, timeout_s=90)
    assert load.failures == []
    assert load.served_by.keys() == {"onnx"}


@pytest.fixture(scope="module")
def of_every_dtype(triton):
    """A net with an input and an output of each dtype, and one more of each for its rows to be told by."""
    made = Net(triton, "dtypes", Shape(dims=(3,), twin_instances=1, others=DTYPES)).load()
    yield made
    made.close()


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_passes_through(of_every_dtype, dtype):
    sent = {f"x_{one}": np.array([[0, 1, 1], [1, 0, 1]]).astype(triton_to_np_dtype(one)) for one in DTYPES}
    x = sent[f"x_{dtype}"]
    expected = ~x if dtype == "BOOL" else right(x)
    for twin in ("onnx", "original"):
        answer = of_every_dtype.ask(rows(1, 2, width=3), more=sent, parameters={"prefer": twin})
        got = answer.outputs[f"y_{dtype}"]
        assert got.dtype == expected.dtype
        assert got.tobytes() == expected.tobytes()
        assert answer.served_by == [twin] * 2


def test_strings_pass_through_alone_and_together(publish):
    net = publish(dtype="STRING", dims=(2,), twin_instances=1)

    def ask(number):
        x = np.array([[f"{number}".encode(), "ä€".encode()]], object)
        return net.ask(x).outputs["y"].tolist() == [[f"{number}!".encode(), "ä€!".encode()]]

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(200)))


def test_a_model_that_does_not_batch_is_served_whole(publish):
    net = publish(max_batch_size=0, dims=(3,), twin_instances=1)
    x = np.array([1, 2, 3], np.float32)
    answer = net.ask(x)
    assert answer.outputs["y"].tobytes() == right(x).tobytes()
    assert answer.served_by == ["onnx"]
    net.behave("onnx", nan=["1.0"])
    answer = net.ask(x)
    assert answer.outputs["y"].tobytes() == right(x).tobytes()
    assert answer.served_by == ["original"]


def test_the_largest_batch_is_one_call(net):
    answer = net.ask(rows(*range(1, 9)))
    assert answer.seen["rows"] == 8
    status, _ = refused(net, rows(*range(1, 10)))
    assert status == "INVALID_ARGUMENT"


def test_what_may_be_infinite_is_let_through(publish):
    net = publish(twin_instances=1, parameters={"allow_non_finite_inputs": "x", "allow_non_finite_outputs": "y"})
    x = rows(1, np.inf)
    answer = net.ask(x)
    assert answer.outputs["y"].tobytes() == right(x).tobytes()
    assert answer.served_by == ["onnx"] * 2


def test_without_a_fallback_the_cause_is_the_answer(publish):
    net = publish(parameters={"fallback_enabled": "false", "deadline_ms": "4000"})
    net.behave("onnx", error={"1.0": "out of order"}, sleep_s={"2.0": 6.0})
    assert refused(net, rows(1)) == ("INTERNAL", "onnx: out of order")
    status, text = refused(net, rows(2))
    assert status == "UNAVAILABLE"
    assert "4000 ms" in text
    assert net.ask(rows(3)).served_by == ["onnx"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("prefer", "fastest"),
        ("fallback_enabled", "yes"),
        ("deadline_ms", "-1"),
        ("primary_budget_ms", "20000"),
        ("max_concurrency", "0"),
        ("allow_non_finite_inputs", "z"),
        ("allow_non_finite_outputs", "z"),
    ],
)
def test_a_parameter_that_makes_no_sense_refuses_to_load(publish, triton, key, value):
    net = publish(load=False, parameters={key: value})
    with pytest.raises(LoadFailed, match=f"parameter '{key}' of the hybrid must be .*found '{value}'"):
        triton.control.load(net.name)
