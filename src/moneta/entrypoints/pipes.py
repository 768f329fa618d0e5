"""How the hub's processes wake each other: a byte in a pipe, without polling.

A command that works on the store beside a running hub has no pipe to it. It leaves a file, which the process that it
means looks for at each of its heartbeats: a name that is not there, ten times a second.
"""

import os
import selectors
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Final

PIPE_BYTES: Final = 65_536


def waker(descriptor: int) -> Callable[[], None]:
    """Return what wakes the process at the other end.

    A pipe that is full already says that there is work. One that nobody reads any more costs nothing: whoever is
    started in the other's place looks at the store first. (Python ignores SIGPIPE, so that the write fails instead.)
    """
    os.set_blocking(descriptor, False)

    def wake() -> None:
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(descriptor, b"\x01")

    return wake


class WakeFile:
    """What a command leaves for the process of that name. Where no hub runs, the next one finds it, and looks twice."""

    def __init__(self, data_dir: Path, name: str) -> None:
        self._path = data_dir / f"{name}.wake"

    def leave(self) -> None:
        """Ask the process to look at the store. A disk that is full costs the asker a minute: then it looks by itself.

        To be called after the change is committed.
        """
        with suppress(OSError):
            self._path.touch(mode=0o600)

    def take(self) -> bool:
        """Tell whether somebody asked, once for each asking, or for several."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True


class Pipes:
    """What a process without an event loop sleeps on: its wake pipe, its lifeline, and the signals to stop."""

    def __init__(self, *, lifeline: int, wake: int) -> None:
        self._lifeline = lifeline
        self._wake = wake
        self._signalled, self._signal_end = os.pipe()
        for descriptor in (wake, self._signalled, self._signal_end):
            os.set_blocking(descriptor, False)
        self._stop: Callable[[], None] = lambda: None
        self._selector = selectors.DefaultSelector()
        for descriptor in (lifeline, wake, self._signalled):
            self._selector.register(descriptor, selectors.EVENT_READ)

    def on_stop(self, stop: Callable[[], None]) -> None:
        """Have ``stop`` called at SIGTERM and SIGINT, and when the lifeline ends. From the main thread, once."""
        self._stop = stop
        signal.set_wakeup_fd(self._signal_end)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def wake(self) -> None:
        """End ``wait`` now, or the next one. From any thread."""
        with suppress(BlockingIOError):
            os.write(self._signal_end, b"\x00")

    def wait(self, seconds: float) -> None:
        """Sleep until somebody wakes us, or the time is over."""
        for key, _ in self._selector.select(seconds):
            if key.fd == self._lifeline:  # nobody writes to it: there is something to read only at its end
                self._stop()
            else:
                with suppress(BlockingIOError):
                    os.read(key.fd, PIPE_BYTES)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stop()
