import argparse

import pytest

from loadtests.arguments import destination, seconds


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon"])
def test_what_is_no_length_of_a_stage_is_usage(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not a number of seconds above 0"):
        seconds(text)
    assert seconds("1.5") == 1.5


def test_a_file_may_lie_in_a_folder_that_is_not_there_yet(tmp_path):
    assert destination(str(tmp_path / "a" / "b" / "load.json")) == tmp_path / "a" / "b" / "load.json"
    (tmp_path / "load.json").write_text("{}")
    assert destination(str(tmp_path / "load.json")) == tmp_path / "load.json"


def test_where_nothing_can_be_written_is_told_before_anything_is_measured(tmp_path):
    (tmp_path / "file").write_text("")
    for text in (str(tmp_path), str(tmp_path / "file" / "load.json")):
        with pytest.raises(argparse.ArgumentTypeError, match="cannot be written"):
            destination(text)
