"""From the bytes of a request to what the client takes: JSON, or the one array of a .npy."""

from __future__ import annotations

import asyncio
import io
import json
import math
from http import HTTPStatus
from typing import Any, NoReturn

import numpy as np
from fastapi import Request
from starlette.requests import ClientDisconnect

from .problems import Refusal
from .settings import Settings

__all__ = ["JSON", "NPY", "content_type", "parse", "read_body"]

JSON = "application/json"
NPY = "application/octet-stream"
_FORMAT: Any = np.lib.format
_HEADERS = {(1, 0): _FORMAT.read_array_header_1_0, (2, 0): _FORMAT.read_array_header_2_0}


def content_type(request: Request) -> str:
    """Return the content type without its parameters; raises `Refusal` for one that is not read here."""
    name = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if name not in (JSON, NPY):
        sentence = f"The content type is {name or 'missing'!r}; send {JSON!r}, or a .npy as {NPY!r}."
        raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "UnknownContentType", sentence)
    return name


async def read_body(request: Request, kind: str, settings: Settings, limit_s: float) -> bytearray:
    """Return the body; raises `Refusal` for one that is cut off, not there in time, or longer than it may be.

    How long it was said to be counts only where that is too long by far.

    JSON may be as long as is soon read: in a thread as well, whoever reads it holds up all others. What is a little too
    long is read to its end and thrown away: most callers look at the answer only when they have sent everything, and a
    connection that is closed before loses it.
    """
    body, length = bytearray(), 0
    announced = request.headers.get("content-length", "0")
    most_bytes = settings.most_json_bytes if kind == JSON else settings.most_bytes
    patience = 2 * settings.most_bytes
    if not announced.isdecimal() or int(announced) <= patience:
        try:
            async with asyncio.timeout(limit_s):
                async for piece in request.stream():
                    length += len(piece)
                    if length <= most_bytes:
                        body += piece
                    elif length > patience:
                        break
        # Nobody reads this answer; without it the log would show a caller's end as a crash of the application.
        except ClientDisconnect as error:
            sentence = "The connection ended before the whole body was there; send it again."
            raise Refusal(HTTPStatus.BAD_REQUEST, "BodyIncomplete", sentence) from error
        except TimeoutError as error:
            sentence = (
                f"The body was not there within {limit_s:g} s; send fewer rows in one request, or allow more time."
            )
            raise Refusal(HTTPStatus.REQUEST_TIMEOUT, "BodyTooSlow", sentence) from error
        if length <= most_bytes:
            return body
    advice = ", or a .npy" if kind == JSON and most_bytes < settings.most_bytes else ""
    sentence = f"The body is longer than {most_bytes:,} bytes; send fewer rows in one request{advice}."
    raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "BodyTooLarge", sentence)


def parse(kind: str, body: bytearray) -> object:
    """Return an array, or what stands under "inputs" in the JSON; raises `Refusal`."""
    return _array(body) if kind == NPY else _inputs(body)


def _inputs(body: bytearray) -> object:
    try:
        content = json.loads(body, parse_constant=_no_number, parse_float=_finite)
    except ValueError as error:
        raise _malformed(f"The body is no JSON ({error})") from error
    except RecursionError as error:
        raise _malformed("The body is nested too deeply, an array has 32 dimensions at most") from error
    if not isinstance(content, dict) or set(content) != {"inputs"}:
        found = ", ".join(map(repr, content)) or "nothing" if isinstance(content, dict) else type(content).__name__
        raise _malformed(f"The body must be an object with the key 'inputs' alone, and has {found}")
    return content["inputs"]


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number in JSON")


def _finite(text: str) -> float:
    """Read a number as `json` does; raises ValueError for one so large that it would become infinite."""
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:20]} is more than a number here may be")
    return number


def _array(body: bytearray) -> np.ndarray[Any, Any]:
    """Return the array as a view of the body.

    `np.load` would take the header's word for the size and make room for it, however short the body is.
    """
    stream = io.BytesIO(body)
    try:
        shape, fortran, dtype = _HEADERS[_FORMAT.read_magic(stream)](stream)
    # NumPy raises whatever its parser, or Python's, meets in a bad header: there is no base class to name.
    except Exception as error:
        raise _malformed("The body is no .npy file") from error
    start = stream.tell()
    if dtype.hasobject:
        raise _malformed("The .npy holds Python objects; save strings as an array of str or bytes")
    try:
        # What takes no bytes may be as many as the header likes, and become as much memory.
        if dtype.itemsize == 0 or math.prod(shape) * dtype.itemsize != len(body) - start:
            found = f"{len(body) - start:,} bytes of values"
            raise _malformed(f"The .npy has {found}, which is not what its shape {list(shape)} of {dtype} needs")
        if math.prod(shape) == 0:
            return np.zeros(shape, dtype)
        return np.frombuffer(body, dtype, offset=start).reshape(shape, order="F" if fortran else "C")
    # Sizes below zero, too large to be written, too many of them: reading the header does not mind.
    except (ValueError, TypeError) as error:
        raise _malformed("The header of the .npy tells of an array that cannot be") from error


def _malformed(what: str) -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, "MalformedBody", f"{what}; see GET /docs for what is taken.")
