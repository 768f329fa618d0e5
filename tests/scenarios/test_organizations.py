"""Organizations: registered with their keys, kept up, moved along their states; refusals as hard as successes."""

import pytest

from moneta.application import organization_keys, organizations
from moneta.application.ports import IdentityRole
from moneta.domain.errors import (
    CodeTakenError,
    ForbiddenError,
    InvalidCertificateError,
    InvalidFieldError,
    InvalidParameterError,
    InvalidProofError,
    KeyTakenError,
    MissingFieldError,
    NotFoundError,
    PreconditionFailedError,
    UnknownFieldError,
    WeakKeyError,
)
from moneta.domain.identifiers import OrganizationId, is_uuid4
from moneta.domain.ijson import NumberText
from moneta.signing import base64url, jws, statements
from moneta.signing.webhooks import parse_secret
from tests.certificates import make_certificate
from tests.hub import MO, PUBLISHER
from tests.signing_examples import ALGORITHMS, NOW, OTHER_HUB, key_of


def create(house, kind, members, **options):
    return organizations.create_organization(house.hub, house.operator, kind, members, **options)


def change(house, caller, party, status, **options):
    members = {"status": status, "reason": "because"}
    return organizations.change_organization_status(
        house.hub, caller, party.kind, party.organization_id, members, **options
    )


def update(house, caller, party, members, **options):
    return organizations.update_organization(house.hub, caller, party.kind, party.organization_id, members, **options)


def read(house, caller, party):
    return organizations.read_organization(house.hub, caller, party.kind, party.organization_id)


def certificate_of(code, algorithm="ES256", **when):
    return make_certificate(key=key_of(algorithm, f"{code} contract").numbers, **when)


# Creation.


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(("kind", "code_member"), [(MO, "mic"), (PUBLISHER, "mpc")])
def test_an_organization_is_registered_pending_with_all_that_was_sent(house, kind, code_member, algorithm):
    members = {
        **house.organization_members(kind, "ACME", algorithm),
        "services": ["news"],
        "industries": ["press", "radio"],
        "policies": {"services": {"allowed": ["news"]}},
        "certificates": [certificate_of("ACME", algorithm)],
    }
    members["metadata"] |= {"contact_email": "ops@acme.example", "region": "eu", "tier": {"level": 3}}
    answer = create(house, kind, members)
    body = answer.body
    assert is_uuid4(body["id"])
    assert (body[code_member], body["name"], body["status"]) == ("ACME", "Organization ACME", "Pending")
    assert (body["createdAt"], body["updatedAt"]) == (NOW, NOW)
    assert body["metadata"] == members["metadata"]
    assert (body["services"], body["industries"]) == (["news"], ["press", "radio"])
    assert (body["policies"], body["certificates"]) == (members["policies"], members["certificates"])
    assert [key["use"] for key in body["keys"]] == [["contract"], ["auth"]]
    assert [key["jwk"] for key in body["keys"]] == [key["jwk"] for key in members["keys"]]
    assert [key["status"] for key in body["keys"]] == ["active", "active"]
    assert [key["registry_seq"] for key in body["keys"]] == [2, 3]  # 1 is the operator's
    assert len(parse_secret(body["webhook_secret"])) == 32
    assert (answer.revision, answer.is_replay) == (1, False)


def test_what_is_not_sent_is_empty(house):
    body = create(house, MO, house.organization_members(MO, "ACME")).body
    assert (body["certificates"], body["services"], body["industries"], body["policies"]) == ([], [], [], {})


def test_what_is_read_is_what_was_answered_without_the_secret(house):
    members = house.organization_members(MO, "ACME")
    members["metadata"] |= {"score": NumberText("1.50"), "nested": [{"deep": None}]}
    created = create(house, MO, members).body
    found = organizations.read_organization(house.hub, house.operator, MO, OrganizationId(created["id"]))
    assert found.body == {name: value for name, value in created.items() if name != "webhook_secret"}


def without(members, *names):
    return {name: value for name, value in members.items() if name not in names}


BAD_PROFILES = {
    "no name": ({"name": None}, MissingFieldError, "name"),
    "blank name": ({"name": "  "}, InvalidFieldError, "name"),
    "name is no text": ({"name": 5}, InvalidFieldError, "name"),
    "name too long": ({"name": "x" * 201}, InvalidFieldError, "name"),
    "name with a control character": ({"name": "A\x00B"}, InvalidFieldError, "name"),
    "no code": ({"mic": None}, MissingFieldError, "mic"),
    "code in lower case": ({"mic": "acme"}, InvalidFieldError, "mic"),
    "code too long": ({"mic": "A" * 13}, InvalidFieldError, "mic"),
    "code of the other kind": ({"mpc": "ACME"}, UnknownFieldError, "mpc"),
    "unknown member": ({"status": "Active"}, UnknownFieldError, "status"),
    "an id of one's own": ({"id": "x"}, UnknownFieldError, "id"),
    "no metadata": ({"metadata": None}, MissingFieldError, "metadata"),
    "metadata is no object": ({"metadata": []}, InvalidFieldError, "metadata"),
    "no webhook_url": ({"metadata": {}}, MissingFieldError, "metadata.webhook_url"),
    "webhook_url is no text": ({"metadata": {"webhook_url": 1}}, InvalidFieldError, "metadata.webhook_url"),
    "webhook_url without TLS": ({"metadata": {"webhook_url": "http://a.example/"}}, InvalidFieldError, None),
    "webhook_url inside": ({"metadata": {"webhook_url": "https://127.0.0.1/"}}, InvalidFieldError, None),
    "contact_email is no text": (
        {"metadata": {"webhook_url": "https://a.example/", "contact_email": 1}},
        InvalidFieldError,
        "metadata.contact_email",
    ),
    "too much metadata": (
        {"metadata": {"webhook_url": "https://a.example/", **{f"m{i}": i for i in range(50)}}},
        InvalidFieldError,
        "metadata",
    ),
    "services is no array": ({"services": "news"}, InvalidFieldError, "services"),
    "a service is no text": ({"services": [1]}, InvalidFieldError, "services"),
    "too many services": ({"services": ["s"] * 101}, InvalidFieldError, "services"),
    "an industry is blank": ({"industries": [""]}, InvalidFieldError, "industries"),
    "policies is no object": ({"policies": []}, InvalidFieldError, "policies"),
    "a policy that is none": ({"policies": {"service": {}}}, UnknownFieldError, "policies.service"),
    "a policy of both": (
        {"policies": {"mos": {"allowed": [], "denied": []}}},
        InvalidFieldError,
        "policies.mos",
    ),
    "a certificate is no PEM": ({"certificates": ["x"]}, InvalidFieldError, "certificates"),
    "no keys": ({"keys": None}, MissingFieldError, "keys"),
    "empty keys": ({"keys": []}, InvalidFieldError, "keys"),
    "keys is no array": ({"keys": {}}, InvalidFieldError, "keys"),
    "a key is no object": ({"keys": ["x"]}, InvalidFieldError, "keys"),
}


@pytest.mark.parametrize(("changed", "error", "field"), BAD_PROFILES.values(), ids=BAD_PROFILES)
def test_a_wrong_member_is_refused_by_name(house, changed, error, field):
    members = {**house.organization_members(MO, "ACME"), **changed}
    with pytest.raises(error) as refused:
        create(house, MO, members)
    assert field is None or refused.value.facts["field"] == field
    assert house.hub.directory.registry_position() == 1


def test_a_key_must_be_strong_proven_and_offered_in_full(house):
    good = house.organization_members(MO, "ACME")["keys"][0]
    low_order = {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": base64url.encode(b"\x01" + bytes(31))}
    key = key_of("ES256", "ACME contract")
    proof = statements.make_key_proof
    hub, now = house.hub.base_url, house.hub.now_s()
    cases = [
        (without(good, "jwk"), MissingFieldError),
        (without(good, "use"), MissingFieldError),
        (without(good, "proof"), MissingFieldError),
        ({**good, "note": "x"}, UnknownFieldError),
        ({**good, "use": []}, InvalidFieldError),
        ({**good, "use": "auth"}, InvalidFieldError),
        ({**good, "use": ["auth", "auth"]}, InvalidFieldError),
        ({**good, "use": ["encrypt"]}, InvalidFieldError),
        ({**good, "use": [{"auth": 1}]}, InvalidFieldError),
        ({**good, "jwk": without(good["jwk"], "alg")}, WeakKeyError),
        ({**good, "jwk": {**good["jwk"], "use": "sig"}}, WeakKeyError),
        ({**good, "jwk": {**good["jwk"], "kid": "x"}}, WeakKeyError),
        ({**good, "jwk": low_order}, WeakKeyError),
        ({**good, "proof": "x.y.z"}, InvalidProofError),
        ({**good, "proof": 7}, InvalidProofError),
        ({**good, "proof": proof(key, audience=OTHER_HUB, subject="ACME", issued_at=now)}, InvalidProofError),
        ({**good, "proof": proof(key, audience=hub, subject="OTHER", issued_at=now)}, InvalidProofError),
        ({**good, "proof": proof(key, audience=hub, subject="ACME", issued_at=now - 301)}, InvalidProofError),
        (
            {**good, "proof": proof(key_of("ES256", "thief"), audience=hub, subject="ACME", issued_at=now)},
            InvalidProofError,
        ),
        (house.new_key(house.hub.signer.key, "ACME", "contract"), KeyTakenError),
    ]
    for offered, error in cases:
        with pytest.raises(error):
            create(house, MO, {**house.organization_members(MO, "ACME"), "keys": [offered]})


def test_a_key_is_registered_once_and_for_all(house):
    first = house.register(MO, "ACME")
    same_key = {**house.organization_members(MO, "OTHER"), "keys": [house.new_key(first.key, "OTHER", "contract")]}
    with pytest.raises(KeyTakenError):
        create(house, MO, same_key)
    members = house.organization_members(MO, "TWICE")
    with pytest.raises(KeyTakenError):
        create(house, MO, {**members, "keys": [members["keys"][0], members["keys"][0]]})


def test_a_code_is_given_out_once_even_after_the_end(house):
    first = house.register(MO, "ACME", status="Destroyed")
    assert read(house, house.operator, first).body["status"] == "Destroyed"
    members = house.organization_members(MO, "ACME")
    members["keys"] = [house.new_key(key_of("ES256", "new"), "ACME", "contract")]
    with pytest.raises(CodeTakenError):
        create(house, MO, members)


def test_only_the_operator_registers(house):
    auditor = house.add_identity("auditor", IdentityRole.AUDITOR)
    for holder in (auditor, house.register(MO, "ACME")):
        with pytest.raises(ForbiddenError):
            organizations.create_organization(house.hub, house.caller(holder), MO, {"not": "looked at"})


def test_the_record_says_who_asked_and_holds_no_secret(house):
    created = create(house, MO, house.organization_members(MO, "ACME")).body
    with house.store.database.read() as connection:
        leaves = [leaf for (leaf,) in connection.execute("SELECT entry FROM leaves ORDER BY leaf").fetchall()]
    record = jws.parse_compact(leaves[-1].decode(), jws.RECORD_HEADER, what="record")
    statements.verify_compact(record, house.hub.signer.current().public, typ=jws.RECORD_TYP)
    assert record.claims == {
        "act": "create_organization",
        "subject": created["id"],
        "by": {"sub": "operator", "kid": house.console.auth_key.public.key_id, "jti": "jti-1"},
        "at": NOW,
        "change": {"kind": "mo", "mic": "ACME", "keys": [key["kid"] for key in created["keys"]]},
        "registry_seq": 3,
    }
    assert created["webhook_secret"].encode() not in b"".join(leaves)


# Changes of the profile.


def test_the_operator_replaces_the_members_sent_and_no_other(house):
    party = house.register(MO, "ACME")
    house.clock.advance(5)
    before = read(house, house.operator, party)
    certificate = certificate_of("ACME")
    answer = update(house, house.operator, party, {"name": "New", "services": ["tv"], "certificates": [certificate]})
    assert answer.body == {
        **before.body,
        "name": "New",
        "services": ["tv"],
        "certificates": [certificate],
        "updatedAt": NOW + 5,
    }
    assert answer.revision == before.revision + 1
    assert read(house, house.operator, party) == answer


def test_a_certificate_is_of_a_key_that_the_organization_uses_and_valid(house):
    party = house.register(MO, "ACME")
    house.register(MO, "OTHER")
    for certificate in (certificate_of("OTHER"), certificate_of("ACME", ends_at=NOW - 1)):
        with pytest.raises(InvalidCertificateError):
            update(house, house.operator, party, {"certificates": [certificate]})
        with pytest.raises(InvalidCertificateError):
            create(house, MO, {**house.organization_members(MO, "NEW"), "certificates": [certificate]})
    kid = party.key.public.key_id
    organization_keys.change_key_status(
        house.hub, house.operator, MO, party.organization_id, kid, {"status": "retired"}
    )
    with pytest.raises(InvalidCertificateError):
        update(house, house.operator, party, {"certificates": [certificate_of("ACME")]})


def test_an_organization_replaces_its_metadata_and_nothing_else(house):
    party = house.register(MO, "ACME")
    metadata = {"webhook_url": "https://new.example/hooks", "region": "us"}
    assert update(house, house.caller(party), party, {"metadata": metadata}).body["metadata"] == metadata
    assert house.hub.directory.endpoints([party.organization_id])[party.organization_id].url == metadata["webhook_url"]
    for members in ({"name": "X"}, {"metadata": metadata, "policies": {}}, {"certificates": []}):
        with pytest.raises(ForbiddenError):
            update(house, house.caller(party), party, members)
    with pytest.raises(UnknownFieldError):
        update(house, house.caller(party), party, {"mic": "OTHER"})


def test_metadata_is_replaced_whole_and_keeps_its_url(house):
    party = house.register(MO, "ACME")
    with pytest.raises(MissingFieldError) as refused:
        update(house, house.operator, party, {"metadata": {"region": "eu"}})
    assert refused.value.facts["field"] == "metadata.webhook_url"


def test_a_stale_if_match_changes_nothing(house):
    party = house.register(MO, "ACME")
    revision = read(house, house.operator, party).revision
    for call, argument in ((update, {"name": "New"}), (change, "Suspended")):
        with pytest.raises(PreconditionFailedError):
            call(house, house.operator, party, argument, if_match=revision - 1)
    assert update(house, house.operator, party, {"name": "New"}, if_match=revision).body["name"] == "New"


def test_to_another_organization_it_is_not_there(house):
    party, other = house.register(MO, "ACME"), house.register(MO, "OTHER")
    stranger = house.caller(other)
    missing = OrganizationId("00000000-0000-4000-8000-000000000000")
    refusals = []
    for organization_id in (party.organization_id, missing):
        with pytest.raises(NotFoundError) as refused:
            organizations.read_organization(house.hub, stranger, MO, organization_id)
        refusals.append((refused.value.detail, refused.value.facts))
        with pytest.raises(NotFoundError):
            organizations.update_organization(house.hub, stranger, MO, organization_id, {"bad": 1})
        with pytest.raises(NotFoundError):
            organizations.change_organization_status(house.hub, stranger, MO, organization_id, {"bad": 1})
    assert refusals[0] == refusals[1]
    with pytest.raises(NotFoundError):
        organizations.read_organization(house.hub, house.operator, PUBLISHER, party.organization_id)


# Lists.


def listed(house, caller, kind, **parameters):
    return organizations.list_organizations(house.hub, caller, kind, parameters).body


def names(page):
    return [item.get("mic") or item.get("mpc") for item in page["items"]]


def test_a_list_is_filtered_and_paged_newest_first(house):
    for code in ("A1", "B2", "C3"):
        house.register(MO, code, status="Suspended" if code == "B2" else "Active")
        house.clock.advance(1)
    house.register(PUBLISHER, "P1")
    operator = house.operator
    assert names(listed(house, operator, MO)) == ["C3", "B2", "A1"]
    assert names(listed(house, operator, PUBLISHER)) == ["P1"]
    assert names(listed(house, operator, MO, mic="B2")) == ["B2"]
    assert names(listed(house, operator, MO, status="Active")) == ["C3", "A1"]
    assert names(listed(house, operator, MO, mic="B2", status="Active")) == []
    first = listed(house, operator, MO, limit="2")
    assert names(first) == ["C3", "B2"]
    second = listed(house, operator, MO, limit="2", cursor=first["next_cursor"])
    assert (names(second), second["next_cursor"]) == (["A1"], None)
    assert len(first["items"][0]["keys"]) == 2


def test_an_organization_sees_itself_alone(house):
    mo = house.register(MO, "ACME")
    house.register(MO, "OTHER")
    itself = house.caller(mo)
    assert names(listed(house, itself, MO)) == ["ACME"]
    assert names(listed(house, itself, MO, mic="ACME", status="Active")) == ["ACME"]
    assert names(listed(house, itself, MO, mic="OTHER")) == []
    assert names(listed(house, itself, MO, status="Suspended")) == []
    assert names(listed(house, itself, PUBLISHER)) == []


@pytest.mark.parametrize(
    "parameters",
    [
        {"limit": "0"},
        {"limit": "201"},
        {"limit": "-1"},
        {"limit": "1.0"},
        {"limit": ""},
        {"limit": "01"},
        {"cursor": "nonsense"},
        {"cursor": ""},
        {"cursor": "x" * 513},
        {"status": "active"},
        {"mic": "no/slash"},
        {"mpc": "ACME"},
        {"colour": "red"},
    ],
)
def test_a_wrong_parameter_is_refused_never_clamped(house, parameters):
    with pytest.raises(InvalidParameterError) as refused:
        organizations.list_organizations(house.hub, house.operator, MO, parameters)
    assert refused.value.facts["field"] == next(iter(parameters))
