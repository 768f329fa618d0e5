"""``moneta up``: starts the web process, the processor and the deliverer, restarts what dies, and stops them all.

- One supervisor a store: it holds a lock on the data directory, which the kernel releases however it ends.
- The supervisor binds the address and keeps the socket: while a web process is started again, connections wait in its
  backlog instead of being refused.
- The processes wake each other through pipes, without polling: each has a pipe that the others write to.
- A child that dies is started again after a back-off that doubles, up to a bound, and is forgotten after a quiet time.
- SIGTERM: first the web process, so that nothing new is accepted, then the others; all within ``STOP_S_MAX``.
- If the supervisor itself is killed, the children see their lifeline close, and stop.
- The web process, whose imports take longest, is started first and given its settings later. Meanwhile the supervisor
  imports what it needs itself to look at the store, so nothing heavy is imported at the top of this module.
"""

import fcntl
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

from moneta.domain.limits import (
    RESTART_WAIT_S_MAX,
    START_S_MAX,
    STOP_S_MAX,
)
from moneta.entrypoints.listener import listening_socket
from moneta.entrypoints.logs import configure_logs, spare_rich
from moneta.settings import Settings

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


class StartError(Exception):
    """The hub can't be started. The text says why, and what to do."""


@dataclass(slots=True)
class Child:
    """One supervised process: its ``module`` and what follows on the command line, then the lifeline and its pipes."""

    name: str
    module: tuple[str, ...]
    pipes: tuple[int, ...]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    backoff_s: float = BACKOFF_S
    restart_at: float | None = field(default=None)

    def has_ended(self) -> bool:
        """Tell whether it was started and is no longer there."""
        return self.process is not None and self.process.poll() is not None

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def supervise(settings: Settings, *, on_ready: Callable[[str], None]) -> int:
    """Run the hub until SIGTERM or SIGINT; return the exit code.

    ``on_ready`` is called once with the base URL, when the web process takes requests and the worker works.

    Raises:
        StartError: Another ``moneta up`` runs on this data directory, or the address is not to be had.
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
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
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


class _Supervisor:
    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        self._log: FilteringBoundLogger
        self._lifeline, self._lifeline_end = os.pipe()
        processor, self._processor_end = os.pipe()
        deliverer, self._deliverer_end = os.pipe()
        self._ready, ready = os.pipe()
        self._signalled, self._signal_end = os.pipe()
        self._is_stopping = False
        for descriptor in (self._processor_end, self._deliverer_end, self._ready, self._signalled, self._signal_end):
            os.set_blocking(descriptor, False)
        web = (self._processor_end, self._deliverer_end, ready, listener.fileno())
        self._children = (
            Child("web", ("moneta.entrypoints.http",), web),
            Child("processor", ("moneta.entrypoints.worker", "processor"), (processor, self._deliverer_end, ready)),
            Child("deliverer", ("moneta.entrypoints.worker", "deliverer"), (deliverer, self._processor_end, ready)),
        )

    def run(self, on_ready: Callable[[], None]) -> int:
        signal.set_wakeup_fd(self._signal_end)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop_signal)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only to be woken
        for child in self._children:
            self._start(child)
        try:
            self._log = self._prepare()
        except BaseException:
            for child in self._children:
                child.kill()
            raise
        for child in self._children:
            self._tell_settings(child)
        if not self._wait_until_ready():
            self._stop_all()
            return 0 if self._is_stopping else 1
        on_ready()
        while not self._is_stopping:  # until a signal
            self._sleep(self._revive(), self._ready)
            _drain(self._ready)
        self._stop_all()
        return 0

    def _prepare(self) -> "FilteringBoundLogger":
        """Record the base URL in the store, which shows that it is there and of our version; return the logger."""
        spare_rich()
        log = configure_logs(self._settings.log_level, process="supervisor")
        from moneta.bootstrap import record_base_url  # noqa: PLC0415  # see the module's docstring

        base_url = self._settings.base_url or ""
        before = record_base_url(self._settings.data_dir, base_url)
        if before != base_url:
            log.warning("base_url_changed", before=before, now=base_url)
        for name in ("allow_http_webhooks", "allow_private_webhooks"):
            if getattr(self._settings, name):
                log.warning("webhooks_less_safe", setting=name)
        return log

    def _on_stop_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._is_stopping = True

    def _start(self, child: Child) -> None:
        # -P: the folder that the hub is started in is no place to import from.
        pipes = (self._lifeline, *child.pipes)
        command = [sys.executable, "-P", "-m", *child.module, *map(str, pipes)]
        child.process = subprocess.Popen(  # noqa: S603  # our own modules, under our own interpreter
            command, pass_fds=pipes, stdin=subprocess.PIPE, start_new_session=True
        )
        child.started_at = time.monotonic()
        child.restart_at = None

    def _tell_settings(self, child: Child) -> None:
        if child.process is None or child.process.stdin is None:
            return
        with suppress(BrokenPipeError), child.process.stdin as file:  # it has died, and is started again
            file.write(f"{self._settings.to_json()}\n".encode())
        self._log.info("process_started", name=child.name, pid=child.process.pid)

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
                self._tell_settings(child)
            if child.restart_at is not None:
                waits.append(child.restart_at - now)
        return min(waits)

    def _bury(self, child: Child, now: float) -> None:
        exit_code = None if child.process is None else child.process.returncode
        is_long_ago = now - child.started_at > QUIET_S
        child.backoff_s = BACKOFF_S if is_long_ago else min(child.backoff_s * 2, RESTART_WAIT_S_MAX)
        child.process = None
        child.restart_at = now + child.backoff_s
        for wake in (self._processor_end, self._deliverer_end):
            with suppress(BlockingIOError):  # what died between its commit and its byte left work behind
                os.write(wake, b"\x01")
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
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._log.warning("process_killed", name=child.name)
                child.kill()


def _drain(descriptor: int) -> bytes:
    """Return what a pipe holds, without waiting."""
    with suppress(BlockingIOError):
        return os.read(descriptor, PIPE_BYTES)
    return b""
