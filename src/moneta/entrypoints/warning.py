"""The thread that warns organizations of certificates that end, beside the processor."""

from collections.abc import Callable
from typing import Final

import structlog

from moneta.application.certificate_warnings import warn_of_certificates
from moneta.application.ports import Hub
from moneta.domain.limits import WARN_EVERY_S
from moneta.entrypoints.repeating import Repeating

FIRST_S: Final = 30.0

log = structlog.get_logger()


def warning_thread(
    hub: Hub, *, on_owed: Callable[[], None], first_s: float = FIRST_S, every_s: float = WARN_EVERY_S
) -> Repeating:
    """Return the thread. ``on_owed`` is called when a warning is owed."""

    def turn(_pause: Callable[[float], bool]) -> None:
        owed = warn_of_certificates(hub)
        if owed:
            log.info("certificate_warnings_owed", owed=owed)
            on_owed()

    return Repeating("warning", turn, first_s=first_s, every_s=every_s)
