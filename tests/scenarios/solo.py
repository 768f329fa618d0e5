"""Contracts under templates of a test's own, sent, signed and shown; each test has one, ``c-1``."""

import json
from dataclasses import replace

from moneta.application import queries
from moneta.application.documents import to_json
from moneta.application.ports import EventStatus, EventType
from moneta.client import Keyring, Verifier
from moneta.client import Party as ClientParty
from moneta.domain.audit import contract_leaf
from moneta.domain.contracts import Start, Step, status_of
from moneta.domain.errors import Refused
from moneta.domain.identifiers import ContractId, EventId


def template(name, order, fields, *, guards="organizations_active", more=""):
    """Return the YAML of a template that ``order`` signs, a YAML list without its brackets."""
    roles = order.replace("[", "").replace("]", "")
    return (
        f"template_name: {name}\nversion: 1\nschema:\n  required_fields: [{fields}]\n"
        f"signature_rules:\n  required_signatures: [{roles}]\n  signing_order: [{order}]\nguards: [{guards}]\n{more}"
    ).encode()


def body_of(house, template, **members):
    named = {
        "contract_id": "c-1",
        "template_id": template,
        "version": 1,
        "created_at": house.hub.now_s(),
        "payload": {"legal_name": "An organization"},
        **members,
    }
    return json.dumps(named).encode()


def sends(house, party, kind, data, event_id, *, contract_id="c-1"):
    """Send and process an event; tell ``processed``, or the code of what refused it."""
    answer = house.send(party, house.event(party, kind, contract_id, data, event_id))
    if isinstance(answer, Refused):
        return answer.code
    house.process()
    record = house.hub.events.find(party.organization_id, EventId(event_id))
    return json.loads(record.problem)["code"] if record.status is EventStatus.REJECTED else str(record.status)


def submits(house, party, body, event_id="submit", *, contract_id="c-1", **header):
    signed = house.sign_first(party, body, **{"role": "org", **header})
    return sends(house, party, EventType.SUBMIT, {"contract": signed}, event_id, contract_id=contract_id)


def signs(house, party, event_id="sign", **header):
    signed = house.sign_next(party, house.contract(ContractId("c-1")), **header)
    return sends(house, party, EventType.SIGN, {"contract": signed}, event_id)


def status(house):
    return status_of(house.contract(ContractId("c-1")))


def view(house):
    return json.loads(to_json(queries.contract_document(house.hub, house.contract(ContractId("c-1")))))


def client_of(house, party):
    return ClientParty(
        organization_id=party.organization_id,
        role=party.role,
        hub=house.hub.base_url,
        auth_key=party.auth_key,
        contract_key=party.key,
    )


def verifier(house, me):
    def fetch(path):
        assert path == "/.well-known/jwks.json"
        return json.loads(to_json(queries.read_moneta_keys(house.hub).body))

    return Verifier(me, Keyring(fetch, clock=house.hub.now_s))


def steps_with_leaves(contract):
    """The steps as a store that keeps their leaves gives them, in one."""
    start = Start(
        body_bytes=contract.body_bytes,
        signing_order=contract.signing_order,
        template_sha256=contract.template_sha256,
        received_at=contract.received_at,
        expires_at=contract.expires_at,
    )
    step = Step(
        revision=1,
        committed_at=contract.received_at,
        leaf=b"",
        signatures=contract.signatures,
        receipt=contract.receipt,
        finalized_at=contract.finalized_at,
        start=start,
    )
    leaf = contract_leaf(
        contract_id=contract.contract_id,
        revision=1,
        committed_at=contract.received_at,
        status="finalized",
        body_bytes=contract.body_bytes,
        signatures=contract.signatures,
        acts=(),
        receipt=contract.receipt,
    )
    return [replace(step, leaf=leaf)]
