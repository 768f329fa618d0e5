"""A request's body, read within its limit."""

from collections.abc import Callable

from moneta.domain.errors import MalformedRequestError, TooLargeError
from moneta.domain.limits import REFUSED_BODY_BYTES_MAX
from moneta.entrypoints.http.asgi import Receive
from moneta.entrypoints.requests import Headers, header


async def read_body(
    headers: Headers, receive: Receive, *, bytes_max: int, what: str, hold: Callable[[int], None]
) -> bytes:
    """Return the request's body. ``hold`` is told of the bytes that are kept, as they come, and may refuse them.

    A body that is too large is read on for a while and thrown away, because closing a connection on a client that
    still sends makes it lose the answer; unless it asked first (``Expect``), or it is beyond all measure.

    Raises:
        TooLargeError: It has more than ``bytes_max`` bytes.
        MalformedRequestError: The client went away before its end.
    """
    too_large = TooLargeError(f"{what}: expected at most {bytes_max} bytes", limit=bytes_max)
    declared = int(header(headers, b"content-length") or b"0")
    if declared > REFUSED_BODY_BYTES_MAX or (declared > bytes_max and header(headers, b"expect") is not None):
        raise too_large
    parts: list[bytes] = []
    size = 0
    more = True
    while more and size <= REFUSED_BODY_BYTES_MAX:
        message = await receive()
        if message["type"] != "http.request":
            raise MalformedRequestError(f"{what}: the connection was closed before the end of the body")
        size += len(message["body"])
        if size <= bytes_max:
            hold(len(message["body"]))
            parts.append(message["body"])
        more = message["more_body"]
    if size > bytes_max:
        raise too_large
    return parts[0] if len(parts) == 1 else b"".join(parts)
