"""``moneta verify``: what passes, what is only consistent, and that whatever is changed is found and named."""

import base64
import hashlib
import json
import subprocess
import sys

import pytest

from moneta.application import queries
from moneta.application.deliver_webhooks import message_body
from moneta.application.documents import to_json
from moneta.application.ports import DeliveryQuery
from moneta.domain.identifiers import UnixSeconds
from moneta.entrypoints.cli.failures import CommandError
from moneta.entrypoints.cli.verification import verify_file
from moneta.signing import statements
from tests.scenarios.play import Play
from tests.scenarios.test_signing_flow import CAMPAIGN
from tests.signing_examples import key_of

VERIFIED, BROKEN, NOT_PROVEN = 0, 1, 3
FINALIZED = ("mo submits", "publisher signs")
DECLINED = ("mo submits", "publisher declines")
CANCELLED = ("mo submits", "mo cancels")
EXPIRED = ("mo submits", "time passes", "time expires")
PENDING = ("mo submits",)


def decoded(text):
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def encoded(members):
    return base64.urlsafe_b64encode(json.dumps(members).encode()).rstrip(b"=").decode()


class Files:
    """Documents of one contract, on disk, as a stranger gets them."""

    def __init__(self, house, folder):
        self.house, self.folder = house, folder
        self.hub_key = house.hub.signer.current().public.key_id

    def play(self, *words, template="transaction-contract", **members):
        self.game = Play(self.house, template, **members)
        for word in words:
            assert self.game.does(word) == "processed"
        return json.loads(to_json(queries.contract_document(self.house.hub, self.game.contract)))

    def write(self, document, name="contract.json"):
        path = self.folder / name
        path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
        return path

    def verify(self, document, *, hub_key=None, trust=None):
        trust_file = None if trust is None else self.write(trust, "trust.json")
        keys = frozenset() if hub_key is None else frozenset({hub_key})
        return verify_file(self.write(document), hub_keys=keys, trust=trust_file)

    def trusted_keys(self, *, with_parties):
        keys = list(queries.read_moneta_keys(self.house.hub).body["keys"])
        if with_parties:
            parties = self.game.parties.values()
            keys += [{**one.key.public.jwk, "owner": one.organization_id} for one in parties]
        return {"keys": keys}

    def webhook(self, kind):
        page = self.house.hub.deliveries.list(DeliveryQuery(visible_to=None, limit=50))
        owed = next(one.owed for one in page.items if one.owed.type.endswith(kind))
        at = self.house.hub.contracts.read_at([(owed.contract_id, owed.revision)])
        return json.loads(message_body(self.house.hub, owed, at[owed.contract_id, owed.revision]))


@pytest.fixture
def files(house, tmp_path):
    return Files(house, tmp_path)


@pytest.mark.parametrize(
    ("words", "status"),
    [(FINALIZED, "finalized"), (DECLINED, "declined"), (CANCELLED, "cancelled"), (EXPIRED, "expired")],
)
def test_every_end_is_verified_with_the_hubs_key(files, words, status):
    members = {"expires_at": files.house.hub.now_s() + 600} if words is EXPIRED else {}
    report = files.verify(files.play(*words, **members), hub_key=files.hub_key)
    assert (report.exit_code, report.status) == (VERIFIED, status), report.to_text()
    assert report.conclusion == f"verified: contract contract-1 is {status}"
    assert [check.number for check in report.checks] == [1, 2, 3, 4, 5, 6, 7]


def test_a_step_in_parallel_is_verified(files):
    campaign = {"mpass_id": None, "payload": CAMPAIGN}
    document = files.play("mo submits", "publisher signs", template="joint-campaign-agreement", **campaign)
    report = files.verify(document, hub_key=files.hub_key)
    assert report.exit_code == VERIFIED
    assert "mo → moneta+publisher" in report.to_text()


def test_without_an_anchor_it_is_consistent_and_no_more(files):
    report = files.verify(files.play(*FINALIZED))
    assert report.exit_code == NOT_PROVEN
    assert report.conclusion.startswith("consistent, not anchored: ")


def test_a_pending_contract_proves_no_end(files):
    report = files.verify(files.play(*PENDING), hub_key=files.hub_key)
    assert report.exit_code == NOT_PROVEN
    assert report.conclusion == ("consistent, without a receipt: pending_publisher_signature; nothing proves an end")


def test_another_hubs_key_is_no_anchor(files):
    report = files.verify(files.play(*FINALIZED), hub_key=key_of("ES256", "other").public.key_id)
    assert report.exit_code == BROKEN
    assert report.conclusion == f"broken: anchor: Moneta's key {files.hub_key} is not one that you know"


@pytest.mark.parametrize("with_parties", [False, True])
def test_a_trust_file_is_an_anchor(files, with_parties):
    document = files.play(*FINALIZED)
    report = files.verify(document, trust=files.trusted_keys(with_parties=with_parties))
    assert report.exit_code == VERIFIED, report.to_text()
    assert report.to_text().count("trusted") == (3 if with_parties else 1)


def test_a_trust_file_leaves_an_organization_no_other_key(files):
    document = files.play(*FINALIZED)
    other = {**key_of("ES256", "other").public.jwk, "owner": files.game.publisher.organization_id}
    trust = files.trusted_keys(with_parties=False)
    report = files.verify(document, trust={"keys": [*trust["keys"], other]})
    assert report.exit_code == BROKEN
    assert "publisher: key" in report.conclusion
    assert "is not one that --trust gives" in report.conclusion


@pytest.mark.parametrize("member", ["revoked_at", "exp"])
def test_a_key_of_the_hubs_counts_in_its_period_only(files, member):
    document = files.play(*FINALIZED)
    trust = files.trusted_keys(with_parties=False)
    trust["keys"][0][member] = UnixSeconds(1)
    report = files.verify(document, trust=trust)
    assert report.exit_code == BROKEN
    assert files.hub_key in report.conclusion


@pytest.mark.parametrize(
    ("words", "kind"), [(FINALIZED, "finalized"), (DECLINED, "declined"), (CANCELLED, "cancelled")]
)
def test_a_webhook_is_verified_with_the_keys_of_a_trust_file(files, words, kind):
    files.play(*words)
    report = files.verify(files.webhook(kind), trust=files.trusted_keys(with_parties=True))
    assert (report.exit_code, report.status) == (VERIFIED, kind), report.to_text()


def test_a_request_to_sign_proves_no_end(files):
    files.play(*PENDING)
    report = files.verify(files.webhook("signature_requested"), trust=files.trusted_keys(with_parties=True))
    assert report.exit_code == NOT_PROVEN
    assert report.conclusion.startswith("consistent, without a receipt: pending_publisher_signature")


def test_a_webhook_shows_no_keys_and_says_which_are_missing(files):
    files.play(*FINALIZED)
    report = files.verify(files.webhook("finalized"), hub_key=files.hub_key)
    kid = files.game.mo.key.public.key_id
    assert report.exit_code == BROKEN
    assert report.conclusion == f"broken: keys: mo: key {kid} is not in the file; give it with --trust"


def test_signatures_alone_prove_no_end(files):
    document = files.play(*FINALIZED)
    report = files.verify(document["jws"], trust=files.trusted_keys(with_parties=True))
    assert report.exit_code == NOT_PROVEN
    assert report.conclusion == "consistent, without a receipt: signatures only; nothing proves an end"


def changed(document, path, value):
    """The document with one member replaced; a path's numbers are places in a list."""
    *way, last = (int(name) if name.isdigit() else name for name in path.split("."))
    place = document
    for name in way:
        place = place[name]
    place[last] = value(place[last]) if callable(value) else value
    return document


def flipped(text):
    middle = len(text) // 2
    return text[:middle] + ("A" if text[middle] != "A" else "B") + text[middle + 1 :]


def with_header(**members):
    return lambda protected: encoded({**decoded(protected), **members})


def without_the_second(signatures):
    return signatures[:1] + signatures[2:]


def bigger(payload):
    body = decoded(payload)
    body["payload"]["transaction"]["amount"] = "999.00"
    return encoded(body)


TAMPERED = {
    # what is changed: where, to what, and what is named
    "the body": ("jws.payload", bigger, "signatures: mo: "),
    "a bit of the first signature": ("jws.signatures.0.signature", flipped, "signatures: mo: "),
    "a bit of Moneta's signature": ("jws.signatures.1.signature", flipped, "signatures: moneta: "),
    "a bit of the last signature": ("jws.signatures.2.signature", flipped, "signatures: publisher: "),
    "the time of a signature": ("jws.signatures.0.protected", with_header(iat=1), "signatures: mo: "),
    "a kid": ("jws.signatures.0.protected", with_header(kid="A" * 43), "keys: mo: key AAA"),
    "a role that is none": (
        "jws.signatures.0.protected",
        with_header(role="nobody"),
        "keys: role: unknown role 'nobody'",
    ),
    "a member more in a header": (
        "jws.signatures.0.protected",
        with_header(crit=[]),
        "form: contract.signatures header: member 'crit'",
    ),
    "a signature left out": ("jws.signatures", without_the_second, "signatures: prev"),
    "the last signature left out": ("jws.signatures", lambda all_: all_[:2], "receipt: head"),
    "signatures in another order": ("jws.signatures", lambda all_: all_[::-1], "signatures: prev"),
    "a signature doubled": ("jws.signatures", lambda all_: [*all_, all_[-1]], "signatures: "),
    "a bit of the receipt": ("receipt", flipped, "receipt: "),
    "no receipt": ("receipt", None, "receipt: the file claims an end"),
    "the status": ("status", "declined", "view: status"),
    "the status back to pending": ("status", "pending_publisher_signature", "view: status"),
    "the time of the end": ("finalized_at", 1, "view: finalized_at"),
    "the amount as it is shown": ("payload.transaction.amount", "999.00", "view: payload"),
    "the payload's members": ("payload.transaction", {}, "view: payload"),
    "the publisher as it is shown": ("publisher_id", "somebody", "view: publisher_id"),
    "the contract's id as it is shown": ("contract_id", "contract-2", "view: contract_id"),
    "the template as it is shown": ("template_id", "charge-contract", "view: template_id"),
    "the version as it is shown": ("version", 2, "view: version"),
    "the time of making": ("created_at", 1, "view: created_at"),
    "who signs next": ("next_signers", ["mo"], "view: next_signers"),
    "a role in the map of signatures": ("signatures_map", lambda shown: {**shown, "org": {}}, "view: signatures_map"),
    "a signature in the map": ("signatures_map.mo.signature", flipped, "view: signatures_map.mo.signature"),
    "a time in the map": ("signatures_map.mo.timestamp", 1, "view: signatures_map.mo.timestamp"),
    "a key in the map": ("signatures_map.mo.public_key", flipped, "keys: signatures_map.mo.public_key"),
    "a kid in the map": ("signatures_map.mo.kid", "A" * 43, "keys: signatures_map.mo.public_key"),
    "an algorithm in the map": ("signatures_map.mo.alg", "ES256", "keys: signatures_map.mo.public_key"),
    "an act that there was not": ("acts", ["a.b.c"], "receipt: act_sha256"),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_whatever_is_changed_is_found_and_named(files, what):
    path, value, named = TAMPERED[what]
    document = changed(files.play(*FINALIZED), path, value)
    report = files.verify(document, hub_key=files.hub_key)
    assert report.exit_code == BROKEN, report.to_text()
    assert report.conclusion.startswith(f"broken: {named}")
    assert report.to_text().splitlines()[-2].lstrip().split()[1] == "✗"


def test_the_receipt_of_another_contract_is_no_receipt_for_this_one(files):
    document = files.play(*FINALIZED)
    other = files.house.body(files.game.mo, files.game.publisher, files.game.mpass_id, contract_id="contract-2")
    files.house.submit(files.game.mo, other)
    files.house.sign(files.game.publisher, "contract-2")
    document["receipt"] = files.house.contract("contract-2").receipt
    report = files.verify(document, hub_key=files.hub_key)
    assert report.conclusion.startswith("broken: receipt: contract_id")


def test_an_act_of_another_is_not_this_contracts(files):
    document = files.play(*DECLINED)
    act = files.game.act("publisher", "decline", reason_code="another")
    assert files.verify({**document, "acts": [act]}, hub_key=files.hub_key).conclusion.startswith(
        "broken: receipt: act_sha256"
    )
    for second in (act, document["acts"][0], document["acts"][0][:-4]):
        twice = files.verify({**document, "acts": [*document["acts"], second]}, hub_key=files.hub_key)
        assert twice.conclusion.startswith("broken: acts: one act ends a contract, got 2")


def test_an_act_by_a_key_that_is_not_shown_is_vouched_for_by_the_receipt(files):
    document = files.play(*DECLINED)
    report = files.verify(document, hub_key=files.hub_key)
    assert report.exit_code == VERIFIED
    assert "its bytes are vouched for by the receipt" in report.to_text()
    with_keys = files.verify(document, trust=files.trusted_keys(with_parties=True))
    assert "decline by publisher" in with_keys.to_text()


def test_a_whole_file_made_up_with_keys_of_ones_own_is_not_anchored(files):
    """The attack that the anchor is for: everything fits, and nothing of it is true."""
    document = files.play(*FINALIZED)
    forged_key = key_of("ES256", "forger")
    moneta = document["jws"]["signatures"][1]
    header = {**decoded(moneta["protected"]), "kid": forged_key.public.key_id}
    protected = encoded(header)
    signature = forged_key.sign(f"{protected}.{document['jws']['payload']}".encode())
    forged = {"protected": protected, "signature": base64.urlsafe_b64encode(signature).rstrip(b"=").decode()}
    document["jws"]["signatures"] = [document["jws"]["signatures"][0], forged]
    document["signatures_map"].pop("publisher")
    shown = document["signatures_map"]["moneta"]
    shown["signature"], shown["kid"] = forged["signature"], forged_key.public.key_id
    shown["public_key"] = base64.urlsafe_b64encode(forged_key.public.spki_der()).rstrip(b"=").decode()
    head = hashlib.sha256(hashlib.sha256(f"{protected}.{forged['signature']}".encode()).digest()).digest()
    claims = decoded(document["receipt"].split(".")[1])
    claims["head"] = base64.urlsafe_b64encode(head).rstrip(b"=").decode()
    document["receipt"] = statements.make_receipt(forged_key, claims, issued_at=UnixSeconds(claims["finalized_at"]))
    assert files.verify(document).exit_code == NOT_PROVEN
    assert files.verify(document, hub_key=files.hub_key).conclusion.startswith("broken: anchor")


# fmt: off
UNREADABLE = {
    # what it is                  what it holds                              what is said
    "no JSON":                    ("not json",                               "not "),
    "an array":                   ("[]",                                     "expected a JSON object"),
    "doubled names":              ('{"jws": 1, "jws": 2}',                   "jws"),
    "something else":             ("{}",                                     "holds no contract"),
    "a webhook without one":      ('{"data": {"contract": null}}',           "holds no contract"),
}
# fmt: on


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_is_no_contract_is_refused_by_name(files, what):
    text, said = UNREADABLE[what]
    with pytest.raises(CommandError, match=said):
        files.verify(text)


@pytest.mark.parametrize("trust", ["[]", '{"keys": {}}', '{"keys": [{"kty": "oct"}]}', '{"keys": [1]}'])
def test_a_trust_file_that_is_none_is_refused(files, trust):
    with pytest.raises(CommandError, match=r"trust\.json"):
        files.verify(files.play(*FINALIZED), trust=trust)


def test_a_program_reads_the_same_as_json(files):
    report = json.loads(files.verify(files.play(*FINALIZED), hub_key=files.hub_key).to_json())
    assert report["is_verified"] is True
    assert (report["contract_id"], report["status"]) == ("contract-1", "finalized")
    assert {check["state"] for check in report["checks"]} == {"passed"}


def test_verifying_needs_neither_store_nor_hub():
    script = (
        "import sys, moneta.entrypoints.cli.verification;"
        "print([name for name in ('apsw', 'moneta.bootstrap', 'moneta.adapters', 'litestar') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
