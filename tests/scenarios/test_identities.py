"""Identities: made at the store itself, each with the key that signs its tokens, and with the rights of its role."""

import pytest

from moneta.application import identities
from moneta.application.ports import IdentityRole
from moneta.domain.errors import InvalidFieldError, KeyTakenError
from moneta.domain.identifiers import MONETA, OrganizationId
from moneta.domain.keys import KeyUse
from moneta.signing import jws
from tests.hub import MO
from tests.signing_examples import NOW, key_of


def add(house, identity_id, role=IdentityRole.AUDITOR, key=None):
    key = key or key_of("ES256", f"identity {identity_id}")
    return identities.add_identity(house.hub, identity_id=OrganizationId(identity_id), role=role, key=key.public)


@pytest.mark.parametrize("role", IdentityRole)
def test_an_identity_calls_with_its_role(house, role):
    holder = house.add_identity("somebody", role)
    caller = house.caller(holder)
    assert (caller.caller_id, caller.role, caller.status) == ("somebody", role, None)
    (key,) = house.hub.directory.keys_of([holder.organization_id])[holder.organization_id].values()
    assert key.uses == {KeyUse.AUTH}


def test_an_identity_is_answered_with_what_its_owner_needs(house):
    key = key_of("EdDSA", "identity somebody")
    answer = add(house, "somebody", key=key)
    assert answer.body == {"id": "somebody", "role": "auditor", "kid": key.public.key_id, "created_at": NOW}


def test_the_record_says_that_it_was_made_at_the_store(house):
    add(house, "somebody")
    with house.store.database.read() as connection:
        (leaf,) = connection.execute("SELECT entry FROM leaves ORDER BY leaf DESC LIMIT 1").fetchone()
    claims = jws.parse_compact(leaf.decode(), jws.RECORD_HEADER, what="record").claims
    assert claims["by"] == {"sub": MONETA, "kid": None, "jti": None}
    assert (claims["act"], claims["subject"]) == ("add_identity", "somebody")


def test_an_id_and_a_key_are_given_out_once(house):
    party = house.register(MO, "ACME")
    add(house, "somebody")
    for taken in ("somebody", "operator", MONETA, party.organization_id, "a b", ""):
        with pytest.raises(InvalidFieldError):
            add(house, taken)
    for taken in (house.console.auth_key, party.key):
        with pytest.raises(KeyTakenError):
            add(house, "another", key=taken)
