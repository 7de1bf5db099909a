#!/usr/bin/env python3
"""HAProxy's external check: does this replica answer? Each model named in the file `models` gets one row of zeros.

HAProxy runs it as `check.py - - ADDRESS PORT`, PORT being Triton's HTTP, and gives it no environment. Exit code 0: all
answered; 1: one did not, and standard error says why. It needs ../healthcheck.py and the standard library alone.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from runpy import run_path

HERE = Path(__file__).resolve().parent
# For all answers. Below the `inter` of haproxy.cfg, at which HAProxy ends this process, so that the reason is told.
_TIMEOUT_S = 4.5


def required(text: str) -> list[str]:
    """The names in the file."""
    return [name for line in text.splitlines() if (name := line.partition("#")[0].strip())]


def ask(server: str, models: Sequence[str]) -> None:
    """Ask each model, over one connection. Raises OSError or HTTPException, and ValueError for a refusal."""
    zeros = run_path(str(HERE.parent / "healthcheck.py"))["zeros"]
    end = time.monotonic() + _TIMEOUT_S
    connection = HTTPConnection(server)
    try:
        for model in models:
            config = json.loads(_answer(connection, end, "GET", f"/v2/models/{model}/config"))
            body, header_bytes = zeros(config)
            headers = {"Inference-Header-Content-Length": str(header_bytes)}
            _answer(connection, end, "POST", f"/v2/models/{model}/infer", body=body, headers=headers)
    finally:
        connection.close()


def _answer(
    connection: HTTPConnection,
    end: float,
    method: str,
    path: str,
    *,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
) -> bytes:
    left_s = end - time.monotonic()
    if left_s <= 0:
        raise TimeoutError(f"{path}: no time is left to ask, the answers before took {_TIMEOUT_S:g} s")
    connection.timeout = left_s
    if connection.sock is not None:
        connection.sock.settimeout(left_s)
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    content = response.read()
    if response.status != 200:
        raise ValueError(f"{path}: status {response.status}: {content.decode(errors='replace')}")
    return content


def main(arguments: Sequence[str]) -> int:
    """Check the replica that HAProxy names; return the exit code."""
    try:
        models = required((HERE / "models").read_text(encoding="utf-8"))
        if not models:
            raise ValueError(f"{HERE / 'models'} names no model")
        ask(f"{arguments[2]}:{arguments[3]}", models)
    except (OSError, HTTPException, ValueError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
