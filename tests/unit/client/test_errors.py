import inspect
import pickle
import re

import pytest
import understudy_client
from understudy_client import errors, tensor_errors

CLASSES = {
    value
    for module in (errors, tensor_errors)
    for name, value in vars(module).items()
    if isinstance(value, type) and issubclass(value, Exception) and not name.startswith("_")
}
PLACE = "inference on 'm' at 127.0.0.1:8001 (grpc)"
EXAMPLES = [
    (
        errors.InvalidSettings("retries", -1, "a whole number from 0 on"),
        "retries=-1 cannot be used: expected a whole number from 0 on.",
    ),
    (errors.ClientClosed("it is closed"), "This client cannot be used: it is closed; make a new one."),
    (errors.InvalidRequest(PLACE, "no such shape."), f"{PLACE} was refused: no such shape; correct the request."),
    (tensor_errors.UnknownTensor("m", "input", ["q"], ["x", "z"]), "Model 'm' has no input 'q'; it has 'x', 'z'."),
    (
        tensor_errors.MissingInput("m", ["z"], ["x", "z"]),
        "Model 'm' needs input 'z', which the request does not give; its inputs are 'x', 'z': "
        "give a mapping from name to array.",
    ),
    (
        tensor_errors.SeveralOutputs("m", ["a", "b"]),
        "Model 'm' answered with outputs 'a', 'b'; take one by its name from .outputs.",
    ),
    (
        tensor_errors.WrongDtype("m", "x", "float32 (FP32)", "float64", "convert it"),
        "Input 'x' of model 'm' takes float32 (FP32), and got float64; convert it.",
    ),
    (
        tensor_errors.WrongShape("m", "x", [-1, 2], [3], "add a dimension"),
        "Input 'x' of model 'm' takes shape [-1, 2] (-1 is any size), and got [3]; add a dimension.",
    ),
    (errors.RequestTooLarge(PLACE, "3 GB"), f"{PLACE} was refused: 3 GB; send fewer rows in one request."),
    (errors.ModelNotFound(PLACE, "unknown", ["a", "b"]), f"{PLACE} failed: unknown; the server has 'a', 'b'."),
    (errors.ModelNotFound(PLACE, "unknown"), f"{PLACE} failed: unknown; `models` lists what the server has."),
    (
        errors.ModelNotReady(PLACE, "unloaded"),
        f"{PLACE} failed: unloaded; load the model (`load`), wait if the server has just started, or look at the "
        "reason that `models` shows.",
    ),
    (
        errors.AccessDenied(PLACE, "no"),
        f"{PLACE} was denied: no; give the client the header that the server expects (headers=…).",
    ),
    (
        errors.RequestCancelled(PLACE),
        f"{PLACE} was cancelled; send it again if the answer is still wanted.",
    ),
    (
        errors.DeadlineExceeded(PLACE, "", 0.5),
        f"{PLACE} was not answered within its deadline of 0.5 s; allow more time or send fewer rows.",
    ),
    (
        errors.ServerUnavailable(PLACE, "queue full", 3),
        f"{PLACE} failed after 3 attempts, the server is unavailable: queue full; "
        "check that it runs there, or try again when it has less to do.",
    ),
    (
        errors.ConnectionLost(PLACE, "reset"),
        f"{PLACE} lost its connection: reset; look at the server's log.",
    ),
    (errors.ServerError(PLACE, "oops"), f"{PLACE} failed in the server: oops; look at the server's log."),
    (
        errors.LoadFailed("loading 'm' at x:1 (grpc)", "no weights\n  At: line 1;"),
        "loading 'm' at x:1 (grpc) failed in the server: no weights At: line 1; "
        "correct the model's files, and see the server's log for the rest.",
    ),
    (
        errors.InvalidAnswer(PLACE, "no 'y'"),
        f"{PLACE} was answered wrongly: no 'y'; the model's backend is at fault: look at the server's log.",
    ),
]


@pytest.mark.parametrize(("error", "sentence"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_an_error_says_what_where_and_what_to_do(error: errors.UnderstudyClientError, sentence: str) -> None:
    assert str(error) == sentence


@pytest.mark.parametrize("error", [error for error, _ in EXAMPLES], ids=lambda error: type(error).__name__)
def test_an_error_survives_pickling(error: errors.UnderstudyClientError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


def test_every_error_has_an_example_here() -> None:
    assert {type(error) for error, _ in EXAMPLES} | {errors.UnderstudyClientError} == CLASSES


def test_the_drawn_tree_is_the_tree() -> None:
    drawn: dict[str, str] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ((?:[│ ]   )*)(?:[├└]── )?([A-Z]\w+)(?:  |$)", line)
        if found is None:
            continue
        depth = len(found[1]) // 4 + ("── " in line)
        above = [*above[:depth], found[2]]
        drawn[found[2]] = above[depth - 1] if depth else "Exception"
    real = {}
    for kind in CLASSES:
        bases = [base for base in inspect.getmro(kind)[1:] if not base.__name__.startswith("_")]
        real[kind.__name__] = bases[0].__name__
    assert drawn == real


def test_public_names_are_sorted() -> None:
    for module in (errors, tensor_errors):
        assert module.__all__ == sorted(module.__all__)


def test_the_package_offers_every_error() -> None:
    assert {kind.__name__ for kind in CLASSES} <= set(understudy_client.__all__)
