"""From an owed message to a recorded attempt (protocol, section 7).

``prepare_attempts`` makes the signed requests of a batch, ``record_attempts`` writes what came of them, in one write;
between the two the entrypoint sends, each on its own, so that a slow endpoint holds up nobody else.

1. Any 2xx is delivered; everything else, a redirect too, is a failed attempt. 410 disables the endpoint at once, and
   five days of nothing but failures do (``domain.endpoints``).
2. A failed attempt is tried again after the schedule's wait with full jitter, or after ``Retry-After`` up to an hour if
   that is later; after the last one the delivery is dead.
3. A 200 to ``signature_requested`` with a contract or an act in it is taken as an event of the receiver, whatever
   becomes of it, in the same write that records the attempt.
4. A check or test of an endpoint is tried once: who asked for it waits for the outcome, and asks again. What an
   organization is warned of is tried once too; the timer that warns owes it again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache, partial
from typing import Final

import msgspec

from moneta.application.ingest_events import event_in_answer
from moneta.application.isolation import isolating
from moneta.application.ports import (
    OF_ENDPOINT,
    Answer,
    Attempt,
    AttemptResult,
    DeliveryStatus,
    DueDelivery,
    Endpoint,
    Hub,
    NewEvent,
    NoAnswer,
    OutboundRequest,
    OwedDelivery,
    Randomness,
    WebhookType,
)
from moneta.application.webhook_secrets import signing_secrets
from moneta.domain.circuits import Sign
from moneta.domain.contracts import Contract, status_of
from moneta.domain.endpoints import DisabledReason, failing_limit
from moneta.domain.identifiers import (
    ContractId,
    EventId,
    OrganizationId,
    RegistrySeq,
    Revision,
    UnixMillis,
    UnixSeconds,
)
from moneta.domain.limits import ATTEMPT_ANSWER_BYTES_KEPT, MOMENTS_REMEMBERED_MAX, RETRY_AFTER_S_MAX, RETRY_SCHEDULE_S
from moneta.signing import base64url, webhooks

CONTENT_TYPE: Final = "application/cloudevents+json"
USER_AGENT: Final = "moneta-core"
GONE: Final = 410
OK: Final = 200
CHECKS: Final = frozenset({WebhookType.ENDPOINT_CHECK, WebhookType.ENDPOINT_TEST})
"""What shows that an endpoint answers."""
TIMED_OUT, TOO_MANY, ERROR, AWAY = 408, 429, 500, 503
CHANCE_BYTES: Final = 4
CHANCES: Final = 256**CHANCE_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedAttempt:
    """A delivery with the request that is to be sent for it."""

    due: DueDelivery
    request: OutboundRequest
    started_at: UnixMillis


def prepare_attempts(hub: Hub, due: Sequence[DueDelivery]) -> Sequence[PreparedAttempt]:
    """Return the signed requests for a batch of deliveries, in order."""
    now = hub.clock.now_ms()
    endpoints = hub.directory.endpoints(sorted({one.owed.organization_id for one in due}))
    owed = [one.owed for one in due]
    places = [(one.contract_id, one.revision) for one in owed if one.contract_id is not None and one.revision > 0]
    contracts = hub.contracts.read_at(places) if places else {}
    return [
        PreparedAttempt(
            due=one,
            request=_request(hub, one.owed, endpoints[one.owed.organization_id], contracts, now=now),
            started_at=now,
        )
        for one in due
    ]


CameOf = tuple[PreparedAttempt, Answer | NoAnswer]
"""An attempt, and what came of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What came of recording attempts: the endpoints that are disabled by it, and how many answers became events."""

    disabled: Mapping[OrganizationId, DisabledReason] = field(default_factory=dict)
    answers: int = 0


def record_attempts(hub: Hub, attempts: Sequence[CameOf]) -> Recorded:
    """Write what came of each attempt, and accept the events that receivers gave in their answers.

    Raises:
        StoreUnavailableError: Nothing of it is known to be written; the leases end, and all is sent again.
    """
    position = hub.directory.registry_position()
    results = [_result(hub, prepared, came, position) for prepared, came in attempts]
    disabled = hub.deliveries.record(results)
    hub.observer.attempted([prepared.due for prepared, _ in attempts], results, disabled)
    return Recorded(disabled=disabled, answers=sum(result.answer is not None for result in results))


def prepare_each(
    hub: Hub, due: Sequence[DueDelivery], on_bug: Callable[[DueDelivery, Exception], None]
) -> Sequence[PreparedAttempt]:
    """Prepare a batch so that one delivery which meets a bug does not stop the others; ``on_bug`` is told of each."""
    return isolating(partial(prepare_attempts, hub), due, on_bug)


def record_each(
    hub: Hub, attempts: Sequence[CameOf], on_bug: Callable[[DueDelivery, Exception], None]
) -> Sequence[Recorded]:
    """Record a batch so that one attempt which meets a bug does not stop the others; ``on_bug`` is told of each.

    Raises:
        StoreUnavailableError: See ``record_attempts``.
    """
    return isolating(
        lambda batch: [record_attempts(hub, batch)], attempts, lambda one, error: on_bug(one[0].due, error)
    )


def sign_of(came: Answer | NoAnswer, *, now: UnixMillis) -> tuple[Sign, int]:
    """Return what came of an attempt as a sign of its endpoint's life, and the seconds that ``DEFERRED`` asks for.

    A refusal (3xx, 4xx) is an answer: it fails this message, and says nothing against the next. So the messages of a
    contract that a receiver won't have hold up no other contract's.
    """
    if isinstance(came, NoAnswer):
        return Sign.FAILED, 0
    if came.status < ERROR and came.status not in {TIMED_OUT, TOO_MANY}:
        return Sign.ANSWERED, 0
    wait_s = _retry_after_s(came, now) if came.status in {TOO_MANY, AWAY} else 0
    return (Sign.DEFERRED, wait_s) if wait_s else (Sign.FAILED, 0)


def message_body(hub: Hub, owed: OwedDelivery, contract: Contract | None) -> bytes:
    """Return the CloudEvent for an owed message: the same bytes at every attempt."""
    shown = None if owed.type is WebhookType.REJECTED else contract
    head = {
        "specversion": "1.0",
        "id": owed.webhook_id,
        "source": hub.base_url,
        "type": owed.type,
        "subject": owed.contract_id or owed.organization_id,
        "time": _rfc3339(UnixSeconds(owed.owed_at // 1000)),
        "sequence": f"{owed.revision:010d}",
        "datacontenttype": "application/json",
    }
    data = {
        "contract_id": owed.contract_id,
        "status": None if contract is None else status_of(contract),
        "contract": None if shown is None else contract_jws(shown),
        "receipt": None if shown is None else shown.receipt,
        "act": shown.acts[0].compact if shown is not None and shown.acts else None,
    }
    # The problem document is stored as JSON; it is set in as it is, so that all three places show the same bytes.
    problem = b"null" if owed.problem is None else owed.problem
    return _encoder.encode(head)[:-1] + b',"data":' + _encoder.encode(data)[:-1] + b',"problem":' + problem + b"}}"


_encoder: Final = msgspec.json.Encoder()


@lru_cache(maxsize=MOMENTS_REMEMBERED_MAX)  # a thousand messages a second have one
def _rfc3339(moment: UnixSeconds) -> str:
    return datetime.fromtimestamp(moment, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def contract_jws(contract: Contract) -> Mapping[str, object]:
    """Return the contract as it travels: JWS in General JSON serialization."""
    return {
        "payload": base64url.encode(contract.body_bytes),
        "signatures": [{"protected": one.protected, "signature": one.signature} for one in contract.signatures],
    }


def retry_at(hub: Hub, *, attempts_done: int, started_at: UnixMillis, wait_s: int) -> UnixMillis | None:
    """Return when to try again after ``attempts_done`` attempts; None when that was the last.

    The wait is drawn between nothing and the schedule's figure (full jitter), so that an endpoint which comes back
    does not meet everybody at once. ``wait_s`` is the least wait: what ``Retry-After`` asked for.
    """
    schedule = hub.retry_schedule_s or RETRY_SCHEDULE_S
    if attempts_done >= len(schedule):
        return None
    jittered_ms = int(schedule[attempts_done] * 1000 * jitter(hub.randomness))
    return UnixMillis(started_at + max(jittered_ms, wait_s * 1000))


def jitter(randomness: Randomness) -> float:
    """Return a share of a wait, drawn evenly from 0 up to 1."""
    return int.from_bytes(randomness.token(CHANCE_BYTES), "big") / CHANCES


def _request(
    hub: Hub,
    owed: OwedDelivery,
    endpoint: Endpoint,
    contracts: Mapping[tuple[ContractId, Revision], Contract],
    *,
    now: UnixMillis,
) -> OutboundRequest:
    contract = None if owed.contract_id is None else contracts.get((owed.contract_id, owed.revision))
    body = message_body(hub, owed, contract)
    secrets = signing_secrets(hub, endpoint, now)
    signed = webhooks.sign(secrets, webhook_id=owed.webhook_id, timestamp=UnixSeconds(now // 1000), body=body)
    headers = {"content-type": CONTENT_TYPE, "user-agent": USER_AGENT, **signed}
    return OutboundRequest(url=endpoint.url, headers=headers, body=body)


def _result(hub: Hub, prepared: PreparedAttempt, came: Answer | NoAnswer, position: RegistrySeq) -> AttemptResult:
    owed = prepared.due.owed
    status, again = _status(hub, prepared, came)
    is_delivered = status is DeliveryStatus.DELIVERED
    return AttemptResult(
        webhook_id=owed.webhook_id,
        organization_id=owed.organization_id,
        attempt=_attempt(prepared, came, is_failed=not is_delivered),
        status=status,
        retry_at=again,
        answer=_event(owed, came, position),
        disables_endpoint=isinstance(came, Answer) and came.status == GONE,
        failing_limit=failing_limit(prepared.started_at),
        checked_url=prepared.request.url if is_delivered and owed.type in CHECKS else None,
    )


def _status(hub: Hub, prepared: PreparedAttempt, came: Answer | NoAnswer) -> tuple[DeliveryStatus, UnixMillis | None]:
    if isinstance(came, Answer) and OK <= came.status < OK + 100:  # (1)
        return DeliveryStatus.DELIVERED, None
    if prepared.due.owed.type in OF_ENDPOINT:  # (4)
        return DeliveryStatus.DEAD, None
    again = retry_at(  # (2)
        hub,
        attempts_done=prepared.due.attempts_done + 1,
        started_at=prepared.started_at,
        wait_s=_retry_after_s(came, prepared.started_at),
    )
    return (DeliveryStatus.DEAD, None) if again is None else (DeliveryStatus.PENDING, again)


def _attempt(prepared: PreparedAttempt, came: Answer | NoAnswer, *, is_failed: bool) -> Attempt:
    if isinstance(came, NoAnswer):
        return Attempt(at=prepared.started_at, duration_ms=came.duration_ms, http_status=None, failure=came.reason)
    snippet = came.body[:ATTEMPT_ANSWER_BYTES_KEPT] if is_failed else b""
    return Attempt(at=prepared.started_at, duration_ms=came.duration_ms, http_status=came.status, snippet=snippet)


def _event(owed: OwedDelivery, came: Answer | NoAnswer, position: RegistrySeq) -> NewEvent | None:
    """Return the event that a receiver gave in its answer: only in a 200 to a request for its signature."""  # (3)
    if owed.contract_id is None or owed.type is not WebhookType.SIGNATURE_REQUESTED:
        return None
    if isinstance(came, NoAnswer) or came.status != OK or came.is_truncated or not came.body.strip():
        return None
    return event_in_answer(
        source=owed.organization_id,
        event_id=EventId(owed.webhook_id),
        contract_id=owed.contract_id,
        answer=came.body,
        position=position,
    )


def _retry_after_s(came: Answer | NoAnswer, now: UnixMillis) -> int:
    """Return the seconds that ``Retry-After`` asks for, at most an hour; 0 for none or nonsense (RFC 9110, 10.2.3)."""
    text = None if isinstance(came, NoAnswer) else came.retry_after
    if text is None:
        return 0
    if text.isascii() and text.isdigit():
        return min(int(text[:8]), RETRY_AFTER_S_MAX)
    try:
        wait_s = int(parsedate_to_datetime(text).timestamp()) - now // 1000
    except (ValueError, OverflowError):  # a year or an offset that no calendar has overflows
        return 0
    return max(0, min(wait_s, RETRY_AFTER_S_MAX))
