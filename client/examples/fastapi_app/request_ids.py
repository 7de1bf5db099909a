"""The name of a request: in answers, in the application's log, and in Triton's."""

from __future__ import annotations

import re
import uuid

from fastapi import Request

__all__ = ["REQUEST_ID", "request_id"]

REQUEST_ID = "x-request-id"
_PRINTABLE = re.compile(r"[\x21-\x7e]{1,128}")


def request_id(request: Request) -> str:
    """Return the id that the request brings, or one made up for it: the same at every call."""
    if not hasattr(request.state, "request_id"):
        given = request.headers.get(REQUEST_ID, "")
        request.state.request_id = given if _PRINTABLE.fullmatch(given) else uuid.uuid4().hex
    name: str = request.state.request_id
    return name
