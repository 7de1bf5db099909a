"""Where the server is and how to talk to it, checked once."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from .errors import InvalidSettings

__all__ = [
    "DEFAULT_PORTS",
    "IDLE_S",
    "LOAD_TIMEOUT_S",
    "METRICS_PORT",
    "TIMEOUT_S",
    "Connection",
    "FilePath",
    "Protocol",
    "connection",
    "count",
    "metrics_address",
    "seconds",
]

Protocol: TypeAlias = Literal["grpc", "http"]
FilePath: TypeAlias = str | os.PathLike[str]

DEFAULT_PORTS: dict[str, int] = {"grpc": 8001, "http": 8000}
METRICS_PORT = 8002
# Long enough for a batch on an original model without a GPU, and for a big model to be read from disk.
TIMEOUT_S = 30.0
LOAD_TIMEOUT_S = 300.0

# Load balancers forget a connection that was idle for some minutes (350 s is common), and the next call on it hangs
# until its deadline: a connection that was idle for this long is not used again.
IDLE_S = 240.0

_URL = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\s/:\[\]]+)(:(?P<port>\d{1,5}))?(?P<path>/\S*)?")
_LOOPBACK = ("localhost", "127.", "[::1]")


@dataclass(frozen=True)
class Connection:
    """A checked address. ``host`` keeps the brackets of an IPv6 address; ``path`` is "" or "/base" (HTTP only).

    The three files are PEM: the roots that sign the server's certificate (the system's where None), and the client's
    own key and certificate where the server asks for one.
    """

    protocol: str
    host: str
    port: int
    path: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    ssl: bool = False
    root_certificates: Path | None = None
    private_key: Path | None = None
    certificate_chain: Path | None = None

    @property
    def address(self) -> str:
        """The address as gRPC and HTTP take it: "host:port"."""
        return f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this machine."""
        return self.host.startswith(_LOOPBACK)

    def place(self, title: str) -> str:
        """Return where something happens, for messages: "inference on 'm' at 127.0.0.1:8001 (grpc)"."""
        return f"{title} at {self.address}{self.path} ({self.protocol}{' over TLS' if self.ssl else ''})"


def connection(
    url: str | None,
    protocol: str,
    *,
    headers: Mapping[str, str] | None = None,
    ssl: bool = False,
    root_certificates: FilePath | None = None,
    private_key: FilePath | None = None,
    certificate_chain: FilePath | None = None,
) -> Connection:
    """Return the checked address; raises `InvalidSettings` naming the argument that cannot be used."""
    if protocol not in DEFAULT_PORTS:
        raise InvalidSettings("protocol", protocol, '"grpc" or "http"')
    files = {
        "root_certificates": root_certificates,
        "private_key": private_key,
        "certificate_chain": certificate_chain,
    }
    if (private_key is None) != (certificate_chain is None):
        raise InvalidSettings("private_key", private_key, "private_key and certificate_chain together")
    host, port, path = _parsed(url, protocol)
    return Connection(
        protocol,
        host,
        port,
        path,
        _headers(headers),
        ssl,
        **{name: _file(name, file, ssl) for name, file in files.items()},
    )


def metrics_address(url: str) -> str:
    """Return where a server's metrics are, "host:port"; raises `InvalidSettings`."""
    match = _URL.fullmatch(url) if isinstance(url, str) else None
    port = int(match["port"] or METRICS_PORT) if match and not match["path"] else 0
    if match is None or not 0 < port < 65536:
        raise InvalidSettings("metrics_url", url, f"host:port without a scheme, such as 127.0.0.1:{METRICS_PORT}")
    return f"{match['host']}:{port}"


def seconds(setting: str, value: float) -> float:
    """Return a time limit; raises `InvalidSettings` for one that is not finite or not above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise InvalidSettings(setting, value, "a finite number of seconds above 0")
    return float(value)


def count(setting: str, value: int, least: int) -> int:
    """Return a whole number; raises `InvalidSettings` for one below ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidSettings(setting, value, f"a whole number from {least} on")
    return value


def _parsed(url: str | None, protocol: str) -> tuple[str, int, str]:
    if url is None:
        return "127.0.0.1", DEFAULT_PORTS[protocol], ""
    expected = "host:port without a scheme, such as 127.0.0.1:8001"
    match = _URL.fullmatch(url) if isinstance(url, str) else None
    if match is None or "://" in url:
        raise InvalidSettings("url", url, expected)
    port = int(match["port"] or DEFAULT_PORTS[protocol])
    path = (match["path"] or "").rstrip("/")
    if not 0 < port < 65536:
        raise InvalidSettings("url", url, "a port from 1 to 65535")
    if path and protocol == "grpc":
        raise InvalidSettings("url", url, f"{expected}; gRPC has no path")
    return match["host"], port, path


def _headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Return the headers with lower-case names, which gRPC demands and HTTP does not tell apart."""
    checked = {}
    for name, value in (headers or {}).items():
        if not re.fullmatch(r"[0-9A-Za-z_.-]+", str(name)):
            raise InvalidSettings("headers", {name: "…"}, "names of letters, digits, '-', '_', '.'")
        # What it is may be a secret, such as a token that was read with the end of its line.
        if not re.fullmatch(r"[\x20-\x7e]*", str(value)):
            raise InvalidSettings("headers", {name: "…"}, "values of printable ASCII, without an end of line")
        checked[str(name).lower()] = str(value)
    return checked


def _file(name: str, file: FilePath | None, ssl: bool) -> Path | None:
    if file is None:
        return None
    if not ssl:
        raise InvalidSettings(name, str(file), "ssl=True beside it")
    if not Path(file).is_file():
        raise InvalidSettings(name, str(file), "a PEM file that exists")
    return Path(file)
