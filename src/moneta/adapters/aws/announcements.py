"""Lines in which something is due, as messages of the queue of webhooks: what to look at, and nothing more."""

from collections.abc import Mapping
from typing import Final

import msgspec

from moneta.adapters.aws.sqs import Message, Queue, batches
from moneta.application.ports import Line
from moneta.domain.identifiers import ContractId, OrganizationId

_encoder: Final = msgspec.json.Encoder()


class Announcer:
    """Announces lines."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def announce(self, delays_s: Mapping[Line, int]) -> None:
        """Have each line looked at so many seconds from now, at most ``ANNOUNCE_S_MAX``.

        Raises:
            StoreUnavailableError: Not each of them is known to be announced.
        """
        for batch in batches([_message_of(line, delay_s) for line, delay_s in delays_s.items()]):
            self._queue.send(batch)


class _Announcement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    organization_id: OrganizationId
    contract_id: ContractId | None


_decoder: Final = msgspec.json.Decoder(_Announcement)


def line_of_message(body: str) -> Line:
    """Return the line that a message announces. Raises ValueError if ``Announcer`` did not send it."""
    try:
        found = _decoder.decode(body)
    except msgspec.DecodeError as error:
        raise ValueError(f"not a line's message: {error}") from error
    return Line(organization_id=found.organization_id, contract_id=found.contract_id)


def _message_of(line: Line, delay_s: int) -> Message:
    body = _encoder.encode(_Announcement(line.organization_id, line.contract_id)).decode("utf-8")
    return Message(body=body, group=line.organization_id, delay_s=delay_s)
