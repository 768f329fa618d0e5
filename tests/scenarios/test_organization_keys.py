"""Keys and webhook secrets: added, ended, shown to partners; a stolen token can do none of the harm."""

import pytest

from moneta.application import organization_keys, organizations, webhook_secrets
from moneta.application.ports import IdentityRole
from moneta.domain.errors import (
    ForbiddenError,
    IdempotencyKeyReusedError,
    InvalidFieldError,
    InvalidProofError,
    KeyTakenError,
    MissingFieldError,
    NotFoundError,
    PreconditionFailedError,
    TransitionRefusedError,
    UnauthorizedError,
    UnknownFieldError,
    WeakKeyError,
)
from moneta.domain.identifiers import KeyId, UnixMillis
from moneta.domain.keys import KeyStatus, KeyUse
from moneta.domain.limits import KEYS_PER_ORGANIZATION_MAX, WEBHOOK_SECRETS_MAX
from moneta.signing.webhooks import parse_secret
from tests.hub import MO, PUBLISHER, TestHub
from tests.signing_examples import ALGORITHMS, NOW, key_of


def add(house: TestHub, caller, party, members, **options):
    return organization_keys.add_key(house.hub, caller, party.kind, party.organization_id, members, **options)


def end(house: TestHub, caller, party, key, status, **options):
    members = {"status": status} | ({"since": options.pop("since")} if "since" in options else {})
    return organization_keys.change_key_status(
        house.hub, caller, party.kind, party.organization_id, key.public.key_id, members, **options
    )


def offered(house, party, key, *uses):
    return house.new_key(key, party.organization_id, *uses)


def organization(house, party):
    return organizations.read_organization(house.hub, house.operator, party.kind, party.organization_id)


# Adding.


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_operator_adds_a_key_of_any_use_at_the_next_position(house, algorithm):
    party = house.register(MO, "ACME")
    before, position = organization(house, party), house.hub.directory.registry_position()
    house.clock.advance(3)
    key = key_of(algorithm, "second")
    answer = add(house, house.operator, party, offered(house, party, key, "contract", "auth"))
    assert answer.body == {
        "kid": key.public.key_id,
        "jwk": dict(key.public.jwk),
        "use": ["auth", "contract"],
        "status": "active",
        "registry_seq": position + 1,
        "registered_at": NOW + 3,
        "changed_at": NOW + 3,
        "since": None,
        "ends_at": None,
    }
    assert answer.revision == 1
    after = organization(house, party)
    assert after.body["keys"] == [*before.body["keys"], answer.body]
    assert after.revision == before.revision + 1
    assert after.body["updatedAt"] == NOW + 3


def test_an_organization_adds_auth_keys_and_signs_its_tokens_with_them(house):
    party = house.register(MO, "ACME")
    key = key_of("EdDSA", "second auth")
    add(house, house.caller(party), party, offered(house, party, key, "auth"))
    registered = house.hub.directory.keys_of([party.organization_id])[party.organization_id]
    assert registered[key.public.key_id].uses == {KeyUse.AUTH}


@pytest.mark.parametrize("uses", [("contract",), ("auth", "contract")])
def test_a_token_never_adds_a_contract_key(house, uses):
    for status in ("Pending", "Active", "Suspended"):
        party = house.register(MO, f"X{status[:3].upper()}{len(uses)}", status=status)
        with pytest.raises(ForbiddenError):
            add(house, house.caller(party), party, offered(house, party, key_of("ES256", "stolen"), *uses))


def test_a_key_is_proven_for_the_organization_itself(house):
    party, other = house.register(MO, "ACME"), house.register(MO, "OTHER")
    key = key_of("ES256", "second")
    for subject in (other.organization_id, party.code):
        with pytest.raises(InvalidProofError):
            add(house, house.operator, party, house.new_key(key, subject, "auth"))
    weak = {**offered(house, party, key, "auth"), "jwk": {"kty": "oct", "k": "AAAA", "alg": "HS256"}}
    with pytest.raises(WeakKeyError):
        add(house, house.operator, party, weak)


def test_a_key_stands_with_one_owner_for_ever(house):
    party, other = house.register(MO, "ACME"), house.register(PUBLISHER, "PUB")
    key = key_of("ES256", "second")
    add(house, house.operator, party, offered(house, party, key, "contract"))
    for holder in (party, other):
        with pytest.raises(KeyTakenError):
            add(house, house.operator, holder, offered(house, holder, key, "contract"))
    end(house, house.operator, party, key, "revoked")
    with pytest.raises(KeyTakenError):
        add(house, house.operator, other, offered(house, other, key, "contract"))
    with pytest.raises(KeyTakenError):
        add(house, house.operator, party, offered(house, party, house.console.auth_key, "auth"))


def test_the_same_addition_again_gives_the_first_answer(house):
    party = house.register(MO, "ACME")
    members = offered(house, party, key_of("ES256", "second"), "contract")
    first = add(house, house.operator, party, members, idempotency_key="key-1")
    again = add(house, house.operator, party, members, idempotency_key="key-1")
    assert (again.body, again.is_replay) == (first.body, True)
    with pytest.raises(IdempotencyKeyReusedError):
        add(house, house.operator, house.register(MO, "OTHER"), members, idempotency_key="key-1")


def test_an_organization_has_a_limited_number_of_keys(house):
    party = house.register(MO, "ACME")
    for number in range(KEYS_PER_ORGANIZATION_MAX - 2):
        add(house, house.operator, party, offered(house, party, key_of("EdDSA", f"many {number}"), "auth"))
    with pytest.raises(InvalidFieldError):
        add(house, house.operator, party, offered(house, party, key_of("EdDSA", "one too many"), "auth"))


def test_a_destroyed_organization_gets_no_key(house):
    party = house.register(MO, "ACME", status="Destroyed")
    with pytest.raises(TransitionRefusedError):
        add(house, house.operator, party, offered(house, party, key_of("ES256", "second"), "auth"))


# Ending.

CHANGES = [
    ((), "retired", True),
    ((), "revoked", True),
    ((), "compromised", True),
    (("retired",), "retired", False),
    (("retired",), "revoked", True),
    (("retired",), "compromised", True),
    (("revoked",), "retired", False),
    (("revoked",), "revoked", False),
    (("revoked",), "compromised", True),
    (("compromised",), "retired", False),
    (("compromised",), "revoked", False),
    (("compromised",), "compromised", False),
]


@pytest.mark.parametrize(("before", "asked", "is_possible"), CHANGES)
def test_a_key_goes_one_way(house, before, asked, is_possible):
    party = house.register(MO, "ACME")
    for status in before:
        end(house, house.operator, party, party.key, status)
    if not is_possible:
        with pytest.raises(TransitionRefusedError) as refused:
            end(house, house.operator, party, party.key, asked)
        assert asked not in refused.value.facts["allowed"]
        return
    position = house.hub.directory.registry_position()
    answer = end(house, house.operator, party, party.key, asked, since=NOW - 100)
    assert (answer.body["status"], answer.body["since"]) == (asked, NOW - 100)
    assert answer.body["registry_seq"] == position + 1
    assert answer.revision == len(before) + 2
    key = house.hub.directory.keys_of([party.organization_id])[party.organization_id][party.key.public.key_id]
    assert (key.status_at(position), key.status) == (KeyStatus((before or ("active",))[-1]), KeyStatus(asked))


def test_a_compromised_key_is_found_by_its_position(house):
    party = house.register(MO, "ACME")
    position = house.hub.directory.registry_position()
    end(house, house.operator, party, party.key, "compromised")
    (found,) = house.hub.directory.compromised_since(position)
    assert found.key_id == party.key.public.key_id


def test_an_organization_ends_its_auth_keys_at_once(house):
    party = house.register(MO, "ACME")
    caller = house.caller(party)
    assert end(house, caller, party, party.auth_key, "revoked").body["status"] == "revoked"
    with pytest.raises(UnauthorizedError):
        house.caller(party)


@pytest.mark.parametrize("status", ["retired", "revoked", "compromised"])
def test_a_token_does_not_end_a_contract_key(house, status):
    party = house.register(MO, "ACME")
    with pytest.raises(ForbiddenError):
        end(house, house.caller(party), party, party.key, status)


def test_a_stale_if_match_ends_no_key(house):
    party = house.register(MO, "ACME")
    end(house, house.operator, party, party.key, "retired", if_match=1)
    with pytest.raises(PreconditionFailedError):
        end(house, house.operator, party, party.key, "revoked", if_match=1)
    assert end(house, house.operator, party, party.key, "revoked", if_match=2).revision == 3


@pytest.mark.parametrize(
    ("members", "error"),
    [
        ({}, MissingFieldError),
        ({"status": "active"}, InvalidFieldError),
        ({"status": "revoked", "since": -1}, InvalidFieldError),
        ({"status": "revoked", "since": "yesterday"}, InvalidFieldError),
        ({"status": "revoked", "since": True}, InvalidFieldError),
        ({"status": "revoked", "reason": "x"}, UnknownFieldError),
    ],
)
def test_a_malformed_end_is_refused(house, members, error):
    party = house.register(MO, "ACME")
    with pytest.raises(error):
        organization_keys.change_key_status(
            house.hub, house.operator, MO, party.organization_id, party.key.public.key_id, members
        )


def test_another_key_and_another_organization_are_not_there(house):
    party, other = house.register(MO, "ACME"), house.register(MO, "OTHER")
    with pytest.raises(NotFoundError):
        end(house, house.operator, party, other.key, "revoked")
    with pytest.raises(NotFoundError):
        end(house, house.caller(other), party, party.auth_key, "revoked")
    with pytest.raises(NotFoundError):
        add(house, house.caller(other), party, offered(house, party, key_of("ES256", "second"), "auth"))
    with pytest.raises(NotFoundError):
        organization_keys.change_key_status(
            house.hub, house.operator, PUBLISHER, party.organization_id, KeyId("x" * 43), {"status": "revoked"}
        )


def test_the_auditor_changes_no_key(house):
    party, auditor = house.register(MO, "ACME"), house.add_identity("auditor", IdentityRole.AUDITOR)
    with pytest.raises(ForbiddenError):
        end(house, house.caller(auditor), party, party.key, "revoked")


# Shown to partners.


def jwks(house, caller, party):
    return organization_keys.read_partner_keys(house.hub, caller, party.kind, party.organization_id).body["keys"]


def test_partners_that_share_a_contract_see_each_others_contract_keys(house):
    mo, publisher, stranger = house.register(MO, "ACME"), house.register(PUBLISHER, "PUB"), house.register(MO, "X1")
    pairs = ((mo, publisher), (publisher, mo))
    for reader, partner in pairs:
        with pytest.raises(NotFoundError):
            jwks(house, house.caller(reader), partner)
    house.submit(mo, house.body(mo, publisher, house.issue_mpass(mo)))
    for reader, partner in pairs:
        (shown,) = jwks(house, house.caller(reader), partner)
        assert shown == {
            **partner.key.public.jwk,
            "use": "sig",
            "status": "active",
            "registry_seq": shown["registry_seq"],
            "nbf": NOW,
        }
        with pytest.raises(NotFoundError):
            jwks(house, house.caller(stranger), partner)


def test_itself_and_the_identities_see_an_organizations_contract_keys(house):
    party = house.register(PUBLISHER, "PUB", status="Pending")
    readers = [house.add_identity(role, role) for role in (IdentityRole.AUDITOR, IdentityRole.CHECKER)]
    for reader in (party, house.console, *readers):
        assert [key["kid"] for key in jwks(house, house.caller(reader), party)] == [party.key.public.key_id]
    with pytest.raises(NotFoundError):
        organization_keys.read_partner_keys(house.hub, house.operator, MO, party.organization_id)


def test_ended_keys_stay_shown_with_what_ended_them(house):
    party = house.register(MO, "ACME")
    second, third = key_of("ES256", "second"), key_of("RS256", "third")
    for key in (second, third):
        add(house, house.operator, party, offered(house, party, key, "contract"))
    house.clock.advance(60)
    end(house, house.operator, party, second, "retired")
    end(house, house.operator, party, third, "compromised")
    shown = {key["kid"]: key for key in jwks(house, house.operator, party)}
    assert shown[second.public.key_id]["status"] == "retired"
    assert "revoked_at" not in shown[second.public.key_id]
    assert shown[third.public.key_id]["revoked_at"] == NOW + 60


# Webhook secrets.


def rotate(house, caller, party, overlap_s=3600, **options):
    return webhook_secrets.rotate_webhook_secret(
        house.hub, caller, party.kind, party.organization_id, {"overlap_s": overlap_s}, **options
    )


def signing(house, party, *, after_s=0):
    endpoint = house.hub.directory.endpoints([party.organization_id])[party.organization_id]
    now = UnixMillis(house.clock.now_ms() + after_s * 1000)
    return webhook_secrets.signing_secrets(house.hub, endpoint, now)


def test_the_old_secret_signs_beside_the_new_one_for_as_long_as_was_said(house):
    party = house.register(MO, "ACME")
    old = parse_secret(party.webhook_secret)
    assert signing(house, party) == [old]
    answer = rotate(house, house.caller(party), party, overlap_s=60)
    new = parse_secret(answer.body["webhook_secret"])
    assert answer.body["previous_until"] == NOW + 60
    assert signing(house, party) == [new, old]
    assert signing(house, party, after_s=59) == [new, old]
    assert signing(house, party, after_s=60) == [new]


def test_without_overlap_the_old_secret_ends_at_once(house):
    party = house.register(MO, "ACME")
    new = parse_secret(rotate(house, house.operator, party, overlap_s=0).body["webhook_secret"])
    assert signing(house, party) == [new]


def test_rotating_again_keeps_the_overlap_that_was_promised(house):
    party = house.register(MO, "ACME")
    first = parse_secret(party.webhook_secret)
    second = parse_secret(rotate(house, house.operator, party, overlap_s=100).body["webhook_secret"])
    third = parse_secret(rotate(house, house.operator, party, overlap_s=200).body["webhook_secret"])
    assert signing(house, party) == [third, second, first]
    assert signing(house, party, after_s=100) == [third, second]
    assert signing(house, party, after_s=200) == [third]


def test_the_secrets_of_one_endpoint_are_limited(house):
    party = house.register(MO, "ACME")
    for _ in range(WEBHOOK_SECRETS_MAX + 2):
        rotate(house, house.operator, party)
    assert len(signing(house, party)) == WEBHOOK_SECRETS_MAX


def test_a_rotation_is_a_change_of_the_organization(house):
    party = house.register(MO, "ACME")
    revision = organization(house, party).revision
    assert rotate(house, house.operator, party, if_match=revision).revision == revision + 1
    with pytest.raises(PreconditionFailedError):
        rotate(house, house.operator, party, if_match=revision)


def test_a_secret_is_kept_sealed_and_out_of_the_log(house):
    party = house.register(MO, "ACME")
    rotate(house, house.operator, party)
    endpoint = house.hub.directory.endpoints([party.organization_id])[party.organization_id]
    assert all(secret.sealed.startswith(b"sealed:") for secret in endpoint.secrets)


@pytest.mark.parametrize(
    ("members", "error"),
    [
        ({}, MissingFieldError),
        ({"overlap_s": -1}, InvalidFieldError),
        ({"overlap_s": 86401}, InvalidFieldError),
        ({"overlap_s": "60"}, InvalidFieldError),
        ({"overlap_s": 0, "secret": "whsec_mine"}, UnknownFieldError),
    ],
)
def test_a_malformed_rotation_is_refused(house, members, error):
    party = house.register(MO, "ACME")
    with pytest.raises(error):
        webhook_secrets.rotate_webhook_secret(house.hub, house.operator, MO, party.organization_id, members)
    assert signing(house, party) == [parse_secret(party.webhook_secret)]


def test_nobody_rotates_anothers_secret(house):
    party, other = house.register(MO, "ACME"), house.register(MO, "OTHER")
    with pytest.raises(NotFoundError):
        rotate(house, house.caller(other), party)
    auditor = house.add_identity("auditor", IdentityRole.AUDITOR)
    with pytest.raises(ForbiddenError):
        rotate(house, house.caller(auditor), party)
