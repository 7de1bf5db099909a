import pytest

from loadtests.load.slo import SloError, broken_promises, read_slo, verdict

FINE = {
    "kind": "HybridGrpc",
    "users": 8,
    "asked_first": "onnx",
    "answers": 1000,
    "answers_per_second": 100.0,
    "refused": 0,
    "failed": 0,
    "wrong": 0,
    "served_by": {"onnx": 1000},
    "p50_ms": 10.0,
    "p95_ms": 20.0,
    "p99_ms": 30.0,
    "slowest_ms": 40.0,
    "fault": None,
}


def slo(tmp_path, text):
    path = tmp_path / "slo.toml"
    path.write_text(text)
    return read_slo(path)


def test_the_file_of_the_repository_can_be_read_and_is_kept_by_a_fine_run(request):
    own = read_slo(request.config.rootpath / "loadtests" / "load" / "slo.toml")
    assert own.broken(8, FINE) == []
    assert own.users[500]["p99_ms"] == 10_000


@pytest.mark.parametrize(
    ("promise", "change", "told"),
    [
        ("failed_rate = 0.0", {"failed": 10}, "8 users: failed_rate is 0.99%, the limit is 0.00%"),
        ("wrong_rate = 0.0", {"wrong": 1}, "8 users: wrong_rate is 0.10%, the limit is 0.00%"),
        ("refused_rate = 0.1", {"refused": 1000}, "8 users: refused_rate is 50.00%, the limit is 10.00%"),
        (
            "fallback_rate = 0.1",
            {"served_by": {"onnx": 800, "original": 200}},
            "8 users: fallback_rate is 20.00%, the limit is 10.00%",
        ),
        (
            "fallback_rate = 0.1",
            {"asked_first": "original", "served_by": {"onnx": 300, "original": 700}},
            "8 users: fallback_rate is 30.00%, the limit is 10.00%",
        ),
        ("p99_ms = 25", {}, "8 users: p99_ms is 30, the limit is 25"),
        ("answers_per_second = 200", {}, "8 users: 100.0 answers a second, the least is 200"),
        ("p50_ms = 5", {"p50_ms": None}, "8 users: no answer, so p50_ms is unknown"),
        ("failed_rate = 0.0", {"answers": 0}, "8 users: no request, so failed_rate is unknown"),
        ("fallback_rate = 1.0", {"answers": 0, "served_by": {}}, "8 users: no answer, so fallback_rate is unknown"),
    ],
)
def test_a_broken_promise_is_told(tmp_path, promise, change, told):
    assert slo(tmp_path, f"[any]\n{promise}\n").broken(8, FINE | change) == [told]


def test_an_answer_of_the_twin_that_is_asked_first_is_no_fallback(tmp_path):
    found = slo(tmp_path, "[any]\nfallback_rate = 0.0\n")
    assert found.broken(8, FINE | {"asked_first": "original", "served_by": {"original": 1000}}) == []


def test_what_is_promised_for_a_number_of_users_holds_for_that_number_and_instead_of_the_general(tmp_path):
    found = slo(tmp_path, "[any]\np99_ms = 1\n[users.8]\np99_ms = 100\n")
    assert found.broken(8, FINE) == []
    assert found.broken(1, FINE) == ["1 user: p99_ms is 30, the limit is 1"]


def test_only_the_hybrid_promises_anything(tmp_path):
    found = slo(tmp_path, "[any]\np99_ms = 1\n")
    stages = [FINE, FINE | {"kind": "TwinGrpc"}, FINE | {"kind": "HybridHttp"}]
    assert [line.partition(",")[0] for line in broken_promises(found, stages)] == ["HybridGrpc", "HybridHttp"]


def test_promises_are_kept_or_broken_by_the_hybrid_alone():
    twin = FINE | {"kind": "TwinGrpc"}
    assert verdict([twin, FINE], []) == "kept"
    assert verdict([twin, FINE], ["late"]) == "broken"
    assert verdict([twin], []) == verdict([], []) == "unknown"


def test_while_its_twin_is_killed_the_hybrid_promises_all_but_who_answers(tmp_path):
    found = slo(tmp_path, "[any]\nfallback_rate = 0.0\nfailed_rate = 0.0\n[users.8]\nfallback_rate = 0.0\n")
    stage = FINE | {"served_by": {"original": 9}, "failed": 1, "fault": {"killed_at": 1.0, "back_after_s": 2.0}}
    assert [line.partition(" is ")[0] for line in broken_promises(found, [stage])] == [
        "HybridGrpc, twin killed, 8 users: failed_rate"
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[any]\np98_ms = 1", r"unknown key 'p98_ms' in \[any\]; did you mean 'p9[59]_ms'"),
        ("[any]\nzzz = 1", "unknown key 'zzz'.*there are failed_rate"),
        ("[any]\np99_ms = 'x'", "'p99_ms' in .any. is 'x'; expected a number from 0 on"),
        ("[any]\np99_ms = true", "is True; expected a number"),
        ("[any]\np99_ms = -1", "is -1; expected a number from 0 on"),
        ("[any]\np99_ms = nan", "expected a number from 0 on"),
        ("[user.8]\np99_ms = 1", "unknown table 'user'"),
        ("[users.many]\np99_ms = 1", r"\[users.many\] names no number of users"),
        ("users = 3", "'users' is no table"),
        ("any = 3", "'any' is no table"),
        ("[any", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_in_a_sentence(tmp_path, text, told):
    with pytest.raises(SloError, match=told):
        slo(tmp_path, text)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(SloError, match="cannot be read"):
        read_slo(tmp_path / "none.toml")
