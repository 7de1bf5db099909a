"""Which error a status of the server means: one table for gRPC, one for HTTP.

gRPC statuses are the 17 names of https://grpc.github.io/grpc/core/md_doc_statuscodes.html. The HTTP statuses are those
that Triton sends (400, 403, 404, 500, 501, 503) and those that proxies add. Triton answers 400 over HTTP where it
answers ALREADY_EXISTS, CANCELLED or UNKNOWN over gRPC, so these three cannot be told apart from a wrong request there.
"""

from __future__ import annotations

from .errors import (
    AccessDenied,
    ConnectionLost,
    DeadlineExceeded,
    InvalidRequest,
    ModelNotFound,
    RequestCancelled,
    RequestTooLarge,
    ServerError,
    ServerUnavailable,
    UnderstudyClientError,
)

__all__ = ["GRPC_ERRORS", "HTTP_ERRORS", "grpc_error", "http_error"]

ErrorFromStatus = (
    type[InvalidRequest]
    | type[ModelNotFound]
    | type[AccessDenied]
    | type[RequestCancelled]
    | type[DeadlineExceeded]
    | type[ServerUnavailable]
    | type[ConnectionLost]
    | type[ServerError]
)

GRPC_ERRORS: dict[str, ErrorFromStatus] = {
    "OK": ServerError,  # an error that claims success: the answer could not be read
    "CANCELLED": RequestCancelled,
    "UNKNOWN": ServerError,
    "INVALID_ARGUMENT": InvalidRequest,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "NOT_FOUND": ModelNotFound,
    "ALREADY_EXISTS": InvalidRequest,
    "PERMISSION_DENIED": AccessDenied,
    "RESOURCE_EXHAUSTED": RequestTooLarge,  # gRPC's own answer to a message over the receiver's limit
    "FAILED_PRECONDITION": InvalidRequest,
    "ABORTED": ServerError,
    "OUT_OF_RANGE": InvalidRequest,
    "UNIMPLEMENTED": InvalidRequest,  # Triton's "unsupported"
    "INTERNAL": ServerError,
    "UNAVAILABLE": ServerUnavailable,
    "DATA_LOSS": ConnectionLost,
    "UNAUTHENTICATED": AccessDenied,
}

HTTP_ERRORS: dict[int, ErrorFromStatus] = {
    400: InvalidRequest,
    401: AccessDenied,
    403: AccessDenied,
    404: ModelNotFound,
    405: InvalidRequest,
    408: DeadlineExceeded,
    409: InvalidRequest,
    411: InvalidRequest,
    413: RequestTooLarge,
    415: InvalidRequest,
    429: ServerUnavailable,
    431: RequestTooLarge,
    499: RequestCancelled,
    500: ServerError,
    501: InvalidRequest,
    502: ServerUnavailable,  # a proxy lost the server; over gRPC it says UNAVAILABLE
    503: ServerUnavailable,
    504: DeadlineExceeded,
}


# What Triton says of a Python model whose process died, as an internal error: it may be back in a moment.
_DEAD = "is not healthy"
# How gRPC begins what it says where no connection came about, as UNAVAILABLE, and where one broke under a call, as
# UNAVAILABLE or UNKNOWN. grpcio 1.85 puts "Stream removed" before the causes, which others tell alone.
_UNSENT = ("failed to connect", "connections to all backends failing", "errors resolving", "DNS resolution failed")
# What it says, as UNIMPLEMENTED, where no Triton is behind the address: servers in Python, Java and Go of a call that
# they do not have (those in C++ say nothing), and gRPC itself of an answer in HTTP, such as a proxy's 404.
_NO_TRITON = ("Method not found", "unknown service", "unknown method", "Received http2 header with status")
_CUT = ("Stream removed", "Socket closed", "recvmsg:", "Connection reset", "Broken pipe", "GOAWAY")


def grpc_error(status: str | None, where: str, detail: str) -> UnderstudyClientError:
    """Return the error for a gRPC status such as "StatusCode.UNAVAILABLE"; None is a refusal by tritonclient itself."""
    if status is None:
        return InvalidRequest(where, detail)
    name = status.removeprefix("StatusCode.")
    if name in ("UNKNOWN", "UNAVAILABLE") and detail.startswith(_CUT):
        return ConnectionLost(where, detail)
    if name == "UNAVAILABLE":
        return ServerUnavailable(where, detail, sent=not detail.startswith(_UNSENT))
    if name == "UNIMPLEMENTED" and (not detail or detail.startswith(_NO_TRITON)):
        return ServerError(where, f"what answers there is no Triton ({detail or 'it does not know the call'})")
    return _alive(GRPC_ERRORS.get(name, ServerError), detail)(where, detail)


def http_error(status: int, where: str, detail: str) -> UnderstudyClientError:
    """Return the error for an HTTP status; one that is not in the table goes by its class, 4xx or otherwise."""
    other: ErrorFromStatus = InvalidRequest if 400 <= status < 500 else ServerError
    return _alive(HTTP_ERRORS.get(status, other), detail)(where, detail or f"HTTP status {status}")


def _alive(error: ErrorFromStatus, detail: str) -> ErrorFromStatus:
    return ServerUnavailable if error is ServerError and _DEAD in detail else error
