"""What DNS does for an API in an account: one address, behind which the gateway knows the API by its host.

A request goes on as it came, but for ``Host``, and for the stage before its path. AWS's gateway has the default stage
left out; MiniStack takes either, but without it answers ``/health`` about itself, and drops a slash at the end. Nothing
is answered here.
"""

import ssl
from contextlib import contextmanager
from http.client import HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Semaphore, Thread
from urllib.parse import urlsplit

TIMEOUT_S = 60
AT_ONCE_MAX = 4
"""A request more starts a process or two more, and a machine of two cores would be slow to start them all."""
HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "date", "server"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _forward(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.server.turns:
            self._pass_on(body)

    def _pass_on(self, body):
        gateway = HTTPSConnection(self.server.gateway, timeout=TIMEOUT_S, context=self.server.trust)
        try:
            target = self.requestline.split(" ")[1]  # as it was sent: ``self.path`` has lost a second slash
            gateway.putrequest(self.command, f"/$default{target}", skip_host=True, skip_accept_encoding=True)
            gateway.putheader("Host", f"{self.server.api_id}.execute-api.{self.server.gateway}")
            for name, value in self.headers.items():
                if name.lower() not in {"host", "connection"}:
                    gateway.putheader(name, value)
            gateway.endheaders(body)
            answer = gateway.getresponse()
            content = answer.read()
        finally:
            gateway.close()
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Say nothing: the gateway has a log."""


for _method in ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"):
    setattr(_Handler, f"do_{_method}", _Handler._forward)


class FrontDoor(ThreadingHTTPServer):
    """``api_id`` is set once the API is deployed; what comes earlier fails."""

    daemon_threads = True

    def __init__(self, account_url, ca):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.gateway = urlsplit(account_url).netloc
        self.trust = ssl.create_default_context(cafile=str(ca))
        self.turns = Semaphore(AT_ONCE_MAX)
        self.api_id = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def front_door(account_url, ca):
    with FrontDoor(account_url, ca) as door:
        serving = Thread(target=door.serve_forever)
        serving.start()
        try:
            yield door
        finally:
            door.shutdown()
            serving.join()
