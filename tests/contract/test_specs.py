"""Every way to write a model.toml wrong: one folder each, with the sentence and the exit code that it gives."""

from pathlib import Path

import pytest

from conversion.__main__ import main
from conversion.errors import ConversionError
from conversion.spec.reader import read_spec

FOLDERS = sorted(path.parent for path in Path(__file__).with_name("specs").glob("*/expected.txt"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_wrong_spec_gives_its_sentence(folder):
    head, sentence = (folder / "expected.txt").read_text().splitlines()
    name, exit_code = head.split()
    with pytest.raises(ConversionError) as caught:
        read_spec(folder)
    assert type(caught.value).__name__ == name
    assert caught.value.exit_code == int(exit_code)
    assert str(caught.value).replace(str(folder), ".") == sentence


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_wrong_spec_ends_the_command_with_its_code_and_publishes_nothing(folder, tmp_path, capsys):
    head, sentence = (folder / "expected.txt").read_text().splitlines()
    repository = tmp_path / "repository"
    code = main(["convert", str(folder), "--repository", str(repository), "--server", "none", "--build", str(tmp_path)])
    assert code == int(head.split()[1])
    captured = capsys.readouterr()
    assert captured.err == f"error: {sentence.replace('./', f'{folder}/', 1)}\n"
    assert captured.out == ""
    assert not repository.exists()


def test_a_folder_without_a_spec_is_named(tmp_path, capsys):
    assert main(["convert", str(tmp_path), "--server", "none"]) == 3
    assert f"{tmp_path / 'model.toml'} does not exist" in capsys.readouterr().err


def test_all_cases_are_there():
    assert len(FOLDERS) == 73
