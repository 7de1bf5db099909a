"""The public surface, and that importing it loads nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

import serving
from serving import errors

ROOT = Path(__file__).parents[3]


def test_public_names_are_sorted_and_there() -> None:
    assert list(serving.__all__) == sorted(serving.__all__)
    for name in serving.__all__:
        assert getattr(serving, name).__name__ == name
    assert set(serving.__all__) <= set(dir(serving))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = serving.nope


def test_every_error_is_public_and_in_the_tree() -> None:
    classes = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert classes <= set(serving.__all__)
    assert errors.__doc__ is not None
    for name in classes:
        assert name in errors.__doc__
        assert issubclass(getattr(errors, name), errors.ServingError)


def test_importing_loads_neither_tritonclient_nor_numpy() -> None:
    code = "import sys, serving; print(sorted({'numpy', 'tritonclient', 'grpc', 'serving.server'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_doctor_runs_on_the_standard_library_alone() -> None:
    code = "import sys; sys.path.insert(0, '.'); import serving.doctor as d; print(d.main([]) in (0, 1))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith("True")
    assert "FAIL  packages" in done.stdout, "without site-packages nothing is installed"
