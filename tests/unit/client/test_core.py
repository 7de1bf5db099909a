"""The verbs beside `predict`."""

import io
from collections.abc import Callable, Iterator
from itertools import chain, count

import pytest
from understudy_client import (
    AsyncHybridClient,
    DeadlineExceeded,
    FakeModel,
    FakeTransport,
    HybridClient,
    InvalidRequest,
    LoadFailed,
    ModelNotFound,
    ServerError,
)
from understudy_client.calls import IndexEntry, Load, ReadIndex, Unload
from understudy_client.core import Core
from understudy_client.steps import Backoff, advance


def test_models_have_roles_by_their_names(fake: FakeTransport) -> None:
    with HybridClient(transport=fake) as client:
        client.unload("plain")
        models = client.models()
    assert [(model.name, model.role, model.state, model.versions) for model in models] == [
        ("m", "hybrid", "READY", ("1",)),
        ("m_onnx", "onnx", "READY", ("1",)),
        ("m_original", "original", "READY", ("1",)),
        ("plain", "", "UNAVAILABLE", ()),
    ]
    assert models[-1].reason == "unloaded"


def test_unload_returns_when_the_model_is_gone(fake: FakeTransport) -> None:
    polls = iter(
        [[IndexEntry("m", "1", "READY")], [IndexEntry("m", "1", "UNLOADING")], [IndexEntry("m", "1", "UNAVAILABLE")]]
    )

    class Draining(FakeTransport):
        def _read(self, call: object) -> object:
            return tuple(next(polls)) if isinstance(call, ReadIndex) else super()._read(call)  # type: ignore[arg-type]

    draining = Draining(*fake._models.values())
    with HybridClient(transport=draining) as client:
        client.unload("m")
    assert next(polls, None) is None


def _unload(deadline_s: float, answers: Iterator[tuple[float, object]]) -> None:
    """Unload `m` while each effect takes the seconds given with its answer, until an error ends it."""
    now = [100.0]
    steps = Core("", 30, 300, Backoff(3), lambda: now[0]).unload("m", deadline_s)
    next(steps)
    for took, answer in answers:
        now[0] += took
        advance(steps, answer, None)


SERVED, UNLOADING = (IndexEntry("m", "1", "READY"),), (IndexEntry("m", "1", "UNLOADING"),)


@pytest.mark.parametrize("pause_s", [0.02, 0.05, 0.5, 2.0])
def test_unload_ends_at_its_deadline_and_says_what_holds_the_model(pause_s: float) -> None:
    """However long a pause turns out to be, and whether the deadline passes in it or in the poll before it."""
    polls = ((0.013, UNLOADING) if turn % 2 == 0 else (pause_s, None) for turn in count())
    with pytest.raises(DeadlineExceeded) as caught:
        _unload(1.0, chain([(0.0, SERVED), (0.0, None)], polls))
    assert str(caught.value) == (
        "unloading 'm' was not answered within its deadline of 1 s (requests in flight still hold it); "
        "allow more time or send fewer rows."
    )


def test_unload_does_not_wait_for_ever_for_a_model_that_is_never_gone() -> None:
    """24.10 holds a model whose process died with a request in flight as UNLOADING, though it may be loaded again."""
    elapsed = [0.0]

    def polls() -> Iterator[tuple[float, object]]:
        for turn in count():
            took, answer = (0.013, UNLOADING) if turn % 2 == 0 else (0.02, None)
            elapsed[0] += took
            yield took, answer

    with pytest.raises(StopIteration):
        _unload(300.0, chain([(0.0, SERVED), (0.0, None)], polls()))
    assert 10 <= elapsed[0] < 10.1


@pytest.mark.parametrize("state", ["READY", "LOADING"])
def test_unload_does_not_call_a_model_gone_that_is_served_again(state: str) -> None:
    entries = (*UNLOADING, IndexEntry("m", "2", state))
    polls = ((1.0, entries) if turn % 2 == 0 else (0.02, None) for turn in count())
    with pytest.raises(DeadlineExceeded, match="deadline of 30 s"):
        _unload(30.0, chain([(0.0, SERVED), (0.0, None)], polls))


def test_unload_that_has_no_time_to_look_does_not_say_what_it_has_not_seen() -> None:
    with pytest.raises(DeadlineExceeded, match=r"^unloading 'm' .* \(the server has not said that it is gone\)"):
        _unload(1.0, iter([(0.0, SERVED), (1.5, None)]))


def test_unload_ends_at_its_deadline(fake: FakeTransport) -> None:
    class Stuck(FakeTransport):
        def _read(self, call: object) -> object:
            return UNLOADING if isinstance(call, ReadIndex) else super()._read(call)  # type: ignore[arg-type]

    with (
        HybridClient(transport=Stuck(*fake._models.values())) as client,
        pytest.raises(DeadlineExceeded, match="requests in flight still hold it"),
    ):
        client.unload("m", deadline_s=0.5)


def test_unloading_what_nobody_knows_is_not_found_though_triton_says_success(fake: FakeTransport) -> None:
    with HybridClient(transport=fake) as client, pytest.raises(ModelNotFound, match="'plain'"):
        client.unload("nope")
    assert not any(isinstance(sent.call, Unload) for sent in fake.sent)


@pytest.mark.parametrize("said", [ServerError, InvalidRequest])
def test_a_failed_load_is_one_error_and_an_unknown_name_another(
    fake: FakeTransport, said: type[ServerError | InvalidRequest]
) -> None:
    class Failing(FakeTransport):
        def _read(self, call: object) -> object:
            if isinstance(call, Load):
                raise said("here", "failed to load")
            return super()._read(call)  # type: ignore[arg-type]

    with HybridClient(transport=Failing(*fake._models.values())) as client:
        with pytest.raises(LoadFailed, match="failed to load"):
            client.load("m")
        with pytest.raises(ModelNotFound, match="'m_onnx'"):
            client.load("nope")


def test_a_load_makes_the_client_read_the_description_again(fake: FakeTransport) -> None:
    with HybridClient(model="m", transport=fake) as client:
        client.predict([[1.0, 2.0]])
        client.load("m")
        before = len(fake.sent)
        client.predict([[1.0, 2.0]])
    assert len(fake.sent) == before + 3


def test_describe_tells_what_a_model_takes(fake: FakeTransport) -> None:
    with HybridClient(transport=fake) as client:
        description = client.describe("m")
    assert description.is_hybrid
    assert description.max_batch_size == 4
    assert [(spec.name, spec.datatype, spec.shape) for spec in description.inputs] == [("x", "FP32", (-1, 2))]


def test_statistics_of_a_model_without_counters_say_why(fake: FakeTransport) -> None:
    with HybridClient(transport=fake) as client:
        with pytest.raises(ModelNotFound, match="the server has 'm'"):
            client.statistics("nope")
        assert client.statistics("plain").onnx is None


def test_statistics_are_printed_where_one_wants_them(fake: FakeTransport, capsys: pytest.CaptureFixture[str]) -> None:
    with HybridClient(model="m", transport=fake) as client:
        client.predict([[1.0, 2.0]] * 3)
        client.print_statistics()
        out = io.StringIO()
        client.print_statistics(file=out)
    printed = capsys.readouterr().out
    assert printed == out.getvalue()
    assert printed.splitlines()[1].split() == ["m", "hybrid", "1", "0", "100.0%", "3", "-", "-"]


async def test_the_asyncio_client_has_the_same_verbs(
    fake: FakeTransport, doubling: Callable[..., FakeModel], capsys: pytest.CaptureFixture[str]
) -> None:
    async with AsyncHybridClient(model="m", transport=fake) as client:
        assert (await client.describe()).name == "m"
        await client.unload("m_onnx")
        await client.load("m_onnx")
        assert [model.name for model in await client.models()] == ["m", "m_onnx", "m_original", "plain"]
        assert (await client.statistics()).hybrid is not None
        await client.print_statistics()
    assert capsys.readouterr().out.startswith("model")
