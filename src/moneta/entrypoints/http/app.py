"""The web application: events and probes from the first moment, the management calls as soon as they are loaded.

What a hub must answer at once (``POST /event``, ``/health``, ``/ready``, ``/metrics``) is answered without Litestar,
whose import would take half of the time from start to ready. The rest is loaded in a thread after that; a call that
comes earlier waits for it.
"""

import asyncio
import gc
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from moneta.application.ingest_events import EventRequest, ingest_events
from moneta.application.ports import Hub
from moneta.domain.errors import NotFoundError
from moneta.entrypoints import event_exchange
from moneta.entrypoints.answers import problem_answer
from moneta.entrypoints.failures import internal_error
from moneta.entrypoints.heartbeats import DELIVERER, PROCESSOR, HeartbeatFile
from moneta.entrypoints.http.asgi import Application, Receive, Scope, Send, send_answer
from moneta.entrypoints.http.back_pressure import BackPressure
from moneta.entrypoints.http.calls import Calls
from moneta.entrypoints.http.event_batches import EventBatches, Verdict
from moneta.entrypoints.http.event_route import EventRoute
from moneta.entrypoints.http.gate import Gate
from moneta.entrypoints.http.metrics import Metrics
from moneta.entrypoints.http.open_routes import PROBES, Service, answer_open
from moneta.entrypoints.http.readiness import CHECKS, Check, Readiness, Surroundings
from moneta.entrypoints.telemetry.figures import Figures
from moneta.entrypoints.telemetry.tracing import Traces
from moneta.settings import RATE_BURST_DEFAULT, RATE_LIMIT_DEFAULT

PROBES_BY_PATH: Final = {route.path: route for route in PROBES}
READING: Final = frozenset({"GET", "HEAD"})


class WebApp:
    """The ASGI application of one hub, with the threads that answer for it. ``close`` ends them.

    ``wake_processor``: see ``EventBatches``; both are called after a change by a management call too.
    ``data_dir``: where the worker's processes leave their heartbeats and figures. ``checks``: those of ``GET /ready``.
    ``rate_limit``, ``rate_burst``: see ``Settings``. ``traces``: told of each accepted event.
    """

    def __init__(
        self,
        hub: Hub,
        *,
        wake_processor: Callable[[], None],
        wake_deliverer: Callable[[], None],
        data_dir: Path,
        figures: Figures | None = None,
        checks: Sequence[Check] = CHECKS,
        rate_limit: int = RATE_LIMIT_DEFAULT,
        rate_burst: int = RATE_BURST_DEFAULT,
        traces: Traces | None = None,
    ) -> None:
        hub = replace(hub, wake_deliverer=wake_deliverer)
        self._hub = hub
        self._wakers = (wake_processor, wake_deliverer)
        self._metrics = Metrics(data_dir, figures)
        self._batches = EventBatches(self._ingest, wake=wake_processor, randomness=hub.randomness)
        self._metrics.waiting = lambda: self._batches.waiting
        beats = (HeartbeatFile(data_dir, PROCESSOR), HeartbeatFile(data_dir, DELIVERER))
        self._pressure = BackPressure(hub.clock, beats, lambda: (self._batches.waiting, self._batches.waited_ms()))
        self._gate = Gate.of(hub, rate_limit=rate_limit, rate_burst=rate_burst)
        self._calls = Calls(hub, self._metrics, self._gate)
        readiness = Readiness(Surroundings(hub=hub, data_dir=data_dir), checks)
        self._service = Service(hub=hub, metrics=self._metrics, readiness=readiness)
        self._event = EventRoute(
            self._batches, self._metrics, hub.randomness, self._gate, self._pressure, traces=traces
        )
        self._management: Application = self._once_loaded
        self._loading: asyncio.Future[Application] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. The hot path goes past Litestar's router, which takes as long as all the rest of it."""
        path = scope["path"]
        if path == event_exchange.PATH:
            await self._event(scope, receive, send)
        elif path in PROBES_BY_PATH and scope["method"] in READING:
            await send_answer(await answer_open(self._calls, self._service, PROBES_BY_PATH[path], scope), send)
        elif _has_empty_part(path):
            await send_answer(problem_answer(NotFoundError("there is no such path")), send)
        else:
            await self._management(scope, receive, send)

    def load(self) -> "asyncio.Future[Application]":
        """Begin to load the management calls, unless that has begun; from the event loop."""
        if self._loading is None:
            self._loading = asyncio.get_running_loop().run_in_executor(None, self._make_management)
        return self._loading

    def close(self) -> None:
        """Let what is under way end."""
        self._batches.close()
        self._calls.close()
        self._gate.callers.close()

    def _ingest(self, requests: Sequence[EventRequest]) -> Sequence[Verdict]:
        self._metrics.gathered(len(requests))
        return ingest_events(self._hub, requests)

    async def _once_loaded(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._management = await asyncio.shield(self.load())  # a client that goes away must not cancel it for all
        except Exception as error:  # noqa: BLE001  # no memory or no descriptor: the next call may have better luck
            self._loading = None
            problem = internal_error(error, self._hub.randomness, where="load")
            await send_answer(problem_answer(problem), send)
        else:
            await self._management(scope, receive, send)

    def _make_management(self) -> Application:
        from moneta.entrypoints.http.management import Management  # noqa: PLC0415  # see the module's docstring

        management = Management(self._calls, self._service, on_change=self._wake_both)
        gc.freeze()  # what was made at the start lives to the end: no collection need look at it again
        return management

    def _wake_both(self) -> None:
        for wake in self._wakers:
            wake()


def _has_empty_part(path: str) -> bool:
    """Tell whether Litestar would drop parts of ``path``: a thing has one path, for whoever filters by it too."""
    return "//" in path or (path.endswith("/") and path != "/")
