"""Events that no try could process, for whoever runs the hub (protocol, section 14).

Each was answered 202, so it is kept until it has an outcome: it waits here, with what it met, until a bug is mended and
somebody redrives it. Its payload is not shown.
"""

from collections.abc import Mapping
from typing import Final

from moneta.application.access import Operation, check_right, not_found
from moneta.application.authenticate import Caller
from moneta.application.documents import Document, check_parameters, list_cursor, list_limit, seconds
from moneta.application.ports import DeadLetter, Hub

QUEUE: Final = "events"
"""The one queue whose messages can die. A delivery that died is a delivery, and is redelivered."""


def list_dead_letters(hub: Hub, caller: Caller, parameters: Mapping[str, str]) -> Document:
    """Return a page of the dead letters, oldest first.

    Raises:
        InvalidParameterError: A parameter is unknown or out of range, or the cursor is not one of this list.
    """
    check_right(caller, Operation.LIST_DEAD_LETTERS)
    check_parameters(parameters, ("limit", "cursor"))
    page = hub.queue.dead_letters(limit=list_limit(parameters), cursor=list_cursor(parameters))
    return Document(body={"items": [_letter_document(one) for one in page.items], "next_cursor": page.next_cursor})


def redrive(hub: Hub, caller: Caller, letter_id: str) -> Document:
    """Give a dead letter back to its queue, as if it had never been tried, and return it as it was.

    Raises:
        NotFoundError: There is none: it was redriven before, or its event has an outcome.
    """
    check_right(caller, Operation.REDRIVE)
    letter = hub.queue.redrive(letter_id)
    if letter is None:
        raise not_found()
    return Document(body=_letter_document(letter))


def _letter_document(letter: DeadLetter) -> dict[str, object]:
    return {
        "id": letter.letter_id,
        "queue": QUEUE,
        "source": letter.source,
        "event_id": letter.event_id,
        "contract_id": letter.contract_id,
        "tries": letter.tries,
        "died_at": seconds(letter.died_at),
        "reason": letter.reason,
    }
