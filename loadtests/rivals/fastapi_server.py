"""`python -m loadtests.rivals.fastapi_server FILE --port N`: the server that one would write by hand around a twin.

`POST /infer` takes the bytes of all inputs of one row, in the order of their names, and gives those of all outputs
in theirs: no JSON, no batching, no copy that can be spared. It has none of what makes a server safe to leave alone.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import uvicorn
from fastapi import FastAPI, Request, Response

from loadtests.rivals.plain_bytes import BytesDoNotTell, rows_of
from loadtests.rivals.session import open_session
from python_backend.limits import available_cores


def make_app(path: Path, calls: int) -> FastAPI:
    """The application around the graph in `path`, for so many calls at a time. Raises BytesDoNotTell."""
    session = open_session(path, calls)
    inputs = rows_of(session)
    names = sorted(each.name for each in session.get_outputs())
    threads = ThreadPoolExecutor(calls)
    app = FastAPI()

    def run(body: bytes) -> bytes:
        feeds, place = {}, 0
        for name, dtype, shape in inputs:
            count = int(np.prod(shape))
            feeds[name] = np.frombuffer(body, dtype, count, place).reshape(shape)
            place += count * dtype.itemsize
        return b"".join(output.tobytes() for output in session.run(names, feeds))

    @app.get("/healthz")
    async def healthz() -> None:
        return None

    @app.post("/infer")
    async def infer(request: Request) -> Response:
        body = await request.body()
        outputs = await asyncio.get_running_loop().run_in_executor(threads, run, body)
        return Response(outputs, media_type="application/octet-stream")

    return app


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.rivals.fastapi_server", description=__doc__)
    parser.add_argument("file", type=Path, help="the graph to serve")
    parser.add_argument("--port", type=int, required=True, help="on 127.0.0.1")
    parser.add_argument("--calls", type=int, default=available_cores(), help="at a time (default: as many as cores)")
    arguments = parser.parse_args(argv)
    try:
        app = make_app(arguments.file, arguments.calls)
    except BytesDoNotTell as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=arguments.port,
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
        backlog=4096,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
