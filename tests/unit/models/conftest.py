"""Modules of a model's folder, imported as conversion imports them and forgotten afterwards."""

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

MODELS = Path(__file__).parents[3] / "models"
LoadFrom = Callable[[str, str], ModuleType]


@pytest.fixture
def load_from(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoadFrom]:
    """The module `name` of models/`model`; its neighbours are importable, the demo's namesake is not shadowed after."""
    before = set(sys.modules)

    def load(model: str, name: str) -> ModuleType:
        monkeypatch.syspath_prepend(str(MODELS / model))
        return import_module(name)

    yield load
    for name in set(sys.modules) - before:
        if MODELS in Path(getattr(sys.modules[name], "__file__", None) or "/").parents:
            del sys.modules[name]
