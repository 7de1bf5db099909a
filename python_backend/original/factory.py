"""Find a callable that the user wrote: `file.py:callable` or `package.module:callable`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from .errors import FactoryFailed, first_line


def find_callable(reference: str, root: Path) -> Callable[..., Any]:
    """The callable that `reference` names; a file is relative to `root`. Raises FactoryFailed.

    The folder of a file becomes importable, and stays so: a factory may import its neighbours when it is called.
    """
    place, _, attribute = reference.partition(":")
    try:
        found: Any = _load_file(root / place) if place.endswith(".py") else importlib.import_module(place)
        for part in attribute.split("."):
            found = getattr(found, part)
    # Importing runs the user's code: whatever it raises is the news to pass on; a script may end the process.
    except (Exception, SystemExit) as error:
        raise FactoryFailed(reference, f"cannot be imported: {first_line(error)}") from error
    if not callable(found):
        raise FactoryFailed(reference, f"is a {type(found).__name__}, not callable")
    return found  # type: ignore[no-any-return]


def _load_file(path: Path) -> ModuleType:
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    name = f"understudy_user_{path.stem}"
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    specification.loader.exec_module(module)
    return module
