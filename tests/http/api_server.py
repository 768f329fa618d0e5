"""A hub served over real HTTP on loopback, in a thread, on a store in a temporary folder."""

import threading
from contextlib import contextmanager
from dataclasses import replace

import httpx

from moneta.entrypoints.heartbeats import WORKERS, Heartbeat, HeartbeatFile
from moneta.entrypoints.http.app import WebApp
from moneta.entrypoints.http.server import make_server
from moneta.entrypoints.listener import listening_socket
from tests.hub import MO, PUBLISHER, make_hub

START_S_MAX = 10
YEAR_MS = 365 * 86_400_000
CALL_S_MAX = 60  # the suite may share its cores with others


class Served:
    """A running hub: ``test_hub`` to prepare it, ``client`` to call it."""

    def __init__(self, test_hub, client, port):
        self.test_hub, self.client, self.port = test_hub, client, port
        self.woken = threading.Event()

    def headers(self, holder, **more):
        return {"authorization": f"Bearer {self.test_hub.token(holder)}", **more}

    def call(self, method, path, holder=None, **more):
        headers = {**({} if holder is None else self.headers(holder)), **more.pop("headers", {})}
        return self.client.request(method, path, headers=headers, **more)

    def send_event(self, raw, holder=None, **headers):
        given = {"content-type": "application/cloudevents+json", **headers}
        return self.call("POST", "/event", holder, content=raw, headers=given)


def show_signs_of_life(folder, test_hub, **beat):
    """Leave the heartbeats of a worker, however far the test moves the clock."""
    for name in WORKERS:
        HeartbeatFile(folder, name).write(Heartbeat(**{"at_ms": test_hub.clock.now_ms() + YEAR_MS, **beat}))


@contextmanager
def serving(folder, *, tls=None, signer=None, store="embedded", checkers=1, **limits):
    """Give a hub that answers; ``tls``: the paths of a certificate and its key, and the context that trusts it.

    ``signer``, ``checkers``: others than ``make_hub``'s. ``store``: see there. ``limits``: those of ``WebApp``.
    """
    test_hub = make_hub(folder, store=store)
    test_hub.hub = replace(test_hub.hub, checkers=checkers)
    if signer is not None:
        test_hub.hub = replace(test_hub.hub, signer=signer)
    show_signs_of_life(folder, test_hub)
    cert, key, context = tls or (None, None, None)
    listener = listening_socket("127.0.0.1", 0)
    port = listener.getsockname()[1]
    scheme = "http" if tls is None else "https"
    client = httpx.Client(base_url=f"{scheme}://localhost:{port}", timeout=CALL_S_MAX, verify=context or False)
    served = Served(test_hub, client, port)
    app = WebApp(
        test_hub.hub,
        wake_processor=served.woken.set,
        wake_deliverer=lambda: None,
        data_dir=folder,
        **limits,
    )
    is_ready = threading.Event()
    server = make_server(app, ready=lambda _port: is_ready.set(), tls_cert=cert, tls_key=key)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        assert is_ready.wait(START_S_MAX), "the server did not start"
        yield served
    finally:
        client.close()
        server.should_exit = True
        thread.join(START_S_MAX)
        app.close()
        listener.close()
        test_hub.close()


def parties(test_hub, mo="MOA", publisher="PUBA"):
    """Give an active MO and publisher."""
    return test_hub.register(MO, mo), test_hub.register(PUBLISHER, publisher)
