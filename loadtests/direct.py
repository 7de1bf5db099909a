"""Connections straight to the server that is measured: a proxy of the environment cannot reach this machine's loopback.

Nor would figures that were taken through one tell of the server. Locust's HTTP reads no proxy out of the environment.
"""

from __future__ import annotations

import urllib.request
from typing import Any

import grpc
from tritonclient.grpc import InferenceServerClient

__all__ = ["channel", "client", "read"]

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_http_proxy", 0),
)


def channel(address: str, *more: tuple[str, int | str]) -> Any:
    """A gRPC channel to host:port for messages of any size, with `more` options; one that differs is a connection."""
    return grpc.insecure_channel(address, options=[*_OPTIONS, *more])


def client(address: str) -> InferenceServerClient:
    """A tritonclient of the server at host:port, over gRPC."""
    return InferenceServerClient(address, channel_args=list(_OPTIONS))


def read(url: str, timeout_s: float) -> bytes:
    """What stands at `url`. Raises OSError."""
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=timeout_s) as page:
        content: bytes = page.read()
    return content
