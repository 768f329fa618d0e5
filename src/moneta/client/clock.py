"""The real clock, for a program's outermost layer; everything else takes a ``Clock``."""

import time
from collections.abc import Callable

from moneta.domain.identifiers import UnixSeconds

Clock = Callable[[], UnixSeconds]
Sleep = Callable[[float], None]


def system_clock() -> UnixSeconds:
    """Return the time now, in Unix seconds."""
    return UnixSeconds(int(time.time()))
