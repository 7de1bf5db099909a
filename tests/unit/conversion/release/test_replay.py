"""A release that is named by a path from here is asked from elsewhere."""

from pathlib import Path

import pytest

from conversion.publishing.repository import Repository
from conversion.release.golden import GOLDEN
from conversion.release.replay import REPLAYS
from conversion.spec import ToleranceSpec

from ..released import release


@pytest.mark.parametrize("role", REPLAYS)
def test_a_path_from_here_names_the_same_files(tmp_path, spec, affine, monkeypatch, role):
    repository = Repository(tmp_path / "repository")
    with repository.locked():
        version = release(repository, spec, affine)
    monkeypatch.chdir(tmp_path)
    folders = {role: repository.release_folder("net", role, version).relative_to(tmp_path) for role in (role, "hybrid")}
    assert REPLAYS[role](folders[role], Path(folders["hybrid"] / GOLDEN), ToleranceSpec()) == []
