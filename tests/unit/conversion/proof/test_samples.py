from dataclasses import replace

import numpy as np
import pytest

from conversion.errors import ArtefactError
from conversion.interface import Facts
from conversion.proof.samples import batch_maker, item_maker
from conversion.spec import SamplesSpec

X = Facts("x", "float32", ("batch", "time", 3))


def test_batches_have_the_rows_asked_for_and_vary_in_content_and_dynamic_sizes(spec):
    make = batch_maker(spec, [X])
    first, second = make(2, 0)["x"], make(2, 1)["x"]
    assert first.shape == (2, 7, 3)
    assert second.shape == (2, 16, 3)
    assert first.dtype == np.float32
    assert not np.array_equal(first[0], first[1])


def test_without_batching_the_batch_is_a_dimension_like_every_other(spec):
    """One row everywhere would be traced and proved as a constant."""
    alone = replace(spec, serving=replace(spec.serving, max_batch_size=0))
    assert [batch_maker(alone, [X])(1, number)["x"].shape for number in (0, 1)] == [(7, 7, 3), (16, 16, 3)]
    sized = replace(alone, samples=SamplesSpec(dims={"batch": (3, 5)}))
    assert batch_maker(sized, [X])(1, 1)["x"].shape == (5, 16, 3)


def test_the_same_seed_gives_the_same_batch(spec):
    assert np.array_equal(batch_maker(spec, [X])(3, 1)["x"], batch_maker(spec, [X])(3, 1)["x"])
    other = replace(spec, samples=SamplesSpec(seed=1))
    assert not np.array_equal(batch_maker(spec, [X])(3, 1)["x"], batch_maker(other, [X])(3, 1)["x"])


def test_inputs_that_share_a_dimension_share_its_size(spec):
    batch = batch_maker(spec, [X, Facts("mask", "bool", ("batch", "time"))])(4, 2)
    assert batch["mask"].shape == batch["x"].shape[:2] == (4, 33)


def test_sizes_of_a_dimension_come_from_the_spec(spec):
    sized = replace(spec, samples=SamplesSpec(dims={"time": (5, 9)}))
    assert [batch_maker(sized, [X])(1, n)["x"].shape[1] for n in range(3)] == [5, 9, 5]


@pytest.mark.parametrize(("dtype", "low", "high"), [("int64", 10, 20), ("uint8", 0, 4), ("float16", -1, 1)])
def test_values_keep_to_the_range_of_the_spec(spec, dtype, low, high):
    values = batch_maker(spec, [Facts("x", dtype, ("batch", 50), (low, high))])(8, 0)["x"]
    assert values.dtype == dtype
    assert values.min() >= low
    assert values.max() <= high


def test_strings_are_bytes(spec):
    values = batch_maker(spec, [Facts("s", "string", ("batch", 2))])(2, 0)["s"]
    assert values.shape == (2, 2)
    assert isinstance(values[0, 0], bytes)


def test_a_files_rows_are_repeated_to_fill_a_batch(spec, tmp_path):
    np.savez(tmp_path / "s.npz", x=np.arange(3, dtype=np.float32)[:, None, None].repeat(3, 2))
    make = batch_maker(replace(spec, samples=SamplesSpec(file="s.npz")), [X])
    assert make(7, 1)["x"][:, 0, 0].tolist() == [1, 2, 0, 1, 2, 0, 1]


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"y": np.zeros((1, 2, 3), np.float32)}, "lack input 'x'; they have y"),
        ({"x": np.zeros((1, 2, 4), np.float32)}, r"the shape \[1, 2, 4\], expected \['batch', 'time', 3\]"),
        ({"x": np.zeros((0, 2, 3), np.float32)}, "with at least one row"),
        ({"x": np.zeros((1, 2, 3))}, "as float64, expected float32"),
    ],
)
def test_samples_that_do_not_fit_are_refused(spec, tmp_path, arrays, sentence):
    np.savez(tmp_path / "s.npz", **arrays)
    with pytest.raises(ArtefactError, match=sentence):
        batch_maker(replace(spec, samples=SamplesSpec(file="s.npz")), [X])


def test_inputs_of_unequal_numbers_of_rows_are_refused_as_no_row_belongs_to_another(spec, tmp_path):
    np.savez(tmp_path / "s.npz", x=np.zeros((6, 2, 3), np.float32), z=np.zeros((4, 3), np.float32))
    inputs = [X, Facts("z", "float32", ("batch", 3))]
    filed = replace(spec, samples=SamplesSpec(file="s.npz"))
    sentence = "samples 's.npz' must have as many rows of each input, one for each sample; found 'x' 6, 'z' 4"
    with pytest.raises(ArtefactError, match=sentence):
        batch_maker(filed, inputs)
    alone = replace(filed, serving=replace(spec.serving, max_batch_size=0))
    assert batch_maker(alone, inputs)(1, 0)["x"].shape == (6, 2, 3)


@pytest.mark.parametrize(
    ("inputs", "name", "told"),
    [
        ([X, Facts("z", "float32", ("batch", "z_1"))], "length", "there are time, z_1$"),
        ([X], "batch", "there are time$"),
        ([Facts("x", "float32", ("batch", 3))], "time", "there is none$"),
    ],
)
def test_sizes_of_a_dimension_that_no_input_has_are_refused(spec, inputs, name, told):
    sized = replace(spec, samples=SamplesSpec(dims={name: (128,)}))
    with pytest.raises(ArtefactError, match=f"names '{name}', which is no dynamic dimension of the inputs; {told}"):
        batch_maker(sized, inputs)


@pytest.mark.parametrize(("rows", "first", "count"), [(250, 50, 200), (40, 0, 40)])
def test_agreement_is_measured_on_the_last_rows_of_a_file(spec, tmp_path, rows, first, count):
    """From the first ones the ranges of eight-bit twins are computed."""
    np.savez(tmp_path / "s.npz", x=np.arange(rows, dtype=np.float32)[:, None, None].repeat(3, 2))
    filed = replace(spec, samples=SamplesSpec(file="s.npz"))
    items = item_maker(filed, [X])(200)["x"][:, 0, 0]
    assert (items.min(), len(set(items.tolist()))) == (first, count)


def test_a_missing_or_broken_file_is_named(spec, tmp_path):
    (tmp_path / "broken.npz").write_bytes(b"nothing")
    (tmp_path / "empty.npz").write_bytes(b"")
    with (tmp_path / "alone.npz").open("wb") as file:
        np.save(file, np.zeros(2))
    for name in ("absent.npz", "broken.npz", "empty.npz", "alone.npz"):
        with pytest.raises(ArtefactError, match=f"{name} is not a readable"):
            batch_maker(replace(spec, samples=SamplesSpec(file=name)), [X])


def test_a_generator_is_called_with_count_and_seed(spec, tmp_path):
    (tmp_path / "gen.py").write_text(
        "import numpy as np\nimport beside\n"
        "def make(count, seed):\n    return {'x': np.full((count, 2, 3), seed + beside.ONE, np.float32)}\n"
    )
    (tmp_path / "beside.py").write_text("ONE = 1\n")
    make = batch_maker(replace(spec, samples=SamplesSpec(generator="gen.py:make", seed=4)), [X])
    assert make(40, 0)["x"].shape == (40, 2, 3)
    assert make(1, 0)["x"][0, 0, 0] == 5


def test_without_batching_a_generator_gives_another_sample_for_each_number_and_a_file_has_one(spec, tmp_path):
    (tmp_path / "gen.py").write_text(
        "import numpy as np\ndef make(count, seed):\n    return {'x': np.full((count, 2, 3), seed, np.float32)}\n"
    )
    np.savez(tmp_path / "s.npz", x=np.ones((1, 2, 3), np.float32))
    alone = replace(spec, serving=replace(spec.serving, max_batch_size=0))
    make = batch_maker(replace(alone, samples=SamplesSpec(generator="gen.py:make", seed=4)), [X])
    assert [make(1, number)["x"].tolist() for number in (0, 3)] == [[[[n] * 3] * 2] for n in (4, 7)]
    make = batch_maker(replace(alone, samples=SamplesSpec(file="s.npz")), [X])
    assert np.array_equal(make(1, 0)["x"], make(1, 3)["x"])


def test_a_generator_gives_thirty_rows_however_small_batches_are(spec, tmp_path):
    (tmp_path / "gen.py").write_text(
        "import numpy as np\ndef make(count, seed):\n    return {'x': np.zeros((count, 2, 3), np.float32)"
        " + np.arange(count, dtype=np.float32)[:, None, None]}\n"
    )
    single = replace(
        spec, serving=replace(spec.serving, max_batch_size=1), samples=SamplesSpec(generator="gen.py:make")
    )
    make = batch_maker(single, [X])
    assert len({make(1, number)["x"][0, 0, 0] for number in range(40)}) == 30


@pytest.mark.parametrize(
    ("most", "body"),
    [
        (8, "{'x': np.random.default_rng(seed).choice(np.zeros((12, 2, 3), np.float32), count, replace=False)}"),
        (1, "{'x': np.broadcast_to(np.arange(count, dtype=np.float32)[:, None, None], (count, 3_000_000, 3))}"),
        (8, "{'x': np.zeros((count if count < 30 else 0, 2, 3), np.float32)}"),
        (0, "{'x': np.full((1, 2, 3), [5, 6][seed], np.float32)}"),
    ],
    ids=["twelve of them", "large ones", "none of thirty", "two seeds"],
)
def test_a_generator_that_has_fewer_or_gives_large_ones_is_not_asked_for_more(spec, tmp_path, most, body):
    (tmp_path / "gen.py").write_text(f"import numpy as np\ndef make(count, seed):\n    return {body}\n")
    serving = replace(spec.serving, max_batch_size=most)
    make = batch_maker(replace(spec, serving=serving, samples=SamplesSpec(generator="gen.py:make")), [X])
    first, later = make(1, 0)["x"], make(1, 12 * most or 2)["x"]
    assert np.array_equal(first, later), "the samples begin again"


def test_a_generator_that_raises_is_named_with_its_reason(spec, tmp_path):
    (tmp_path / "bad.py").write_text("def make(count, seed):\n    raise OSError('no such disk')\n")
    with pytest.raises(ArtefactError, match=r"samples\.generator 'bad\.py:make': OSError: no such disk"):
        batch_maker(replace(spec, samples=SamplesSpec(generator="bad.py:make")), [X])
