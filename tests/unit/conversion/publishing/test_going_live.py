"""Publishing to a running server: every step taken, refused, interrupted, or cut short by a kill."""

import contextlib
import copy
import dataclasses
import functools
import shutil

import pytest

from conversion.errors import PublishError, ReleaseQuarantined, ReleaseRefused, ReleaseStays
from conversion.publishing.repository import Repository
from conversion.release.pbtxt import ROLES
from python_backend.integrity import pins

from ..released import release, released
from ..server import Server, live, serving

WALK = [
    *("net_onnx", "net_original", "net_onnx:2", "net_original:2"),
    *("net", "net:2"),
    *("net_onnx", "net_original"),
]
BACK = ["net_onnx", "net_original"]
BACK_FROM_THE_HYBRID = ["net", "net_onnx", "net_original"]
INTERRUPT = KeyboardInterrupt()
GONE = PublishError("the server is gone")


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours runs after it."""


@pytest.fixture
def spec(spec):
    """The hybrid asks the ONNX twin, whatever was measured."""
    return dataclasses.replace(spec, serving=dataclasses.replace(spec.serving, prefer="onnx"))


@pytest.fixture
def repository(tmp_path, spec, affine):
    """Release 1 of 'net' on disk."""
    made = released(tmp_path / "repository", spec, affine)
    with made.locked():
        yield made


@pytest.fixture
def server(repository):
    """It serves release 1."""
    made = serving(repository)
    made.calls.clear()
    made.seen.clear()
    return made


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr("conversion.publishing.live_replay._PAUSES", (0.0, 0.0))


def serves(server, version):
    return server.ready == {f"net{suffix}": [version] for suffix in ROLES.values()}


def pinned(repository):
    return {role: pins(repository.root / f"net{suffix}" / "config.pbtxt") for role, suffix in ROLES.items()}


def test_the_twins_answer_before_the_hybrid_switches_and_it_answers_before_they_drop_the_old_one(
    repository, server, spec, affine
):
    told = []
    assert release(repository, spec, affine, live=live(server, report=told.append)) == 2
    assert server.calls == WALK
    assert [pinned for _, pinned in server.seen] == [
        *[{"onnx": [1, 2], "original": [1, 2], "hybrid": [1]}] * 2,
        {"onnx": [1, 2], "original": [1, 2], "hybrid": [2]},
        *[{"onnx": [2], "original": [2], "hybrid": [2]}] * 2,
    ]
    assert serves(server, 2)
    assert told == [
        "not rehearsed, as asked",
        "live on 127.0.0.1:1: golden samples hold, the hybrid's answered by onnx",
    ]


def test_a_release_is_rehearsed_alone_before_the_running_server_hears_of_it(repository, server, spec, affine):
    told = []
    assert release(repository, spec, affine, live=live(server, rehearsed=True, report=told.append)) == 2
    (private,) = server.rehearsals
    assert private.calls == ["net_onnx", "net_original", "net", "net_onnx:2", "net_original:2", "net:2"]
    assert private.pinned.__self__.ready == {f"net{suffix}": [2] for suffix in ROLES.values()}
    assert not private.root.exists()
    assert told[0] == "rehearsed on a server of its own: golden samples hold, the hybrid's answered by onnx"


def test_one_that_fails_in_rehearsal_never_reaches_the_running_server(repository, server, spec, affine):
    server.wrong = {("net_onnx", 2): 1.5}
    with pytest.raises(ReleaseQuarantined) as caught:
        release(repository, spec, affine, live=live(server, rehearsed=True))
    assert server.calls == []
    assert "in rehearsal, net_onnx version 2 on 127.0.0.1:1 does not give its golden samples" in str(caught.value)
    assert repository.releases("net") == [1]


@pytest.mark.parametrize("error", [ReleaseRefused("refused"), GONE, INTERRUPT], ids=["refused", "gone", "interrupted"])
@pytest.mark.parametrize("step", range(1, len(WALK) + 1))
def test_a_failure_at_any_step_brings_the_old_release_back_and_the_new_one_into_quarantine(
    repository, server, spec, affine, step, error
):
    server.fail_at, server.error = step, error
    before = pinned(repository)
    if isinstance(error, ReleaseRefused) and ":" in WALK[step - 1]:
        # An answer that was refused once is asked for again.
        assert release(repository, spec, affine, live=live(server)) == 2
        return
    with pytest.raises(KeyboardInterrupt if error is INTERRUPT else ReleaseQuarantined) as caught:
        release(repository, spec, affine, live=live(server))
    assert serves(server, 1)
    assert pinned(repository) == before
    back = BACK if step < 5 else BACK_FROM_THE_HYBRID if step < 7 else [*BACK, *BACK_FROM_THE_HYBRID]
    assert server.calls[step:] == back
    (kept,) = repository.quarantine.releases("net")
    assert kept.version == 2
    assert sorted(path.name for path in kept.folder.iterdir()) == ["hybrid", "onnx", "original", "reason.txt"]
    assert kept.reason == ("interrupted" if error is INTERRUPT else str(error))
    if error is not INTERRUPT:
        told = f"release 2 of net did not go live: {error}; release 1 is served as before, and the new one lies in "
        assert str(caught.value) == f"{told}{kept.folder}"
        assert caught.value.exit_code == 9
    # Its number is not given again.
    assert release(repository, spec, affine, live=live(server)) == 3
    assert serves(server, 3)


@pytest.mark.parametrize(("model", "asked"), [("net_onnx", 3), ("net_original", 4), ("net", 6)])
def test_a_model_that_answers_otherwise_is_not_asked_twice(repository, server, spec, affine, model, asked):
    server.wrong = {(model, 2): 1.5}
    with pytest.raises(ReleaseQuarantined, match=rf"{model} version 2 on 127.0.0.1:1 does not give its golden samples"):
        release(repository, spec, affine, live=live(server))
    assert server.calls[:asked] == WALK[:asked]
    assert ":2" not in "".join(server.calls[asked:])
    assert serves(server, 1)


def test_a_hybrid_that_only_falls_back_is_not_accepted(repository, server, spec, affine):
    server.answers_by = "original"
    with pytest.raises(ReleaseQuarantined, match=r"net version 2 on 127\.0\.0\.1:1 was answered by original, not onnx"):
        release(repository, spec, affine, live=live(server))
    assert server.calls.count("net:2") == 3
    assert serves(server, 1)


def test_a_first_release_that_is_refused_leaves_the_server_without_it(tmp_path, spec, affine):
    repository = Repository(tmp_path / "repository")
    server = Server(repository.root)
    server.fail_at = 5
    server.error = GONE
    with repository.locked(), pytest.raises(ReleaseQuarantined, match="no release is served"):
        release(repository, spec, affine, live=live(server))
    assert server.ready == {}
    assert server.calls[5:] == ["unload net", "unload net_original", "unload net_onnx"]
    assert list(repository.root.iterdir()) == []
    assert [one.version for one in repository.quarantine.releases("net")] == [1]


def test_what_the_server_does_not_take_back_is_said(repository, server, spec, affine):
    def gone(model):
        raise GONE

    server.load = gone
    with pytest.raises(ReleaseQuarantined, match="release 1 is pinned again, which the server did not take"):
        release(repository, spec, affine, live=live(server))
    assert pinned(repository) == dict.fromkeys(ROLES, (1,))


def test_a_rollback_takes_the_same_walk(repository, server, spec, affine):
    release(repository, spec, affine, live=live(server))
    server.calls.clear()
    assert repository.switch("net", None, live(server, rehearsed=True)) == 1
    assert server.calls == [call.replace(":2", ":1") for call in WALK]
    assert serves(server, 1)
    assert len(server.rehearsals) == 1


@pytest.mark.parametrize("error", [INTERRUPT, GONE, ReleaseRefused("No space left on device")])
def test_a_release_that_does_not_load_again_stays_in_the_repository(repository, server, spec, affine, error):
    """It served once: an interrupt, a server that goes away, and a machine that is short say nothing against it."""
    release(repository, spec, affine, live=live(server))
    server.calls.clear()
    server.fail_at, server.error = 2, error
    with pytest.raises(KeyboardInterrupt if error is INTERRUPT else ReleaseStays) as caught:
        repository.switch("net", 1, live(server))
    if error is not INTERRUPT:
        assert str(caught.value) == (
            f"release 1 of net did not go live: {error}; release 2 is served as before, and release 1 stays in the "
            "repository: put right what failed, and run again"
        )
    assert repository.releases("net") == [1, 2]
    assert repository.quarantine.releases("net") == []
    assert serves(server, 2)


def test_a_release_that_does_not_load_in_rehearsal_stays_in_the_repository(repository, server, spec, affine):
    release(repository, spec, affine, live=live(server))

    @contextlib.contextmanager
    def full(_scratch):
        raise ReleaseRefused("could not load model 'net_original': No space left on device")
        yield

    told = r"did not go live: in rehearsal, could not load .* release 1 stays in the repository"
    with pytest.raises(ReleaseStays, match=told):
        repository.switch("net", 1, dataclasses.replace(live(server), rehearsal=full))
    assert repository.releases("net") == [1, 2]
    assert serves(server, 2)


@pytest.mark.parametrize("rehearsed", [True, False])
def test_a_release_that_answers_otherwise_leaves_the_repository_and_can_be_put_back(
    repository, server, spec, affine, rehearsed
):
    release(repository, spec, affine, live=live(server))
    server.wrong = {("net_onnx", 1): 1.5}
    with pytest.raises(ReleaseQuarantined, match="does not give its golden samples"):
        repository.switch("net", 1, live(server, rehearsed=rehearsed))
    assert repository.releases("net") == [2]
    assert serves(server, 2)
    # As docs/conversion.md says.
    (kept,) = repository.quarantine.releases("net")
    for role in ROLES:
        (kept.folder / role).rename(repository.release_folder("net", role, 1))
    shutil.rmtree(kept.folder)
    server.wrong = {}
    assert repository.repair("net", live(server)) == []
    assert repository.switch("net", 1, live(server, rehearsed=rehearsed)) == 1
    assert serves(server, 1)


@pytest.mark.parametrize("told", [True, False], ids=["told before the kill", "not told"])
@pytest.mark.parametrize("step", range(1, len(WALK) + 1))
@pytest.mark.parametrize("rollback", [False, True], ids=["publish", "rollback"])
def test_after_a_kill_at_any_step_the_next_publisher_brings_the_server_back(
    repository, server, spec, affine, monkeypatch, step, told, rollback
):
    """The server may have heard the last call of the killed one, or not."""
    if rollback:
        release(repository, spec, affine, live=live(server))
        server.calls.clear()
    served = 2 if rollback else 1
    load = server.load

    def killed(model):
        if told:
            load(model)
        raise Killed

    def counted(model):
        (killed if len(server.calls) + 1 == step else load)(model)

    server.load = counted
    server.fail_at, server.error = (step, Killed()) if ":" in WALK[step - 1] else (None, GONE)
    monkeypatch.setattr(Repository, "_undo", lambda *_: [])
    begin = (
        functools.partial(repository.switch, "net", 1)
        if rollback
        else functools.partial(release, repository, spec, affine)
    )
    with pytest.raises(Killed):
        begin(live=live(server))
    monkeypatch.undo()
    monkeypatch.setattr("conversion.publishing.live_replay._PAUSES", (0.0,))
    server.load, server.fail_at = load, None
    done = Repository(repository.root).repair("net", live(server))
    assert done == [f"undid the unfinished switch of net to release {1 if rollback else 2}"]
    assert serves(server, served)
    assert pinned(repository) == dict.fromkeys(ROLES, (served,))
    assert repository.releases("net") == ([1, 2] if rollback else [1])
    assert repository.repair("net", live(server)) == []


@pytest.mark.parametrize("ready", [[1], [1, 2], []])
def test_a_server_that_others_switched_is_brought_back_without_a_gap(repository, server, spec, affine, ready):
    """A publish that told no server; `_no_gap` of the server watches each step."""
    release(repository, spec, affine)
    loaded = {f"net{suffix}": list(ready) for suffix in ROLES.values()}
    if ready == [1, 2]:
        loaded["net"] = [1]
    server.ready = copy.deepcopy(loaded)
    assert repository.repair("net", live(server)) == ["brought 127.0.0.1:1 back to release 2 of net"]
    assert serves(server, 2)
    assert pinned(repository) == dict.fromkeys(ROLES, (2,))


def test_a_server_with_a_newer_release_is_brought_back_to_an_older_one_that_is_configured_otherwise(
    repository, server, spec, affine
):
    """A rollback that told no server: the twins of both are there meanwhile, and neither takes that for damage."""
    other = dataclasses.replace(spec, serving=dataclasses.replace(spec.serving, original_threads=1, deadline_ms=5000))
    release(repository, other, affine, live=live(server))
    repository.switch("net", 1)
    assert serves(server, 2)
    assert repository.repair("net", live(server)) == ["brought 127.0.0.1:1 back to release 1 of net"]
    assert serves(server, 1)
    assert pinned(repository) == dict.fromkeys(ROLES, (1,))


def test_a_server_that_has_what_is_pinned_is_left_alone(repository, server):
    assert repository.repair("net", live(server)) == []
    assert server.calls == []


def test_a_release_without_golden_samples_is_loaded_and_that_is_said(repository, server, spec, affine):
    release(repository, spec, affine, live=live(server))
    (repository.root / "net" / "1" / "golden.npz").unlink()
    (repository.root / "net" / "1" / "SHA256SUMS").unlink()
    repository.damages = lambda *_: []
    told = []
    repository.switch("net", 1, live(server, rehearsed=True, report=told.append))
    assert told == [
        "rehearsed on a server of its own: it loads; it has no golden samples to replay",
        "live on 127.0.0.1:1: it loads; it has no golden samples to replay",
    ]
