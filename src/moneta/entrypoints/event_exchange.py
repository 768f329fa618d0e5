"""What ``POST /event`` takes, and what it is answered, by whatever process (protocol, section 5)."""

from typing import Final

import msgspec

from moneta.application.ingest_events import Accepted
from moneta.domain.errors import InvalidParameterError, MethodNotAllowedError, Refused
from moneta.entrypoints.answers import Answer, AnswerHeaders, problem_answer
from moneta.entrypoints.requests import EVENT_TYPES, Headers, check_content_type

PATH: Final = "/event"
METHODS: Final = ("POST", "OPTIONS")
ALLOW: Final = ((b"allow", ", ".join(METHODS).encode("ascii")),)
REPLAYED: Final = ((b"idempotency-replayed", b"true"),)

_encoder: Final = msgspec.json.Encoder()


def check_head(method: str, query: bytes, headers: Headers) -> None:
    """Refuse a request that is none of this call's by what comes before its body.

    Raises:
        MethodNotAllowedError, InvalidParameterError, UnsupportedMediaTypeError: It is none.
    """
    if method != "POST":
        raise MethodNotAllowedError("/event takes POST", allowed=list(METHODS))
    if query:
        raise InvalidParameterError("query: /event takes none")
    check_content_type(headers, EVENT_TYPES)


def accepted_answer(accepted: Accepted, headers: AnswerHeaders = ()) -> Answer:
    """Return the 202 of an event; ``headers``: those that tell how its sender stands."""
    body = {
        "event_id": accepted.event_id,
        "contract_id": accepted.contract_id,
        "status": "accepted",
        "received_at": accepted.received_at // 1000,
    }
    location = (b"location", f"/events/{accepted.event_id}".encode("ascii"))
    replayed = REPLAYED if accepted.is_replay else ()
    return Answer(status=202, body=_encoder.encode(body), headers=(location, *replayed, *headers))


def refused_answer(refusal: Refused, headers: AnswerHeaders = ()) -> Answer:
    """Return the problem document of an event that is not accepted; ``headers``: as in ``accepted_answer``."""
    allow = ALLOW if isinstance(refusal, MethodNotAllowedError) else ()
    return problem_answer(refusal, headers=(*allow, *headers))
