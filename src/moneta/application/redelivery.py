"""Messages sent again because somebody asks: one, or all of a contract or a time (protocol, section 14).

1. A message that is owed again is the same one: its ``webhook-id``, its bytes, its place in the order of its contract.
2. It is owed like a new one: due at once, and tried by the whole schedule if that fails. The attempts before stay in
   the record, and the status tells of the last round: a message that arrived and is then asked for in vain is dead.
3. A replay goes through its range in the order in which the messages were owed, in small writes, and ends after
   ``REPLAY_MAX`` of them with a cursor to go on from. After a crash half of them are owed; asked again, those that were
   delivered meanwhile come once more.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from moneta.application.access import Operation, authorize, check_right, not_found, visible_to
from moneta.application.authenticate import Caller
from moneta.application.changes import creation
from moneta.application.documents import Document, check_names, chosen_id, has, optional_text, whole_number
from moneta.application.ports import DeliveryRecord, DeliveryStatus, Hub, ReplayQuery
from moneta.application.queries import delivery_document
from moneta.domain.errors import InvalidFieldError, TransitionRefusedError
from moneta.domain.identifiers import ContractId, OrganizationId, UnixSeconds, WebhookId
from moneta.domain.ijson import Value
from moneta.domain.limits import ATTEMPTS_MAX, CURSOR_CHARS_MAX, REPLAY_MAX, REPLAY_WRITE_MAX

RANGE: Final = ("from", "to")
SECONDS_MAX: Final = 253_402_300_799
"""The last second of the year 9999."""
REPLAY_MEMBERS: Final = ("contract_id", *RANGE, "organization_id", "cursor")


def redeliver(hub: Hub, caller: Caller, webhook_id: WebhookId) -> Document:
    """Owe a message again, whatever became of it, and return it as it is now.

    Raises:
        NotFoundError: There is none, or it is another's.
        TransitionRefusedError: It has been tried ``ATTEMPTS_MAX`` times.
    """
    check_right(caller, Operation.REDELIVER)
    delivery = _find(hub, webhook_id)
    authorize(caller, Operation.REDELIVER, owner=delivery.owed.organization_id)
    if delivery.status is not DeliveryStatus.PENDING and len(delivery.attempts) >= ATTEMPTS_MAX:
        raise TransitionRefusedError(
            f"delivery {webhook_id}: expected fewer than {ATTEMPTS_MAX} attempts, got {len(delivery.attempts)}",
            state=delivery.status,
            allowed=[],
        )
    hub.deliveries.owe_again([webhook_id], now=hub.clock.now_ms())
    return Document(body=delivery_document(_find(hub, webhook_id)))


def replay_deliveries(
    hub: Hub, caller: Caller, members: Mapping[str, Value], *, idempotency_key: str | None = None
) -> Document:
    """Owe a range of the caller's messages again, and return how many, with the cursor to go on from.

    Raises:
        NotFoundError: ``organization_id`` is another.
        InvalidParameterError: The cursor is not one that this range gave.
    """
    query = _query(caller, members)
    asked = creation(caller, Operation.REPLAY_DELIVERIES, idempotency_key, target="", members=members)
    before = None if asked is None else asked.remembered(hub)
    if before is not None:
        return replace(before, revision=None)
    body = _replay(hub, query)
    if asked is not None:
        hub.directory.remember(asked.remember(hub, body))
    return Document(body=body)


def _find(hub: Hub, webhook_id: WebhookId) -> DeliveryRecord:
    delivery = hub.deliveries.find(webhook_id)
    if delivery is None:
        raise not_found()
    return delivery


def _replay(hub: Hub, query: ReplayQuery) -> Mapping[str, object]:
    count, cursor = 0, query.cursor
    for _ in range(REPLAY_MAX // REPLAY_WRITE_MAX):
        page = hub.deliveries.to_replay(replace(query, cursor=cursor))
        count += hub.deliveries.owe_again(page.items, now=hub.clock.now_ms())
        cursor = page.next_cursor
        if cursor is None:
            break
    return {"count": count, "next_cursor": cursor}


def _query(caller: Caller, members: Mapping[str, Value]) -> ReplayQuery:
    only = visible_to(caller, Operation.REPLAY_DELIVERIES)
    check_names(members, REPLAY_MEMBERS)
    if has(members, "organization_id"):
        only = OrganizationId(chosen_id(members, "organization_id"))
        authorize(caller, Operation.REPLAY_DELIVERIES, owner=only)
    query = ReplayQuery(
        visible_to=only,
        limit=REPLAY_WRITE_MAX,
        cursor=optional_text(members, "cursor", chars_max=CURSOR_CHARS_MAX),
    )
    if any(has(members, name) for name in RANGE):
        return _in_range(query, members)
    return replace(query, contract_id=ContractId(chosen_id(members, "contract_id")))


def _in_range(query: ReplayQuery, members: Mapping[str, Value]) -> ReplayQuery:
    if has(members, "contract_id"):
        raise InvalidFieldError("contract_id: expected it or from and to, got both", field="contract_id")
    owed_from, owed_to = (UnixSeconds(whole_number(members, name, most=SECONDS_MAX)) for name in RANGE)
    if owed_from > owed_to:
        raise InvalidFieldError(f"to: expected {owed_from} or later, got {owed_to}", field="to")
    return replace(query, owed_from=owed_from, owed_to=owed_to)
