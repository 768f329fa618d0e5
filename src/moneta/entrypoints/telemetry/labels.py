"""What outcomes and attempts are called, in figures, in lines of the log and in spans; and a guard for all three."""

import functools
from collections.abc import Callable
from typing import Final, ParamSpec

import msgspec
import structlog

from moneta.application.ports import Attempt

Parameters = ParamSpec("Parameters")

log = structlog.get_logger()


class _Problem(msgspec.Struct):
    """What a problem document is counted by."""

    code: str


_problem: Final = msgspec.json.Decoder(_Problem)


def problem_code(problem: bytes) -> str:
    """Return the code of a problem document."""
    return _problem.decode(problem).code


def attempt_class(attempt: Attempt) -> str:
    """Return the class of an attempt: its status's first digit, or why no answer came."""
    status = attempt.http_status
    return f"{status // 100}xx" if status is not None else (attempt.failure or "unknown")


def harmless(note: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Let no fault of what only looks on reach what it looks at."""

    @functools.wraps(note)
    def noted(*arguments: Parameters.args, **named: Parameters.kwargs) -> None:
        try:
            note(*arguments, **named)
        except Exception as error:
            log.exception("observer_failed", error=type(error).__name__)

    return noted
