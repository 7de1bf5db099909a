"""What both HTTP clients send, as a server sees it."""

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from understudy_client import AsyncHybridClient, HybridClient


class _Listening(BaseHTTPRequestHandler):
    """Keeps the headers of each request, and answers that there is no model."""

    protocol_version = "HTTP/1.0"
    seen: list[dict[str, str]]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.seen.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def listening() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A server's address, and the headers of the requests that it has had."""
    seen: list[dict[str, str]] = []
    with HTTPServer(("127.0.0.1", 0), type("Listening", (_Listening,), {"seen": seen})) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}", seen
        finally:
            server.shutdown()
            thread.join()


def _ask(url: str, **settings: Any) -> None:
    with HybridClient(url, protocol="http", **settings) as client:
        client.models()


def _ask_async(url: str, **settings: Any) -> None:
    async def ask() -> None:
        async with AsyncHybridClient(url, protocol="http", **settings) as client:
            await client.models()

    asyncio.run(ask())


@pytest.mark.parametrize("ask", [_ask, _ask_async], ids=["blocking", "asyncio"])
def test_nobody_asks_for_compressed_answers_unless_its_headers_do(
    ask: Any, listening: tuple[str, list[dict[str, str]]]
) -> None:
    url, seen = listening
    ask(url)
    ask(url, headers={"Accept-Encoding": "gzip"})
    assert [headers["accept-encoding"] for headers in seen] == ["identity", "gzip"]
