"""Whether what a document shows beside a contract's signed bytes is what those bytes say."""

from collections.abc import Mapping
from typing import Final

from moneta.domain.contract_body import ContractBody
from moneta.domain.contracts import EndStatus
from moneta.domain.ijson import NumberText, Value
from moneta.signing.jws import ContractJWS

SUPERSEDED: Final = "superseded"
BODY_MEMBERS: Final = (
    "contract_id",
    "template_id",
    "version",
    "mo_id",
    "publisher_id",
    "org_id",
    "mpass_id",
    "description",
    "supersedes",
    "created_at",
)
EVENT_PREFIX: Final = "moneta.contract."
EVENT_OF_NO_END: Final = "signature_requested"

Json = Mapping[str, Value]


def check_view(
    view: Json, body: ContractBody, signed: ContractJWS, *, end: EndStatus | None, ended_at: Value
) -> str | None:
    """Return the first thing in the document of ``GET /contracts/{id}`` that is not so; None if there is none."""
    for name in BODY_MEMBERS:
        if view.get(name) != getattr(body, name):
            return f"{name}: shown {view.get(name)!r}, signed {getattr(body, name)!r}"
    if not _is_shown_as(body.payload, view.get("payload")):
        return "payload: what is shown is not what was signed"
    return _signatures_fault(view.get("signatures_map"), signed) or _state_fault(view, signed, end, ended_at)


def check_event(event: Json, body: ContractBody, signed: ContractJWS, *, end: EndStatus | None, hub: str) -> str | None:
    """Return the first thing in a webhook's body that is not so; None if there is none."""
    data = event.get("data")
    shown = data if isinstance(data, Mapping) else {}
    kind = str(event.get("type")).removeprefix(EVENT_PREFIX)
    expected = {
        "subject": (event.get("subject"), body.contract_id),
        "data.contract_id": (shown.get("contract_id"), body.contract_id),
        "source": (event.get("source"), hub),
    }
    for name, (got, wanted) in expected.items():
        if got != wanted:
            return f"{name}: shown {got!r}, signed {wanted!r}"
    if kind in {*EndStatus, EVENT_OF_NO_END} and kind != (end or EVENT_OF_NO_END):
        return f"type: shown {event.get('type')!r}, and the receipt says {end or 'nothing'}"
    return _status_fault(shown.get("status"), signed, end)


def _is_shown_as(signed: Value, shown: Value) -> bool:
    """Tell whether ``shown`` is ``signed``, an amount perhaps as the decimal string of its digits."""
    match signed:
        case NumberText():
            return shown in (signed, signed.digits)
        case Mapping():
            return (
                isinstance(shown, Mapping)
                and shown.keys() == signed.keys()
                and all(_is_shown_as(value, shown[name]) for name, value in signed.items())
            )
        case list():
            return isinstance(shown, list) and len(shown) == len(signed) and all(map(_is_shown_as, signed, shown))
        case bool() | None | str():
            return type(shown) is type(signed) and shown == signed
        case _:
            return not isinstance(shown, bool) and shown in (signed, str(signed))


def _signatures_fault(shown: Value, signed: ContractJWS) -> str | None:
    entries = {entry.header.role or "": entry for entry in signed.entries}
    if not isinstance(shown, Mapping) or shown.keys() != entries.keys():
        return f"signatures_map: expected the roles {', '.join(entries)}"
    for role, entry in entries.items():
        one = shown[role]
        expected = {
            "signature": entry.signature,
            "timestamp": entry.header.issued_at,
            "kid": entry.header.key_id,
            "alg": entry.header.algorithm,
        }
        for name, value in expected.items():
            if not isinstance(one, Mapping) or one.get(name) != value:
                return f"signatures_map.{role}.{name}: expected {value}"
    return None


def _state_fault(view: Json, signed: ContractJWS, end: EndStatus | None, ended_at: Value) -> str | None:
    if view.get("finalized_at") != ended_at:
        return f"finalized_at: shown {view.get('finalized_at')!r}, receipted {ended_at!r}"
    fault = _status_fault(view.get("status"), signed, end)
    if fault is None and end is not None and view.get("next_signers") != []:
        return f"next_signers: it is {end}, and nobody signs next"
    return fault


def _status_fault(status: Value, signed: ContractJWS, end: EndStatus | None) -> str | None:
    if end is not None:
        allowed = {end, SUPERSEDED} if end is EndStatus.FINALIZED else {end}
        return None if status in allowed else f"status: shown {status!r}, receipted {end}"
    pending = str(status).removeprefix("pending_").removesuffix("_signature").split("_and_")
    done = {entry.header.role for entry in signed.entries}
    if status != f"pending_{'_and_'.join(pending)}_signature" or done & {*pending}:
        return f"status: shown {status!r}, signed by {', '.join(sorted(role or '' for role in done))}, no receipt"
    return None
