import numpy as np

from conversion.proof.parity import Case
from conversion.proof.rounding import moved_by_rounding, nudged

from ..classifier import SIZE, classifier

EPSILON = float(np.finfo(np.float32).eps)


def test_about_half_of_the_floats_move_by_their_last_bit_and_nothing_else_does():
    batch = {
        "x": np.linspace(-3, 3, 1001, dtype=np.float32)[:, None],
        "half": np.ones((200, 1), np.float16),
        "zero": np.zeros((9, 1), np.float32),
        "tokens": np.arange(9)[:, None],
    }
    moved = nudged(batch)
    assert 0.4 < (moved["x"] != batch["x"]).mean() < 0.6
    assert (np.abs(moved["x"]) <= np.abs(batch["x"])).all()
    np.testing.assert_allclose(moved["x"], batch["x"], rtol=EPSILON)
    assert 0.3 < (moved["half"] != batch["half"]).mean() < 0.7
    assert {name: array.dtype for name, array in moved.items()} == {name: array.dtype for name, array in batch.items()}
    for name in ("zero", "tokens"):
        np.testing.assert_array_equal(moved[name], batch[name])


def test_it_tells_how_far_the_original_moves(subject):
    def amplifies(arrays, answer):
        return {"scores": 1e6 * (arrays["x"] - 1).sum(axis=(1, 2, 3))[:, None]}

    batch = {"x": np.ones((2, *SIZE), np.float32)}
    plain, amplified = subject(classifier()), subject(classifier(), amplifies)
    assert 0 <= moved_by_rounding(plain, Case(batch, plain.run(batch))) < 1e-4
    assert moved_by_rounding(amplified, Case(batch, amplified.run(batch))) > 1
