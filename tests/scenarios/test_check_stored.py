"""What a store holds of a contract is what its parties signed, or the check says where it is not."""

from dataclasses import replace

import pytest

from moneta.application.check_stored import check_stored
from moneta.domain.errors import Refused
from moneta.domain.identifiers import MONETA
from moneta.signing import base64url
from moneta.signing.keys import parse_public_jwk
from tests.scenarios.play import Play


@pytest.fixture
def play(house):
    made = Play(house)
    made.does("mo submits")
    return made


def key_of(play):
    def found(owner, key_id):
        if owner == MONETA:
            return play.house.hub.signer.current().public
        key = play.house.hub.directory.keys_of([owner]).get(owner, {}).get(key_id)
        return None if key is None else parse_public_jwk(key.jwk)

    return found


def steps_of(play):
    from moneta.adapters.embedded.checks import _STEPS  # noqa: PLC0415
    from moneta.adapters.step_codec import decode_step  # noqa: PLC0415

    with play.house.store.database.read() as connection:
        number = connection.execute("SELECT ref FROM names WHERE name = ?", (play.contract_id,)).fetchall()[0][0]
        found = connection.execute(_STEPS, (number,)).fetchall()
    return [decode_step(step, leaf=leaf) for _, step, leaf in found]


def test_a_pending_and_a_finished_contract_are_genuine(play):
    check_stored(play.contract_id, steps_of(play), key_of(play))
    play.does("publisher signs")
    check_stored(play.contract_id, steps_of(play), key_of(play))


def another_body(steps):
    start = replace(steps[0].start, body_bytes=steps[0].start.body_bytes.replace(b"100.00", b"900.00"))
    return [replace(steps[0], start=start), *steps[1:]]


def another_receipt(steps):
    head, claims, _ = steps[-1].receipt.split(".")
    return [*steps[:-1], replace(steps[-1], receipt=f"{head}.{claims}.{base64url.encode(b'x' * 64)}")]


def without_a_signature(steps):
    return [replace(steps[0], signatures=steps[0].signatures[1:]), *steps[1:]]


# fmt: off
CHANGES = {
    "another body":          (another_body,                                            "signature"),
    "another receipt":       (another_receipt,                                         "receipt|signature"),
    "a signature less":      (without_a_signature,                                     "prev|signature|first"),
    "another leaf":          (lambda steps: [replace(steps[0], leaf=steps[1].leaf), *steps[1:]], "says something else"),
    "no leaf":               (lambda steps: [replace(steps[0], leaf=b""), *steps[1:]],  "can't be read"),
    "a leaf without a time": (lambda steps: [replace(steps[0], leaf=b"{}"), *steps[1:]], "can't be read"),
}
# fmt: on


@pytest.mark.parametrize("name", CHANGES)
def test_what_was_changed_is_found(play, name):
    play.does("publisher signs")
    change, reason = CHANGES[name]
    with pytest.raises(Refused, match=reason):
        check_stored(play.contract_id, change(steps_of(play)), key_of(play))


def test_the_receipt_of_another_contract_is_found(play):
    play.does("publisher signs")
    first = steps_of(play)
    other = Play.__new__(Play)
    other.__dict__ = {**play.__dict__, "count": 90}
    other.body = play.house.body(play.mo, play.publisher, play.mpass_id, contract_id="contract-2")
    other.contract_id = "contract-2"
    other.does("mo submits")
    other.does("publisher signs")
    swapped = [*first[:-1], replace(first[-1], receipt=steps_of(other)[-1].receipt)]
    with pytest.raises(Refused, match="another contract's"):
        check_stored(play.contract_id, swapped, key_of(play))


def test_a_contract_under_anothers_name_is_found(play):
    with pytest.raises(Refused, match="holds the body of"):
        check_stored("contract-9", steps_of(play), key_of(play))


@pytest.mark.parametrize("owner", ["moneta", "party"])
def test_a_key_that_is_not_in_the_registry_is_found(play, owner):
    known = key_of(play)

    def key_for(who, key_id):
        return None if (who == MONETA) is (owner == "moneta") else known(who, key_id)

    with pytest.raises(Refused, match="is not in the registry"):
        check_stored(play.contract_id, steps_of(play), key_for)
