"""ASGI (https://asgi.readthedocs.io, HTTP version 2.3): what web server and application hand each other, and an answer.

Litestar's and uvicorn's own types say more, but bring all of the one with them, and are private to the other.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from moneta.entrypoints.answers import Answer

# A message's members depend on its "type", and a connection's on the server: no type of Python's is narrower.
Scope = Mapping[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


async def send_answer(answer: Answer, send: Send) -> None:
    """Send ``answer`` over ASGI."""
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.all_headers()})
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})
