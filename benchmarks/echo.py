"""``python -m benchmarks.echo DATA PORT``: the web server alone. It reads an event and sends it back: the floor."""

import sys
from typing import Any

from benchmarks.serving import read_body, serve_application


async def echo(_scope: Any, receive: Any, send: Any) -> None:
    """Answer a request with its own body."""
    body = await read_body(receive)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    serve_application(echo, int(sys.argv[2]))
