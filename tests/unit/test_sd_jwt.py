"""Credentials: what the hub makes and a holder presents verifies; whatever is done to it, it verifies no more."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moneta.domain.errors import (
    CredentialExpiredError,
    InvalidProofError,
    InvalidSignatureError,
    MalformedJWSError,
    WrongAlgorithmError,
)
from moneta.domain.limits import CLOCK_SKEW_S, CREDENTIAL_BYTES_MAX, DISCLOSURES_MAX, KEY_BINDING_AGE_S_MAX
from moneta.signing import base64url
from moneta.signing.chain import encode_header, to_json
from moneta.signing.jws import signing_input
from moneta.signing.sd_jwt import (
    CREDENTIAL_TYPE,
    DISCLOSABLE,
    make_credential,
    present,
    to_json_array,
    verify_presentation,
)
from moneta.signing.statements import sign_compact
from tests.signing_examples import ALGORITHMS, HUB, NOW, OTHER_HUB, key_of

HUB_KEY, HOLDER = key_of("ES256", "moneta"), key_of("ES256", "holder")
URI = f"{HUB}/status-lists/mo-1.0"
END = NOW + 86_400
SHOWN_TO, NONCE = "publisher-1", "n-0123456789abcdef"
CLAIMS = {
    "mpass_id": "mpass-1",
    "number": "ACME1",
    "tier": "gold",
    "mo": {"id": "mo-1", "mic": "ACME", "name": "Ächme"},
    "policy": {"limits": [{"currency": "USD", "per": "day", "amount": "100.00"}]},
}
SALTS = [bytes([number]) * 16 for number in range(5)]


def credential(holder=HOLDER, **changed):
    members = {
        "issuer": HUB,
        "issued_at": NOW,
        "expires_at": END,
        "holder_jwk": holder.public.jwk,
        "status_uri": URI,
        "status_index": 7,
        "disclosable": CLAIMS,
        "salts": SALTS,
    }
    return make_credential(HUB_KEY, **{**members, **changed})


def shown(made=None, *, disclose=("number", "tier"), key=HOLDER, **changed):
    to = {"audience": SHOWN_TO, "nonce": NONCE, "issued_at": NOW}
    return present(made or credential(), key, disclose=disclose, **{**to, **changed})


def verify(text, **changed):
    members = {"issuer": HUB, "audience": SHOWN_TO, "nonce": NONCE, "now": NOW}
    return verify_presentation(text, lambda _kid, _iat: HUB_KEY.public, **{**members, **changed})


@given(st.sets(st.sampled_from(DISCLOSABLE)))
def test_what_the_holder_chooses_is_shown_and_nothing_else(names):
    found = verify(shown(disclose=names))
    assert found.claims == {name: CLAIMS[name] for name in names}
    assert (found.status_uri, found.status_index, found.expires_at) == (URI, 7, END)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_holder_has_a_key_of_any_allowed_kind(algorithm):
    holder = key_of(algorithm, "holder")
    assert verify(shown(credential(holder), key=holder)).holder == holder.public


def test_the_hub_tells_nothing_that_the_holder_did_not_show():
    token, *_ = shown(disclose=()).split("~")
    payload = base64url.decode(token.split(".")[1], what="payload").decode()
    assert not [value for value in ("mpass-1", "ACME1", "gold", "mo-1.", "100.00") if value in payload.replace(URI, "")]
    assert json.loads(payload)["_sd"] == sorted(json.loads(payload)["_sd"])


def test_what_a_credential_does_not_have_can_not_be_disclosed():
    made = credential(disclosable={"number": "ACME1"}, salts=SALTS[:1])
    with pytest.raises(MalformedJWSError, match="tier"):
        shown(made, disclose=["tier"])
    assert verify(shown(made, disclose=["number"])).claims == {"number": "ACME1"}


# The credential itself, as another might make it.

JWK = dict(HOLDER.public.jwk)
DISCLOSED = base64url.encode(to_json_array(["salt", "number", "ACME1"]))
DIGEST = base64url.sha256(DISCLOSED.encode())
PAYLOAD = {
    "iss": HUB,
    "iat": NOW,
    "exp": END,
    "vct": CREDENTIAL_TYPE,
    "cnf": {"jwk": JWK},
    "status": {"status_list": {"idx": 7, "uri": URI}},
    "_sd": [DIGEST],
    "_sd_alg": "sha-256",
}


def made_of(*disclosures, key=HUB_KEY, typ="dc+sd-jwt", without=(), **changed):
    """A credential of whatever members and disclosures, presented with all of them."""
    members = {name: value for name, value in {**PAYLOAD, **changed}.items() if name not in without}
    return bound("~".join([sign_compact(key, members, typ=typ), *disclosures, ""]))


def bound(text, *, key=HOLDER, typ="kb+jwt", without=(), header=None, **changed):
    """The holder's signature on a presentation."""
    claims = {"iat": NOW, "aud": SHOWN_TO, "nonce": NONCE, "sd_hash": base64url.sha256(text.encode()), **changed}
    told = {name: value for name, value in claims.items() if name not in without}
    protected = encode_header(header or {"alg": key.public.algorithm, "typ": typ})
    payload = base64url.encode(to_json(told))
    return f"{text}{protected}.{payload}.{base64url.encode(key.sign(signing_input(protected, payload)))}"


def test_a_credential_of_just_these_members_verifies():
    assert verify(made_of(DISCLOSED)).claims == {"number": "ACME1"}


def other(name, value, salt="salt"):
    return base64url.encode(to_json_array([salt, name, value]))


def signed(*disclosures, **changed):
    """A credential by the hub itself over these disclosures."""
    return made_of(*disclosures, _sd=[base64url.sha256(one.encode()) for one in disclosures], **changed)


STRANGER = key_of("ES256", "stranger")
FORGED = {
    "signed by another": made_of(DISCLOSED, key=STRANGER),
    "another kind of token": made_of(DISCLOSED, typ="moneta-receipt+jws"),
    "the typ of another format": made_of(DISCLOSED, typ="vc+sd-jwt"),
    "another hub's": made_of(DISCLOSED, iss=OTHER_HUB),
    "another type of credential": made_of(DISCLOSED, vct="urn:moneta:mpass:2"),
    "another digest": made_of(DISCLOSED, _sd_alg="sha-512"),
    "issued in the future": made_of(DISCLOSED, iat=NOW + CLOCK_SKEW_S + 1),
    "a status list of another issuer": made_of(
        DISCLOSED, status={"status_list": {"idx": 7, "uri": f"{OTHER_HUB}/status-lists/mo-1.0"}}
    ),
    "a status list elsewhere at the issuer": made_of(DISCLOSED, status={"status_list": {"idx": 7, "uri": f"{HUB}/x"}}),
    "a disclosure that is swapped": made_of(other("number", "ACME2")),
    "a disclosure of another credential": made_of(other("number", "ACME1", salt="other")),
    "a disclosure that nothing refers to": made_of(DISCLOSED, other("tier", "gold")),
}
MALFORMED = {
    "nothing": "",
    "no credential": "~binding",
    "a credential alone": made_of(DISCLOSED).split("~", maxsplit=1)[0],
    "no ASCII": made_of(DISCLOSED) + "ü",
    "too long": "~".join([made_of(DISCLOSED), "x" * CREDENTIAL_BYTES_MAX]),
    "too many disclosures": signed(*[other("tier", str(number)) for number in range(DISCLOSURES_MAX + 1)]),
    "a member too many": made_of(DISCLOSED, sub="mpass-1"),
    "without an end": made_of(DISCLOSED, without=["exp"]),
    "without a holder": made_of(DISCLOSED, without=["cnf"]),
    "without a status": made_of(DISCLOSED, without=["status"]),
    "an end that is text": made_of(DISCLOSED, exp=str(END)),
    "a start that is true": made_of(DISCLOSED, iat=True),
    "a start below nought": made_of(DISCLOSED, iat=-1),
    "a holder by name": made_of(DISCLOSED, cnf={"kid": HOLDER.public.key_id}),
    "a holder who is text": made_of(DISCLOSED, cnf="holder"),
    "a status of another kind": made_of(DISCLOSED, status={"status_list": {"idx": 7, "uri": URI, "bits": 2}}),
    "a status that is text": made_of(DISCLOSED, status={"status_list": URI}),
    "a place beyond the list": made_of(DISCLOSED, status={"status_list": {"idx": 65_536, "uri": URI}}),
    "a place below nought": made_of(DISCLOSED, status={"status_list": {"idx": -1, "uri": URI}}),
    "a place that is true": made_of(DISCLOSED, status={"status_list": {"idx": True, "uri": URI}}),
    "a digest twice": made_of(DISCLOSED, _sd=[DIGEST, DIGEST]),
    "a digest that is a number": made_of(DISCLOSED, _sd=[DIGEST, 7]),
    "digests that are text": made_of(DISCLOSED, _sd=DIGEST),
    "no digests": made_of(_sd=[]),
    "a disclosure twice": made_of(DISCLOSED, DISCLOSED),
    "a claim twice": signed(DISCLOSED, other("number", "ACME2")),
    "a disclosure that is padded": made_of(DISCLOSED + "="),
    "a disclosure that is no JSON": signed(base64url.encode(b"[")),
    "a disclosure that is an object": signed(base64url.encode(b'{"number":"ACME1"}')),
    "a disclosure of an element": signed(base64url.encode(to_json_array(["salt", "ACME1"]))),
    "a disclosure without a salt": signed(base64url.encode(to_json_array([7, "number", "ACME1"]))),
    "a name that is a number": signed(base64url.encode(to_json_array(["salt", 7, "ACME1"]))),
    "an end by disclosure": signed(other("exp", END * 2)),
    "digests by disclosure": signed(other("_sd", [DIGEST])),
    "digests within a value": signed(other("mo", {"deep": [{"_sd": [DIGEST]}]})),
    "an element within a value": signed(other("policy", [{"...": DIGEST}])),
}


@pytest.mark.parametrize("case", FORGED)
def test_what_the_hub_did_not_sign_is_refused(case):
    with pytest.raises(InvalidSignatureError):
        verify(FORGED[case])


@pytest.mark.parametrize("case", MALFORMED)
def test_what_has_not_exactly_the_form_is_refused(case):
    with pytest.raises(MalformedJWSError):
        verify(MALFORMED[case])


def test_alg_none_is_refused():
    _, payload, _ = made_of(DISCLOSED).split("~")[0].split(".")
    header = base64url.encode(b'{"alg":"none","kid":"%s","typ":"dc+sd-jwt"}' % HUB_KEY.public.key_id.encode())
    with pytest.raises(WrongAlgorithmError):
        verify(bound(f"{header}.{payload}.~{DISCLOSED}~"))


@pytest.mark.parametrize(("now", "is_in_force"), [(END - 1, True), (END, False), (END + 1, False)])
def test_a_credential_ends_when_it_says(now, is_in_force):
    text = shown(issued_at=now)
    if is_in_force:
        assert verify(text, now=now)
    else:
        with pytest.raises(CredentialExpiredError):
            verify(text, now=now)


# The key binding.

OPEN = made_of(DISCLOSED).rsplit("~", 1)[0] + "~"
UNBOUND = {
    "nobody presents it": OPEN,
    "a stranger presents it": bound(OPEN, key=STRANGER),
    "another kind of token": bound(OPEN, typ="JWT"),
    "alg none": bound(OPEN, header={"alg": "none", "typ": "kb+jwt"}),
    "another algorithm": bound(OPEN, header={"alg": "RS256", "typ": "kb+jwt"}),
    "a header with a key of its own": bound(OPEN, header={"alg": "ES256", "typ": "kb+jwt", "jwk": JWK}),
    "for another": bound(OPEN, aud="publisher-2"),
    "for several": bound(OPEN, aud=[SHOWN_TO]),
    "of another occasion": bound(OPEN, nonce="another"),
    "of another presentation": bound(OPEN, sd_hash=DIGEST),
    "without a nonce": bound(OPEN, without=["nonce"]),
    "with an end": bound(OPEN, exp=END),
    "too old": bound(OPEN, iat=NOW - KEY_BINDING_AGE_S_MAX - 1),
    "of the future": bound(OPEN, iat=NOW + CLOCK_SKEW_S + 1),
    "a time that is text": bound(OPEN, iat=str(NOW)),
    "a time that is true": bound(OPEN, iat=True),
    "cut short": OPEN + "abc",
}


@pytest.mark.parametrize("case", UNBOUND)
def test_what_its_holder_did_not_show_here_and_now_is_refused(case):
    with pytest.raises(InvalidProofError):
        verify(UNBOUND[case])


def test_a_disclosure_that_is_taken_away_or_added_breaks_the_binding():
    text = shown(disclose=["number", "tier"])
    token, number, tier, binding = text.split("~")
    for changed in ([token, number, binding], [token, binding], [token, tier, number, binding]):
        with pytest.raises(InvalidProofError, match="sd_hash"):
            verify("~".join(changed))
    assert verify(text)


def test_a_key_that_does_not_count_is_not_asked():
    def refuse(_key_id, issued_at):
        raise InvalidSignatureError(f"not at {issued_at}")

    with pytest.raises(InvalidSignatureError, match=f"not at {NOW}"):
        verify_presentation(shown(), refuse, issuer=HUB, audience=SHOWN_TO, nonce=NONCE, now=NOW)
