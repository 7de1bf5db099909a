"""Files of a release laid out again for a server that only reads them."""

from __future__ import annotations

import os
import shutil

__all__ = ["link_or_copy"]


def link_or_copy(source: str, target: str) -> None:
    """The same file under another name, for `shutil.copytree`; a file system without links gets a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
