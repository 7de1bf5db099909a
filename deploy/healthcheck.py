#!/usr/bin/env python3
"""Are callers answered? The server must be ready, and each hybrid that it serves must answer a request of zeros.

Twins are not asked: the loss of one is what a hybrid is for. A dynamic dimension becomes 1; a model that cannot take
that is named in UNDERSTUDY_HEALTH_SKIP (comma-separated). Exit code 0: healthy; 1: not, and standard error says why.
Standard library alone: it runs in the image's own Python.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

# Above a hybrid's deadline (10 s by default), so that it can tell its reason before we give up on it.
_TIMEOUT_S = 12.0
# A hybrid is known by its parameter that names the twin.
_HYBRID_PARAMETER = "primary_model"
_BYTES = {"BOOL": 1, "UINT8": 1, "INT8": 1, "UINT16": 2, "INT16": 2, "FP16": 2, "BF16": 2, "UINT32": 4, "INT32": 4}
_BYTES |= {"FP32": 4, "UINT64": 8, "INT64": 8, "FP64": 8}
# The wire has four bytes of length before each string.
_EMPTY_STRING_BYTES = 4


class Unhealthy(Exception):
    """What did not answer as it should, and what was expected."""

    def __init__(self, what: str, found: str) -> None:
        super().__init__(f"{what}: expected an answer, found {found}")


def check(server: str, key: str, skip: frozenset[str], only: frozenset[str] = frozenset()) -> list[str]:
    """Ask every hybrid that `server` (host:port) says is ready, or those in `only`; return their names.

    Raises Unhealthy.
    """
    _ask(server, "GET", "/v2/health/ready")
    index = json.loads(_ask(server, "POST", "/v2/repository/index", b'{"ready": true}', {"understudy-control": key}))
    asked = []
    for model in index:
        if model["name"] in skip or (only and model["name"] not in only):
            continue
        path = f"/v2/models/{model['name']}/versions/{model['version']}"
        config = json.loads(_ask(server, "GET", f"{path}/config"))
        if _HYBRID_PARAMETER in config.get("parameters", {}):
            body, header_bytes = zeros(config)
            _ask(server, "POST", f"{path}/infer", body, {"Inference-Header-Content-Length": str(header_bytes)})
            asked.append(model["name"])
    return asked


def zeros(config: Mapping[str, Any]) -> tuple[bytes, int]:
    """The smallest request that a completed configuration allows: the body, and the bytes of its JSON header."""
    inputs, tensors = [], b""
    for one in config["input"]:
        if one.get("optional"):
            continue
        kind = one["data_type"].removeprefix("TYPE_").replace("STRING", "BYTES")
        shape = [1] * (config["max_batch_size"] > 0) + [max(1, int(size)) for size in one["dims"]]
        size = _BYTES.get(kind, _EMPTY_STRING_BYTES)
        for length in shape:
            size *= length
        inputs.append({"name": one["name"], "datatype": kind, "shape": shape, "parameters": {"binary_data_size": size}})
        tensors += bytes(size)
    header = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    return header + tensors, len(header)


def _ask(
    server: str, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> bytes:
    connection = http.client.HTTPConnection(server, timeout=_TIMEOUT_S)
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        answer = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise Unhealthy(path, f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise Unhealthy(path, f"status {response.status}: {answer.decode(errors='replace')}")
    return answer


def main(environ: Mapping[str, str]) -> int:
    """Run the check with the container's environment; return the exit code."""
    skip = frozenset(filter(None, environ.get("UNDERSTUDY_HEALTH_SKIP", "").split(",")))
    server = environ.get("UNDERSTUDY_HTTP", "127.0.0.1:8000")
    try:
        asked = check(server, environ.get("UNDERSTUDY_CONTROL_KEY", ""), skip)
    except Unhealthy as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"answered: {', '.join(asked) or 'no hybrid is served yet'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
