"""Another language's library judges credentials and status lists: OpenWallet Foundation's ``@sd-jwt``, in both ways.

What it makes is in ``sd_jwt_js/vectors.json``, with the script that made it, and verifies here. What we make it
verifies itself, where node and its packages are: ``npm ci --prefix tests/vectors/sd_jwt_js``.
"""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from moneta.domain.errors import InvalidProofError, InvalidSignatureError, MalformedJWSError, StatusListStaleError
from moneta.signing.keys import parse_public_jwk
from moneta.signing.sd_jwt import DISCLOSABLE, make_credential, present, verify_presentation
from moneta.signing.status_list import make_status_list, pack_statuses, unpack_status, verify_status_list
from tests.signing_examples import HUB, NOW, key_of

FOLDER = Path(__file__).parent / "sd_jwt_js"
VECTORS = json.loads((FOLDER / "vectors.json").read_text(encoding="utf-8"))
HUB_KEY = parse_public_jwk(VECTORS["hub_jwk"])
SHOWN = VECTORS["presentations"]
NODE = shutil.which("node")
TIMEOUT_S = 60

node_required = pytest.mark.skipif(
    NODE is None or not (FOLDER / "node_modules").is_dir(),
    reason="needs node, and: npm ci --prefix tests/vectors/sd_jwt_js",
)


# What it made.


def verify(text, **changed):
    told = {name: VECTORS[name] for name in ("issuer", "audience", "nonce", "now")}
    return verify_presentation(text, lambda _kid, _iat: HUB_KEY, **{**told, **changed})


def read_list(*, uri=VECTORS["status_uri"], now=VECTORS["now"]):
    return verify_status_list(VECTORS["status_list"], lambda _kid, _iat: HUB_KEY, uri=uri, now=now)


@pytest.mark.parametrize("name", SHOWN)
def test_what_it_presents_verifies_here(name):
    found = verify(SHOWN[name]["text"])
    assert found.claims == SHOWN[name]["claims"]
    assert found.holder == parse_public_jwk(VECTORS["holder_jwk"])
    assert (found.status_uri, found.status_index) == (VECTORS["status_uri"], VECTORS["status_index"])


def test_the_list_it_makes_says_here_what_it_was_made_of():
    found, told = read_list(), {int(index): status for index, status in VECTORS["statuses"].items()}
    assert len(found.statuses) == 65_536 // 4
    assert {index: found.status(index) for index in range(65_536) if found.status(index)} == told
    assert found.status(VECTORS["status_index"]) == 0


def test_what_it_presents_is_bound_to_one_verifier_and_one_occasion():
    text = SHOWN["everything"]["text"]
    for changed in ({"audience": "publisher-2"}, {"nonce": "another"}, {"now": VECTORS["now"] + 301}):
        with pytest.raises(InvalidProofError):
            verify(text, **changed)


def test_its_credential_alone_is_no_presentation():
    with pytest.raises(InvalidProofError, match="key binding"):
        verify(VECTORS["credential"])


def test_disclosures_of_its_presentations_are_not_mixed():
    ours = present(
        VECTORS["credential"],
        key_of("ES256", "stranger"),
        disclose=["number"],
        audience=VECTORS["audience"],
        nonce=VECTORS["nonce"],
        issued_at=VECTORS["now"],
    )
    theirs = SHOWN["the number"]["text"]
    with pytest.raises(InvalidProofError):
        verify(ours)
    with pytest.raises(InvalidProofError):
        verify("~".join([*SHOWN["everything"]["text"].split("~")[:-1], theirs.split("~")[-1]]))
    with pytest.raises(MalformedJWSError):
        verify(theirs.replace("~", f"~{theirs.split('~')[1]}~", 1))


def test_its_list_is_of_one_place_and_one_minute():
    with pytest.raises(InvalidSignatureError):
        read_list(uri=VECTORS["status_uri"] + "1")
    with pytest.raises(StatusListStaleError):
        read_list(now=VECTORS["now"] + 60)


# What it verifies.

OUR_KEY, HOLDER = key_of("ES256", "moneta"), key_of("ES256", "holder")
URI = f"{HUB}/status-lists/mo-1.0"
CLAIMS = {
    "mpass_id": "mpass-1",
    "number": "ACME1",
    "tier": "gold",
    "mo": {"id": "mo-1", "mic": "ACME", "name": "Ächme"},
    "policy": {"valid_until": NOW},
}


def our_presentation(*names, key=HOLDER):
    made = make_credential(
        OUR_KEY,
        issuer=HUB,
        issued_at=NOW,
        expires_at=NOW + 86_400,
        holder_jwk=HOLDER.public.jwk,
        status_uri=URI,
        status_index=7,
        disclosable=CLAIMS,
        salts=[bytes([number]) * 16 for number in range(len(CLAIMS))],
    )
    return present(made, key, disclose=names, audience="publisher-1", nonce="nonce-1", issued_at=NOW)


def our_list(statuses, *, key=OUR_KEY):
    return make_status_list(key, pack_statuses(statuses, bits=2, places=65_536), bits=2, uri=URI, issued_at=NOW)


def case(*names, statuses=None, list_key=OUR_KEY, key=HOLDER, **changed):
    members = {
        "presentation": our_presentation(*names, key=key),
        "status_list": our_list(statuses or {}, key=list_key),
        "hub_jwk": dict(OUR_KEY.public.jwk),
        "nonce": "nonce-1",
        "now": NOW,
    }
    return {**members, **changed}


ACCEPTED = {
    "nothing": (),
    "the number": ("number",),
    "the tier and the MO": ("tier", "mo"),
    "everything": DISCLOSABLE,
}
REFUSED = {
    "a revoked pass": (case(statuses={7: 1}), "Status is not valid"),
    "a suspended pass": (case(statuses={7: 2}), "Status is not valid"),
    "a list by another": (case(list_key=key_of("ES256", "stranger")), "Status List JWT verification failed"),
    "a stranger who presents it": (case(key=key_of("ES256", "stranger")), "Invalid JWT Signature"),
    "another hub": (case(hub_jwk=dict(key_of("ES256", "stranger").public.jwk)), "Invalid JWT Signature"),
    "another occasion": (case(nonce="nonce-2"), "Invalid Nonce"),
    "after its end": (case(now=NOW + 86_401), "JWT is expired"),
}


@pytest.fixture(scope="module")
def judged():
    cases = {
        **{name: case(*names) for name, names in ACCEPTED.items()},
        **{name: row[0] for name, row in REFUSED.items()},
    }
    asked = json.dumps(list(cases.values())).encode()
    ran = subprocess.run(
        [NODE, FOLDER / "verify.mjs"], input=asked, capture_output=True, timeout=TIMEOUT_S, check=True, cwd=FOLDER
    )
    return dict(zip(cases, json.loads(ran.stdout), strict=True))


@node_required
@pytest.mark.parametrize("name", ACCEPTED)
def test_it_verifies_what_we_make_and_finds_the_same(judged, name):
    found = judged[name]
    assert "error" not in found
    assert {claim: found["claims"].get(claim) for claim in CLAIMS} == {
        claim: CLAIMS[claim] if claim in ACCEPTED[name] else None for claim in CLAIMS
    }
    assert (found["kb"]["aud"], found["claims"]["vct"]) == ("publisher-1", "urn:moneta:mpass:1")


@node_required
@pytest.mark.parametrize("name", REFUSED)
def test_it_refuses_what_is_not_valid(judged, name):
    assert REFUSED[name][1] in judged[name]["error"]


def test_its_packed_bytes_are_ours():
    told = {int(index): status for index, status in VECTORS["statuses"].items()}
    packed = pack_statuses(told, bits=2, places=65_536)
    assert packed == read_list().statuses
    assert [unpack_status(packed, index, bits=2) for index in told] == list(told.values())
