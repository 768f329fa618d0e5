"""How the command line says no: one clear line on standard error, and an exit code."""

from typing import Final

FAILED: Final = 1
USAGE: Final = 2
NOT_ANCHORED: Final = 3
NOTHING_KNOWN: Final = 3


class CommandError(Exception):
    """What was asked can't be done. The text says why, and what to do next."""


def explanation(error: Exception) -> str | None:
    """Return the line that explains ``error`` to whoever typed the command; None for what is a bug."""
    from moneta.domain.errors import MonetaError, Refused  # noqa: PLC0415  # only a failing command pays for these
    from moneta.entrypoints.supervisor import StartError  # noqa: PLC0415  # likewise

    match error:
        case Refused():
            return f"{error.code}: {error.detail}"
        case CommandError() | StartError() | MonetaError():
            return str(error)
        case ModuleNotFoundError(name="botocore"):
            return "a hub on AWS needs botocore: install moneta-core[aws]"
        case OSError():
            return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        case _:
            return _client_explanation(error)


def _client_explanation(error: Exception) -> str | None:
    from moneta.client.errors import ClientError, HubProblemError, MessageRefusedError  # noqa: PLC0415  # likewise

    match error:
        case HubProblemError():
            return f"the hub refused it: {error}"
        case MessageRefusedError():
            return f"{error.code}: {error}"
        case ClientError():
            return str(error)
        case _:
            return None
