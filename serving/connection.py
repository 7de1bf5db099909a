"""How a server is connected to: its channel, the key of its control API, and whom to trust."""

from __future__ import annotations

from functools import partial
from typing import Any

from serving.errors import UsageError

__all__ = ["CA_VARIABLE", "CONTROL_HEADER", "KEY_VARIABLE", "connect"]

# What --grpc-restricted-protocol of deploy/serve.sh asks for, with the prefix that gRPC puts before it.
CONTROL_HEADER = "triton-grpc-protocol-understudy-control"
KEY_VARIABLE = "UNDERSTUDY_CONTROL_KEY"
# The file with the certificates to trust, where gRPC is served over TLS.
CA_VARIABLE = "UNDERSTUDY_CA"
# By itself gRPC waits up to two minutes before it connects again to a server that has come back, fails every call until
# then, and lets a new connection inherit that wait from an old one to the same address. What gRPC calls the least
# wait is how long it lets a connection take: a busy server needs more than the pause. -1 is no limit. Of itself it asks
# the environment for a proxy even on loopback, and none belongs between us and our own server, whatever its name.
_CHANNEL = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
)


def connect(grpc_url: str, key: str, ca: str) -> Any:
    """An InferenceServerClient. Raises UsageError."""
    from tritonclient.grpc import InferenceServerClient

    try:
        client = InferenceServerClient(grpc_url, channel_args=_CHANNEL, ssl=bool(ca), root_certificates=ca or None)
    except OSError as error:
        raise UsageError(
            f"{CA_VARIABLE}: {ca} cannot be read: {error.strerror}; name the certificates to trust"
        ) from error
    if key:
        # What tritonclient calls a plugin: it is called with each request.
        client.register_plugin(partial(_give_key, key))
    return client


def _give_key(key: str, request: Any) -> None:
    request.headers = {**(request.headers or {}), CONTROL_HEADER: key}
