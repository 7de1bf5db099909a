"""`[serving.tuned]` in a model.toml that people wrote."""

import tomllib
from dataclasses import replace

import pytest

from conversion.arrangements.arrangement import Arrangement, default_arrangement
from conversion.arrangements.settling import settle
from conversion.errors import SpecUnreadable, WrongValue
from conversion.spec.reader import read_spec
from conversion.spec.serving import TunedSpec
from conversion.tuning.section import write_section

TUNED = TunedSpec(2, 4, dynamic_batching=True, max_joined_rows=16, max_queue_delay_microseconds=500, p99_ms=80.0)
SPEC = """# ours
name = "net"
[source]
path = "net.keras"  # kept

[serving]
max_batch_size = 16
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "model.toml"
    path.write_text(SPEC)
    return path


def test_it_stands_behind_what_people_wrote_and_fills_in_what_they_left_open(path):
    write_section(path, TUNED, "by hand")
    text = path.read_text()
    assert text.startswith(SPEC)
    assert "[serving.tuned]  # by hand\ninstances = 2\nthreads = 4\ndynamic_batching = true\n" in text
    serving = read_spec(path).serving
    assert serving.tuned == TUNED
    assert (serving.instances, serving.threads, serving.dynamic_batching) == (2, 4, True)
    assert (serving.max_joined_rows, serving.max_queue_delay_microseconds) == (16, 500)
    alone = read_spec(path, tuned=False).serving
    assert (alone.instances, alone.threads, alone.dynamic_batching, alone.max_joined_rows) == (None, None, None, 0)


def test_what_people_say_counts_more(path):
    path.write_text(SPEC + "threads = 1\ndynamic_batching = false\n")
    write_section(path, TUNED, "by hand")
    serving = read_spec(path).serving
    assert (serving.instances, serving.threads, serving.dynamic_batching) == (2, 1, False)
    # The rows that are joined, and the wait for them, were tuned for the twin's own queue.
    assert default_arrangement(serving) == Arrangement(2, 1, dynamic_batching=False, joined_rows=1)


@pytest.mark.parametrize("said", ["max_queue_delay_microseconds = 0", "max_queue_delay_microseconds = 20"])
def test_a_wait_that_people_say_counts_more_be_it_none(path, said):
    path.write_text(f"{SPEC}{said}\n")
    write_section(path, TUNED, "by hand")
    assert read_spec(path).serving.max_queue_delay_microseconds == int(said.split()[-1])
    assert read_spec(path).serving.tuned == TUNED


BY_HAND = "instances = 1\nthreads = 4\ndynamic_batching = {}\n"


@pytest.mark.parametrize(
    ("said", "tuned", "left"),
    [
        (BY_HAND.format("false"), TUNED, False),
        (BY_HAND.format("true"), TUNED, True),
        (BY_HAND.format("true"), replace(TUNED, max_queue_delay_microseconds=0), False),
        (BY_HAND.format("true") + "max_queue_delay_microseconds = 0\n", TUNED, False),
        (BY_HAND.format("false"), replace(TUNED, hybrid_instances=2), True),
        (BY_HAND.format("false"), replace(TUNED, split_rows=True), True),
        (BY_HAND.format("false") + "split_rows = false\n", replace(TUNED, split_rows=True), False),
        ("instances = 1\nthreads = 4\n", TUNED, True),
    ],
)
def test_where_people_say_it_all_nothing_was_tuned(path, said, tuned, left):
    """Then it is served as without the section."""
    path.write_text(SPEC + said)
    write_section(path, tuned, "by hand")
    spec = read_spec(path)
    assert spec.serving.tuned == (tuned if left else TunedSpec())
    assert settle(spec, {}, path.parent, None, report=print).how == ("tuned" if left else "spec")
    alone = default_arrangement(read_spec(path, tuned=False).serving)
    assert (default_arrangement(spec.serving) != alone) == left


def test_an_older_one_is_replaced_wherever_it_stands(path):
    path.write_text(SPEC + "[serving.tuned] # old\ninstances = 8\nthreads = 8\n\n[export]\nopset = 18\n")
    path.chmod(0o640)
    write_section(path, TUNED, "new")
    write_section(path, TUNED, "newer")
    text = path.read_text()
    assert text.count("[serving.tuned]") == 1
    assert "[serving.tuned]  # newer" in text
    table = tomllib.loads(text)
    assert table["export"] == {"opset": 18}
    assert table["serving"]["tuned"]["instances"] == 2
    assert path.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in path.parent.iterdir()] == ["model.toml"]


@pytest.mark.parametrize("header", ["[export]", "  [export]"])
def test_what_people_wrote_below_it_stays(path, header):
    below = f"# ours on the export\n# two lines\n\n{header}\nopset = 18\n"
    path.write_text(SPEC + f"\n[serving.tuned]\ninstances = 8\n  # never 9\nthreads = 8\n\n{below}\n# the end\n")
    write_section(path, TUNED, "new")
    write_section(path, TUNED, "newer")
    text = path.read_text()
    assert text.startswith(SPEC + f"\n  # never 9\n\n{below}\n# the end\n\n[serving.tuned]  # newer\n")
    assert (text.count("\ninstances"), text.count("\nthreads")) == (1, 1)
    assert read_spec(path).serving.tuned == TUNED


def test_one_without_a_line_below_it_is_replaced(path):
    path.write_text(SPEC + "[serving.tuned]")
    write_section(path, TUNED, "new")
    assert path.read_text().startswith(SPEC + "\n[serving.tuned]  # new\n")


@pytest.mark.parametrize(
    "header", ["  [serving.tuned]", "[ serving . tuned ]", '[serving."tuned"]', "['serving'.tuned]"]
)
def test_one_with_a_header_that_is_written_otherwise_is_replaced(path, header):
    path.write_text(SPEC + f"{header}\n  instances = 8\n")
    write_section(path, TUNED, "new")
    assert path.read_text().startswith(SPEC + "\n[serving.tuned]  # new\n")
    assert read_spec(path).serving.tuned == TUNED


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_mark_of_utf8_and_the_ends_of_lines_stay(path, mark, end):
    path.write_bytes(mark + SPEC.replace("\n", end).encode())
    write_section(path, TUNED, "new")
    write_section(path, TUNED, "newer")
    content = path.read_bytes()
    assert content.startswith(mark + SPEC.replace("\n", end).encode() + end.encode() + b"[serving.tuned]  # newer")
    assert content.count(b"\n") == content.count(end.encode())
    assert content.count(b"\r") == (content.count(b"\n") if end == "\r\n" else 0)
    assert read_spec(path).serving.tuned == TUNED


def test_what_looks_like_it_in_a_string_stays(path):
    text = 'description = """\n[serving.tuned]\nis ours\n"""\n' + SPEC
    path.write_text(text)
    write_section(path, TUNED, "new")
    assert path.read_text().startswith(text)
    assert read_spec(path).serving.tuned == TUNED


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (
            "serving = { max_batch_size = 16 }",
            r"'serving' must be a table \[serving\], .* found {'max_batch_size': 16}",
        ),
        (
            "serving.tuned = { instances = 8 }",
            r"'serving.tuned' must be a table with a header .* found {'instances': 8}",
        ),
        ("serving.tuned.instances = 8", r"'serving.tuned' must be a table with a header .* found {'instances': 8}"),
    ],
)
def test_where_it_cannot_stand_nothing_is_written(path, line, sentence):
    text = f"{line}\n" + SPEC.replace("[serving]\nmax_batch_size = 16\n", "")
    path.write_text(text)
    with pytest.raises(WrongValue, match=sentence):
        write_section(path, TUNED, "by hand")
    assert path.read_text() == text


def test_what_was_broken_meanwhile_is_told(path):
    path.write_text("source")
    with pytest.raises(SpecUnreadable):
        write_section(path, TUNED, "by hand")
