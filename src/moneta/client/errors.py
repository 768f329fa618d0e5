"""What can go wrong on the partner's side: one class per reason that a caller would act on differently.

``MessageRefusedError`` means that a message or contract does not prove what it claims: nothing was signed, and nothing
may be booked for it. ``HubProblemError`` is the hub's no. ``HubUnreachableError``, ``KeysUnavailableError`` and
``WaitTimeoutError`` mean "not now".
"""

from collections.abc import Mapping

from moneta.domain.ijson import Value


class ClientError(Exception):
    """What every error of ``moneta.client`` is."""


class KeyFileError(ClientError):
    """A key file can't be read or written, holds no allowed key, or is readable by others."""


class InvalidContractError(ClientError):
    """What the caller wants to sign is not a contract or act that the hub would take."""


class NotOurTurnError(ClientError):
    """This party has nothing to sign, or has signed."""


class MessageRefusedError(ClientError):
    """A message, contract, act or receipt does not verify.

    ``code`` names the reason, in the hub's words where it has one. ``http_status``: what a webhook endpoint answers.
    """

    http_status = 400

    def __init__(self, detail: str, *, code: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code


class WebhookSignatureError(MessageRefusedError):
    """A webhook that is not the hub's, or not of now: no signature by our secret, or a time that is off."""

    http_status = 401


class MessageTooLargeError(MessageRefusedError):
    """A webhook of more bytes than any message of the hub has."""

    http_status = 413


class HubProblemError(ClientError):
    """The hub said no (RFC 9457). ``code`` names the reason; ``facts`` are the document's further members.

    ``status`` is the HTTP status, of the answer or, for a rejected event, the one it would have had.
    """

    def __init__(self, *, code: str, status: int, detail: str, facts: Mapping[str, Value]) -> None:
        super().__init__(f"{code} ({status}): {detail}")
        self.code = code
        self.status = status
        self.detail = detail
        self.facts = facts


class HubUnreachableError(ClientError):
    """No usable answer from the hub after every try. An event may have been accepted: send the same bytes again."""


class KeysUnavailableError(ClientError):
    """The keys to verify with could not be fetched: nothing is known about the message, so it must come again."""


class StatusUnavailableError(ClientError):
    """No status list that may be relied upon now: nothing is known about the mPass, so it must be shown again."""


class WaitTimeoutError(ClientError):
    """What was waited for did not happen in time."""


class ContractEndedError(ClientError):
    """The contract ended in another way than was waited for. ``status`` says how."""

    def __init__(self, detail: str, *, status: str) -> None:
        super().__init__(detail)
        self.status = status


class ReplayStoreError(ClientError):
    """The replay store's file is not one, or can't be written."""
