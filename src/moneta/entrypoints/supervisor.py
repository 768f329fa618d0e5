"""``moneta up``: starts the web process, the processor and the deliverer, restarts what dies, and stops them all.

- One supervisor a store: it holds a lock on the data directory, which the kernel releases however it ends.
- The supervisor binds the address and keeps the socket: while a web process is started again, connections wait in its
  backlog instead of being refused.
- The processes wake each other through pipes, without polling: each has a pipe that the others write to.
- A child that dies is started again after a back-off that doubles, up to a bound, and is forgotten after a quiet time.
- SIGTERM: first the web process, so that nothing new is accepted, then the others; all within ``STOP_S_MAX``.
- If the supervisor itself is killed, the children see their lifeline close, and stop.
- The children are forked from the supervisor once it has imported what all of them need (ADR 0040): that is paid for
  once, in time and in memory. So it has no threads and no store open when it forks, and nothing heavy is imported at
  the top of this module: the lock and the address come first.
"""

import fcntl
import gc
import importlib
import multiprocessing
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final, NoReturn

from moneta.domain.limits import (
    RESTART_WAIT_S_MAX,
    START_S_MAX,
    STOP_S_MAX,
)
from moneta.entrypoints.listener import allow_connections, listening_socket
from moneta.entrypoints.logs import configure_logs, spare_rich
from moneta.entrypoints.pipes import waker
from moneta.settings import Settings, StoreKind

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

LOCK_FILE: Final = "hub.lock"
BIND_S_MAX: Final = 2.0
"""How long an address may stay in use: the web process of a supervisor that was killed leaves it within that."""
BIND_AGAIN_S: Final = 0.1
WEB_STOP_S_MAX: Final = 4.0
BACKOFF_S: Final = 0.1
QUIET_S: Final = 5.0
PIPE_BYTES: Final = 4_096
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

_fork: Final = multiprocessing.get_context("fork")


class StartError(Exception):
    """The hub can't be started. The text says why, and what to do."""


@dataclass(slots=True)
class Child:
    """One supervised process. ``module``: its ``main`` is given the settings, and ``descriptors`` by their names."""

    name: str
    module: str
    descriptors: Mapping[str, int]
    process: BaseProcess | None = None
    starts: int = 0
    started_at: float = 0.0
    backoff_s: float = BACKOFF_S
    restart_at: float | None = field(default=None)

    def has_ended(self) -> bool:
        """Tell whether it was started and is no longer there."""
        return self.process is not None and self.process.exitcode is not None


def supervise(settings: Settings, *, on_ready: Callable[[str], None]) -> int:
    """Run the hub until SIGTERM or SIGINT; return the exit code.

    ``on_ready`` is called once with the base URL, when the web process takes requests and the worker works.

    Raises:
        StartError: Another ``moneta up`` runs on this data directory, the address is not to be had, or traces are asked
            for and what sends them is not installed.
        FileNotFoundError, StoreVersionError: There is no store that this version can use.
    """
    with supervisor_lock(settings.data_dir), _bound(settings.host, settings.port) as listener:
        base_url = settings.base_url or _base_url(settings, listener)
        supervisor = _Supervisor(replace(settings, base_url=base_url), listener)
        return supervisor.run(lambda: on_ready(base_url))


@contextmanager
def supervisor_lock(data_dir: Path) -> Iterator[None]:
    """Hold the lock on the data directory that a supervisor holds while it runs.

    Raises:
        StartError: Another holds it.
    """
    if not data_dir.is_dir():
        raise FileNotFoundError(f"{data_dir} holds no store; moneta init makes one")
    with (data_dir / LOCK_FILE).open("ab") as file:
        try:
            # A lock of the process, not of the open file as flock's is: the forked children have no part in it.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StartError(f"another moneta up runs on {data_dir}; stop it first") from error
        yield


@contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    """Give the socket at the address."""
    deadline = time.monotonic() + BIND_S_MAX
    listener = _try_to_bind(host, port)
    while isinstance(listener, OSError) and time.monotonic() < deadline:
        time.sleep(BIND_AGAIN_S)
        listener = _try_to_bind(host, port)
    if isinstance(listener, OSError):
        reason = listener.strerror or listener
        raise StartError(f"{host}:{port}: {reason}; choose another --host or --port") from listener
    with listener:
        yield listener


def _try_to_bind(host: str, port: int) -> socket.socket | OSError:
    try:
        return listening_socket(host, port)
    except OSError as error:
        return error


def _base_url(settings: Settings, listener: socket.socket) -> str:
    scheme = "http" if settings.tls_cert is None else "https"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{scheme}://{host}:{listener.getsockname()[1]}"


def _prepare_traces(endpoint: str) -> None:
    """Import what sends traces, once for all children. Raises StartError if it is not installed."""
    from moneta.entrypoints.telemetry import process  # noqa: PLC0415  # see the module's docstring

    if not process.can_export():
        raise StartError(
            "--otlp-endpoint, or OTEL_EXPORTER_OTLP_ENDPOINT, asks for traces, and what sends them is not installed: "
            "pip install --require-hashes -r requirements/telemetry.txt"
        )
    process.prepare_to_export(endpoint)


class _Supervisor:
    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        self._log: FilteringBoundLogger
        lifeline, lifeline_end = os.pipe()
        processor, processor_end = os.pipe()
        deliverer, deliverer_end = os.pipe()
        self._wakers = (waker(processor_end), waker(deliverer_end))
        self._ready, ready = os.pipe()
        self._signalled, self._signal_end = os.pipe()
        self._is_stopping = False
        for descriptor in (self._ready, self._signalled, self._signal_end):
            os.set_blocking(descriptor, False)
        common = {"lifeline": lifeline, "ready": ready}
        web = {"processor": processor_end, "deliverer": deliverer_end, "listener": listener.fileno()}
        self._children = (
            Child("web", "moneta.entrypoints.http.process", common | web),
            Child(
                "processor",
                "moneta.entrypoints.worker.processing",
                common | {"wake": processor, "deliverer": deliverer_end},
            ),
            Child(
                "deliverer",
                "moneta.entrypoints.worker.delivering",
                common | {"wake": deliverer, "processor": processor_end},
            ),
        )
        own = (lifeline_end, self._ready, self._signalled, self._signal_end)
        self._descriptors = {*own, *(one for child in self._children for one in child.descriptors.values())}

    def run(self, on_ready: Callable[[], None]) -> int:
        allow_connections()
        signal.set_wakeup_fd(self._signal_end)
        for number in STOP_SIGNALS:
            signal.signal(number, self._on_stop_signal)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only to be woken
        self._log = self._prepare()
        gc.freeze()  # a collection in a child would write to every page that it shares with the others
        for child in self._children:
            self._start(child)
        if not self._wait_until_ready():
            self._stop_all()
            return 0 if self._is_stopping else 1
        on_ready()
        while not self._is_stopping:  # until a signal
            self._sleep(self._revive(), self._ready)
            self._show()
            _drain(self._ready)
        self._stop_all()
        return 0

    def _prepare(self) -> "FilteringBoundLogger":
        """Record what the hub is started with, which shows that its store is there and is ours; return the logger."""
        spare_rich()
        log = configure_logs(self._settings.log_level, process="supervisor")
        if self._settings.otlp_endpoint is not None:
            _prepare_traces(self._settings.otlp_endpoint)
        if self._settings.store is StoreKind.EMBEDDED:
            self._record_base_url(log)
        self._settings.save()
        for name in ("allow_http_webhooks", "allow_private_webhooks"):
            if getattr(self._settings, name):
                log.warning("webhooks_less_safe", setting=name)
        return log

    def _record_base_url(self, log: "FilteringBoundLogger") -> None:
        from moneta.bootstrap.data_directory import record_base_url  # noqa: PLC0415  # see the module's docstring

        base_url = self._settings.base_url or ""
        before = record_base_url(self._settings.data_dir, base_url)
        if before != base_url:
            log.warning("base_url_changed", before=before, now=base_url)

    def _on_stop_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._is_stopping = True

    def _start(self, child: Child) -> None:
        child.process = _fork.Process(target=self._become, args=(child,), name=child.name, daemon=True)
        # A signal to a child that still has our handlers would be lost: it waits until the child has its own.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        child.process.start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        child.starts += 1
        child.started_at = time.monotonic()
        child.restart_at = None
        self._log.info("process_started", name=child.name, pid=child.process.pid)

    def _become(self, child: Child) -> NoReturn:
        """Be the child: in the forked process, which keeps nothing of the supervisor's but what it is given."""
        os.setsid()  # Ctrl-C is for the supervisor
        signal.set_wakeup_fd(-1)
        for number in (*STOP_SIGNALS, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        for descriptor in self._descriptors.difference(child.descriptors.values()):
            os.close(descriptor)
        with suppress(OSError):  # what ps and top call it; on Linux alone
            Path("/proc/self/comm").write_text(f"hub-{child.name}", encoding="ascii")
        try:
            sys.exit(importlib.import_module(child.module).main(self._settings, **child.descriptors))
        except Exception:  # noqa: BLE001  # multiprocessing would print its message, which may quote anything
            self._log.exception("process_failed", name=child.name)
            sys.exit(1)

    def _wait_until_ready(self) -> bool:
        """Wait until all said ready. A child that dies before that is a fault to show, not one to hide by retrying."""
        deadline = time.monotonic() + START_S_MAX
        lines = b""
        while not self._is_stopping and time.monotonic() < deadline:
            self._sleep(deadline - time.monotonic(), self._ready)
            lines += _drain(self._ready)
            if lines.count(b"\n") >= len(self._children):
                return True
            if any(child.has_ended() for child in self._children):
                break
        if not self._is_stopping:
            self._log.error("start_failed", waited_s_max=START_S_MAX)
        return False

    def _revive(self) -> float:
        """Start again what has died and whose back-off is over; return when to look again at the latest."""
        now = time.monotonic()
        waits = [QUIET_S]
        for child in self._children:
            if child.has_ended():
                self._bury(child, now)
            if child.restart_at is not None and child.restart_at <= now:
                self._start(child)
            if child.restart_at is not None:
                waits.append(child.restart_at - now)
        return min(waits)

    def _show(self) -> None:
        """Leave the figures where the web process finds them."""
        from moneta.entrypoints.telemetry import metrics, snapshots  # noqa: PLC0415  # see the module's docstring
        from moneta.entrypoints.telemetry.figures import Figures  # noqa: PLC0415

        figures = Figures(metrics.Source.SUPERVISOR)
        for child in self._children:
            figures.set(metrics.PROCESS_STARTS, child.name, to=child.starts)
        snapshots.measure_process(figures)
        snapshots.SnapshotFile(self._settings.data_dir, figures.source).write(figures.taken())

    def _bury(self, child: Child, now: float) -> None:
        exit_code = None if child.process is None else child.process.exitcode
        is_long_ago = now - child.started_at > QUIET_S
        child.backoff_s = BACKOFF_S if is_long_ago else min(child.backoff_s * 2, RESTART_WAIT_S_MAX)
        child.process = None
        child.restart_at = now + child.backoff_s
        for wake in self._wakers:
            wake()  # what died between its commit and its byte left work behind
        self._log.error("process_died", name=child.name, exit_code=exit_code, restart_in_s=child.backoff_s)

    def _sleep(self, seconds: float, *descriptors: int) -> None:
        """Sleep until a signal comes, one of ``descriptors`` has bytes, or the time is over."""
        with selectors.DefaultSelector() as selector:
            for descriptor in (self._signalled, *descriptors):
                selector.register(descriptor, selectors.EVENT_READ)
            selector.select(max(0.0, seconds))
        _drain(self._signalled)

    def _stop_all(self) -> None:
        deadline = time.monotonic() + STOP_S_MAX
        self._listener.close()  # or a connection would wait in its backlog for nobody
        web, *workers = self._children
        self._stop((web,), min(deadline, time.monotonic() + WEB_STOP_S_MAX))
        self._stop(workers, deadline)
        self._log.info("stopped")

    def _stop(self, children: Sequence[Child], deadline: float) -> None:
        """Ask them to stop, and kill them at the deadline: what was answered 202 is durable either way."""
        running = [(child, child.process) for child in children if child.process is not None]
        for _, process in running:
            process.terminate()
        for child, process in running:
            process.join(max(0.1, deadline - time.monotonic()))
            if process.exitcode is None:
                self._log.warning("process_killed", name=child.name)
                process.kill()
                process.join()


def _drain(descriptor: int) -> bytes:
    """Return what a pipe holds, without waiting."""
    with suppress(BlockingIOError):
        return os.read(descriptor, PIPE_BYTES)
    return b""
