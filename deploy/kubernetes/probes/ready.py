#!/usr/bin/env python3
"""May this pod be sent requests? Each model named in UNDERSTUDY_REQUIRED (comma-separated) must answer as a hybrid.

The image's healthcheck.py asks what the server has loaded. A release that did not load at all is not in that list and
would look well, so a rollout would go on and replace pods that answer: here the names are given. What else is loaded is
not asked: a model on trial that fails must not take the others along. Without names it is as healthcheck.py. Which twin
answers does not matter. Exit code 0: all answered; 1: one did not, and standard error says why. Standard library alone.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any

_IMAGE = "/opt/understudy"


def names(text: str) -> frozenset[str]:
    """Those of a list with commas."""
    return frozenset(filter(None, map(str.strip, text.split(","))))


def main(environ: Mapping[str, str]) -> int:
    """Run the check with the container's environment; return the exit code."""
    sys.path.insert(0, environ.get("UNDERSTUDY_IMAGE", _IMAGE))
    healthcheck: Any = importlib.import_module("healthcheck")
    required, skipped = names(environ.get("UNDERSTUDY_REQUIRED", "")), names(environ.get("UNDERSTUDY_HEALTH_SKIP", ""))
    server = environ.get("UNDERSTUDY_HTTP", "127.0.0.1:8000")
    try:
        asked = healthcheck.check(server, environ.get("UNDERSTUDY_CONTROL_KEY", ""), skipped, required)
    except healthcheck.Unhealthy as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if absent := required - skipped - set(asked):
        found = ", ".join(asked) or "none"
        sys.stderr.write(f"{', '.join(sorted(absent))}: expected hybrids that are loaded, found {found}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
