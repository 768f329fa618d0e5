"""What callers read: events, contracts and deliveries as documents, and Moneta's own keys (protocol, sections 2 to 6).

A party sees what names it, and nothing tells it that there is more; the identities see all. A document is a view: what
was signed stands in a contract's ``jws``, its acts and its receipt, byte for byte.
"""

import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Final

from moneta.application.access import IDENTITY_ROLES, Operation, authorize, check_right, not_found, visible_to
from moneta.application.authenticate import Caller
from moneta.application.deliver_webhooks import contract_jws
from moneta.application.documents import (
    Document,
    check_parameters,
    list_cursor,
    list_limit,
    parameter_choice,
    parameter_id,
    parameter_seconds,
    seconds,
)
from moneta.application.keyring import public_key
from moneta.application.ports import (
    Attempt,
    ContractQuery,
    ContractSummary,
    DeliveryQuery,
    DeliveryRecord,
    DeliveryStatus,
    Hub,
    PublishedKey,
)
from moneta.domain.contracts import Contract, LogLine, Signature, next_signers, status_of
from moneta.domain.errors import InvalidParameterError, UnknownContractError
from moneta.domain.identifiers import (
    ContractId,
    EventId,
    KeyId,
    MPassId,
    OrganizationId,
    UnixSeconds,
    WebhookId,
)
from moneta.domain.ijson import Value, parse
from moneta.domain.money_fields import payload_view
from moneta.domain.templates import Role
from moneta.signing import base64url
from moneta.signing.chain import new_key_of
from moneta.signing.keys import PublicKey

CONTRACT_FILTERS: Final = ("mo_id", "publisher_id", "mpass_id", "status", "received_from", "received_to")
_CONTRACT_STATUS: Final = re.compile(
    r"pending_[a-z_]{1,200}_signature|finalized|declined|cancelled|expired|superseded", re.ASCII
)


def read_event(hub: Hub, caller: Caller, event_id: EventId, parameters: Mapping[str, str]) -> Document:
    """Return how far an event has come: the caller's own, or for an identity that of ``?source=``.

    Raises:
        NotFoundError: There is none, or it is another's.
    """
    check_right(caller, Operation.READ_EVENT)
    check_parameters(parameters, ("source",))
    source = OrganizationId(parameter_id(parameters, "source") or caller.caller_id)
    authorize(caller, Operation.READ_EVENT, owner=source)
    event = hub.events.find(source, event_id)
    if event is None:
        raise not_found()
    return Document(
        body={
            "event_id": event.event_id,
            "type": event.type,
            "contract_id": event.contract_id,
            "status": event.status,
            "received_at": seconds(event.received_at),
            "processed_at": seconds(event.processed_at),
            "problem": None if event.problem is None else parse(event.problem, what="problem"),
        }
    )


def read_contract(hub: Hub, caller: Caller, contract_id: ContractId) -> Document:
    """Return a contract in the ADR's structure, and all of it that is signed.

    Raises:
        UnknownContractError: There is none, or none that names the caller.
    """
    check_right(caller, Operation.READ_CONTRACT)
    contract = hub.contracts.read([contract_id]).get(contract_id)
    is_visible = contract is not None and (caller.role in IDENTITY_ROLES or caller.caller_id in contract.body.parties())
    if contract is None or not is_visible:
        raise UnknownContractError("there is no such contract, or none that names the caller")
    return Document(body=contract_document(hub, contract), revision=contract.revision)


def contract_document(hub: Hub, contract: Contract) -> dict[str, object]:
    """Return the contract as ``GET /contracts/{id}`` shows it."""
    body = contract.body
    return {
        "contract_id": body.contract_id,
        "template_id": body.template_id,
        "mo_id": body.mo_id,
        "publisher_id": body.publisher_id,
        "org_id": body.org_id,
        "mpass_id": body.mpass_id,
        "version": body.version,
        "payload": _payload_view(hub, contract),
        "signatures_map": _signatures_map(hub, contract),
        "event_logs": [_log_line(line) for line in contract.log],
        "status": status_of(contract),
        "created_at": body.created_at,
        "finalized_at": contract.finalized_at,
        "description": body.description,
        "supersedes": body.supersedes,
        "superseded_by": contract.superseded_by,
        "received_at": seconds(contract.received_at),
        "revision": contract.revision,
        "next_signers": list(next_signers(contract)),
        "jws": contract_jws(contract),
        "acts": [act.compact for act in contract.acts],
        "receipt": contract.receipt,
    }


def list_contracts(hub: Hub, caller: Caller, parameters: Mapping[str, str]) -> Document:
    """Return a page of the contracts that the caller may see, newest ``received_at`` first.

    Raises:
        InvalidParameterError: A parameter is unknown or out of range, or the cursor is not one of this list.
    """
    only = visible_to(caller, Operation.LIST_CONTRACTS)
    check_parameters(parameters, (*CONTRACT_FILTERS, "limit", "cursor"))
    page = hub.contracts.list(_contract_query(parameters, only))
    return Document(body={"items": [_summary_document(one) for one in page.items], "next_cursor": page.next_cursor})


def list_deliveries(hub: Hub, caller: Caller, parameters: Mapping[str, str]) -> Document:
    """Return a page of the messages that the hub owes the caller, or for an identity anybody, newest first.

    Raises:
        InvalidParameterError: A parameter is unknown or out of range, or the cursor is not one of this list.
    """
    only = visible_to(caller, Operation.LIST_DELIVERIES)
    check_parameters(parameters, ("contract_id", "status", "limit", "cursor"))
    contract_id = parameter_id(parameters, "contract_id")
    page = hub.deliveries.list(
        DeliveryQuery(
            visible_to=only,
            limit=list_limit(parameters),
            contract_id=None if contract_id is None else ContractId(contract_id),
            status=parameter_choice(parameters, "status", DeliveryStatus),
            cursor=list_cursor(parameters),
        )
    )
    return Document(body={"items": [delivery_document(one) for one in page.items], "next_cursor": page.next_cursor})


def read_delivery(hub: Hub, caller: Caller, webhook_id: WebhookId) -> Document:
    """Return one delivery with its attempts.

    Raises:
        NotFoundError: There is none, or it is another's.
    """
    check_right(caller, Operation.READ_DELIVERY)
    delivery = hub.deliveries.find(webhook_id)
    if delivery is None:
        raise not_found()
    authorize(caller, Operation.READ_DELIVERY, owner=delivery.owed.organization_id)
    return Document(body=delivery_document(delivery))


def delivery_document(delivery: DeliveryRecord) -> dict[str, object]:
    """Return a delivery as it is shown: what is owed, how it stands, and each attempt."""
    owed = delivery.owed
    return {
        "webhook_id": owed.webhook_id,
        "organization_id": owed.organization_id,
        "type": owed.type,
        "contract_id": owed.contract_id,
        "revision": owed.revision,
        "status": delivery.status,
        "owed_at": seconds(owed.owed_at),
        "next_attempt_at": seconds(delivery.next_attempt_at),
        "attempts": [_attempt_document(attempt) for attempt in delivery.attempts],
    }


def read_moneta_keys(hub: Hub) -> Document:
    """Return the hub's own keys as ``/.well-known/jwks.json`` serves them to everybody, the current one first."""
    return Document(body={"keys": [_published_jwk(key) for key in hub.signer.published()]})


def _payload_view(hub: Hub, contract: Contract) -> Mapping[str, Value]:
    """Return the payload with its money as decimal strings; what is committed had passed the same reading."""
    record = hub.directory.template(contract.body.template_id, contract.body.version)
    if record is None:
        return contract.body.payload
    return payload_view(contract.body.payload, hub.templates.compile(record.payload).template)


def _signatures_map(hub: Hub, contract: Contract) -> dict[str, object]:
    owners = contract.body.parties()
    registered = hub.directory.keys_of(owners)
    keys = {kid: public_key(key) for owner in owners for kid, key in registered.get(owner, {}).items()}
    keys |= {own.public.key_id: own.public for own in hub.signer.published()}
    if any(one.role is Role.ORG_NEW_KEY for one in contract.signatures):
        new = new_key_of(contract.body)
        keys[new.key_id] = new
    return {one.role: _signature_document(one, keys.get(KeyId(one.key_id))) for one in contract.signatures}


def _signature_document(signature: Signature, key: PublicKey | None) -> dict[str, object]:
    return {
        "signature": signature.signature,
        "timestamp": signature.issued_at,
        "public_key": None if key is None else base64url.encode(key.spki_der()),
        "kid": signature.key_id,
        "alg": signature.algorithm,
    }


def _log_line(line: LogLine) -> dict[str, object]:
    return {"event": line.event, "timestamp": line.timestamp, "actor": line.actor, "revision": line.revision}


def _contract_query(parameters: Mapping[str, str], only: OrganizationId | None) -> ContractQuery:
    ids = {name: parameter_id(parameters, name) for name in ("mo_id", "publisher_id", "mpass_id")}
    times = {name: parameter_seconds(parameters, name) for name in ("received_from", "received_to")}
    return ContractQuery(
        visible_to=only,
        limit=list_limit(parameters),
        mo_id=None if ids["mo_id"] is None else OrganizationId(ids["mo_id"]),
        publisher_id=None if ids["publisher_id"] is None else OrganizationId(ids["publisher_id"]),
        mpass_id=None if ids["mpass_id"] is None else MPassId(ids["mpass_id"]),
        status=_contract_status(parameters),
        received_from=None if times["received_from"] is None else UnixSeconds(times["received_from"]),
        received_to=None if times["received_to"] is None else UnixSeconds(times["received_to"]),
        cursor=list_cursor(parameters),
    )


def _contract_status(parameters: Mapping[str, str]) -> str | None:
    status = parameters.get("status")
    if status is not None and _CONTRACT_STATUS.fullmatch(status) is None:
        raise InvalidParameterError("status: not a contract's", field="status")
    return status


def _summary_document(summary: ContractSummary) -> dict[str, object]:
    return {
        "contract_id": summary.contract_id,
        "template_id": summary.template_id,
        "version": summary.version,
        "mo_id": summary.mo_id,
        "publisher_id": summary.publisher_id,
        "mpass_id": summary.mpass_id,
        "status": summary.status,
        "created_at": summary.created_at,
        "received_at": seconds(summary.received_at),
        "finalized_at": summary.finalized_at,
        "revision": summary.revision,
    }


def _attempt_document(attempt: Attempt) -> dict[str, object]:
    return {
        "time": seconds(attempt.at),
        "status": attempt.http_status,
        "duration_ms": attempt.duration_ms,
        "failure": attempt.failure,
        "answer": attempt.snippet.decode("utf-8", "replace"),
    }


def _published_jwk(key: PublishedKey) -> dict[str, object]:
    members: dict[str, object] = {**key.public.jwk, "use": "sig", "nbf": key.not_before, "exp": key.expires_at}
    if key.revoked_at is not None:
        members["revoked_at"] = key.revoked_at
    if key.certificates:  # RFC 7517, section 4.7: base64, not base64url, the key's own first
        members["x5c"] = [b64encode(one).decode("ascii") for one in key.certificates]
    return members
