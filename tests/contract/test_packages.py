"""pyproject.toml names the packages one by one: none of ours may be forgotten, and their data files must be there."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
HOMES = {name: ROOT / SETUPTOOLS["package-dir"].get(name, name) for name in SETUPTOOLS["packages"] if "." not in name}


def test_every_folder_with_code_is_a_package_that_is_named():
    found = {
        ".".join((name, *path.parent.relative_to(home).parts))
        for name, home in HOMES.items()
        for path in home.rglob("*.py")
        # What Locust reads by its path, and no code imports.
        if path.parent.name != "shapes"
    }
    assert found == set(SETUPTOOLS["packages"])


@pytest.mark.parametrize(
    ("package", "pattern"),
    [(package, pattern) for package, patterns in SETUPTOOLS["package-data"].items() for pattern in patterns],
)
def test_every_pattern_of_data_files_finds_some(package, pattern):
    name, *inside = package.split(".")
    assert list(HOMES[name].joinpath(*inside).glob(pattern))
