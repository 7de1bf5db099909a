"""Which transport carries which protocol; each is imported when it is first wanted."""

from __future__ import annotations

from .calls import AsyncTransport, Transport
from .settings import Connection

__all__ = ["async_transport", "transport"]


def transport(connection: Connection) -> Transport:
    """Return a blocking transport; it connects at its first call."""
    if connection.protocol == "http":
        from .http_transport import HttpTransport

        return HttpTransport(connection)
    from .grpc_transport import GrpcTransport

    return GrpcTransport(connection)


def async_transport(connection: Connection) -> AsyncTransport:
    """Return an asyncio transport; it connects at its first call, and belongs to the event loop of that call."""
    if connection.protocol == "http":
        from .http_transport import AsyncHttpTransport

        return AsyncHttpTransport(connection)
    from .grpc_transport import AsyncGrpcTransport

    return AsyncGrpcTransport(connection)
