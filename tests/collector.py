"""A collector of traces: a real server that takes OTLP over HTTP and reads the protobuf as OpenTelemetry defines it."""

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

HANG_S_MAX = 60
OK, UNAVAILABLE = 200, 503
HANG = 0


@dataclass(frozen=True)
class Seen:
    """One span as it came; ids in hexadecimal, ``resource``: who sent it."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    duration_ns: int
    attributes: dict
    is_error: bool
    links: list
    resource: dict

    @property
    def process(self):
        return self.resource["moneta.process"]


class Collector:
    """What came so far. ``answer``: the status of each answer, or ``HANG`` for none."""

    def __init__(self):
        self.answer = OK
        self.spans = []
        self.requests = []
        self.released = threading.Event()

    def trace(self, trace_id):
        return [span for span in list(self.spans) if span.trace_id == trace_id]

    def take(self, path, headers, body):
        self.requests.append((path, dict(headers)))
        if self.answer == OK:
            self.spans.extend(read_spans(body))


def read_spans(body):
    request = ExportTraceServiceRequest.FromString(body)
    for sent in request.resource_spans:
        for scope in sent.scope_spans:
            for span in scope.spans:
                yield Seen(
                    name=span.name,
                    kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    duration_ns=span.end_time_unix_nano - span.start_time_unix_nano,
                    attributes=members(span.attributes),
                    is_error=span.status.code == Status.STATUS_CODE_ERROR,
                    links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
                    resource=members(sent.resource.attributes),
                )


def members(attributes):
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@contextmanager
def collecting():
    """Give a collector and its base URL, until the block ends."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.take(self.path, self.headers, body)
            if collector.answer == HANG:
                collector.released.wait(HANG_S_MAX)
                return
            self.send_response(collector.answer)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield collector, f"http://127.0.0.1:{server.server_port}"
    finally:
        collector.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
