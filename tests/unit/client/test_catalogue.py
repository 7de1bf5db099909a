import pytest
from understudy_client import ModelNotFound, ModelNotReady, ServerError
from understudy_client.calls import IndexEntry
from understudy_client.catalogue import catalogue, explain_missing, is_busy, is_passing


def test_versions_that_answer_are_listed_by_number() -> None:
    entries = [IndexEntry("m", version, "READY") for version in ("10", "9", "2")]
    (model,) = catalogue([*entries, IndexEntry("m", "1", "UNAVAILABLE", "unloaded")])
    assert model.versions == ("2", "9", "10")
    assert (model.state, model.reason) == ("READY", "unloaded")


def test_a_model_that_was_never_loaded_is_unavailable() -> None:
    (model,) = catalogue([IndexEntry("m")])
    assert (model.state, model.versions, model.reason) == ("UNAVAILABLE", (), "not loaded")


@pytest.mark.parametrize(
    ("names", "roles"),
    [
        (["m", "m_onnx", "m_original"], ["hybrid", "onnx", "original"]),
        (["m", "m_original"], ["hybrid", "original"]),
        (["m_onnx"], [""]),
        (["m", "n_onnx"], ["", ""]),
    ],
)
def test_roles_go_by_names_that_belong_together(names: list[str], roles: list[str]) -> None:
    assert [model.role for model in catalogue([IndexEntry(name, "1", "READY") for name in names])] == roles


@pytest.mark.parametrize(
    ("state", "busy"), [("READY", True), ("LOADING", True), ("UNLOADING", True), ("UNAVAILABLE", False), ("", False)]
)
def test_a_model_is_busy_until_it_is_gone(state: str, busy: bool) -> None:
    assert is_busy([IndexEntry("m", "1", state), IndexEntry("n", "1", "READY")], "m") is busy


def test_what_not_found_means() -> None:
    index = [IndexEntry("m", "1", "READY"), IndexEntry("n", "2", "UNAVAILABLE", "it failed to load")]
    missing = ModelNotFound("here", "not found")
    unknown = explain_missing(missing, "q", "", index)
    assert isinstance(unknown, ModelNotFound)
    assert unknown.known == ("m",)
    version = explain_missing(missing, "m", "7", index)
    assert isinstance(version, ModelNotFound)
    assert version.known == ("m version 1",)
    unready = explain_missing(missing, "n", "", index)
    assert isinstance(unready, ModelNotReady)
    assert "it failed to load" in str(unready)
    assert type(explain_missing(missing, "m", "1", index)) is ServerError


TRITONS = "Request for unknown model: 'm' is not found"


@pytest.mark.parametrize(
    ("state", "detail", "passing"),
    [
        ("LOADING", TRITONS, True),
        ("UNLOADING", TRITONS, True),
        ("UNAVAILABLE", TRITONS, False),
        ("READY", TRITONS, True),
        ("READY", "no such user", False),
    ],
)
def test_a_model_that_is_on_its_way_will_be_found(state: str, detail: str, passing: bool) -> None:
    error, index = ModelNotFound("here", detail), [IndexEntry("m", "1", state), IndexEntry("n", "1", "LOADING")]
    assert is_passing(error, "m", "", index) is passing
    assert is_passing(error, "m", "1", index) is passing
    assert not is_passing(error, "m", "2", index)
