"""The TLS settings of an HTTP connection as Python's `ssl` takes them; gRPC reads the files itself."""

from __future__ import annotations

import ssl

from .errors import InvalidSettings
from .settings import Connection

__all__ = ["tls_context"]


def tls_context(connection: Connection) -> ssl.SSLContext:
    """Return a context that checks the server's certificate and name; raises `InvalidSettings` for unreadable files."""
    try:
        context = ssl.create_default_context(cafile=connection.root_certificates)
    except (ssl.SSLError, OSError) as error:
        raise InvalidSettings("root_certificates", str(connection.root_certificates), f"PEM ({error})") from error
    if connection.certificate_chain is not None:
        try:
            context.load_cert_chain(connection.certificate_chain, connection.private_key)
        except (ssl.SSLError, OSError) as error:
            raise InvalidSettings("private_key", str(connection.private_key), f"PEM of one pair ({error})") from error
    return context
