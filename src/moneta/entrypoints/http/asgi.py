"""ASGI in four names (https://asgi.readthedocs.io, HTTP version 2.3): what web server and application hand each other.

Litestar's and uvicorn's own types say more, but bring all of the one with them, and are private to the other.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

# A message's members depend on its "type", and a connection's on the server: no type of Python's is narrower.
Scope = Mapping[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
