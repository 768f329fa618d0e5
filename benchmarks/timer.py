"""A timer of the kernel's, since the event loop's own rounds to the millisecond (timerfd_create(2))."""

import ctypes
import os
from typing import Final

_CLOCK_MONOTONIC: Final = 1
_TFD_TIMER_ABSTIME: Final = 1
_NS_PER_S: Final = 1_000_000_000


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("first", _Timespec))


class PeriodicTimer:
    """Expires at ``first_ns`` of CLOCK_MONOTONIC and every ``interval_ns`` after it; readable whenever it has."""

    def __init__(self, *, first_ns: int, interval_ns: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = _checked(libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
        spec = _TimerSpec(_timespec(interval_ns), _timespec(first_ns))
        _checked(libc.timerfd_settime(self.descriptor, _TFD_TIMER_ABSTIME, ctypes.byref(spec), None))

    def expirations(self) -> int:
        """Return how often it has expired since the last call."""
        try:
            return int.from_bytes(os.read(self.descriptor, 8), "little")
        except BlockingIOError:
            return 0

    def close(self) -> None:
        """Give it back."""
        os.close(self.descriptor)


def _timespec(nanoseconds: int) -> _Timespec:
    return _Timespec(*divmod(nanoseconds, _NS_PER_S))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
