"""Moneta's keys on AWS: read from the secret and remembered for a while, rotated without a gap, never shown."""

import base64
import json
import subprocess
import traceback
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest
from botocore.exceptions import ClientError, NoCredentialsError
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import verification

from moneta.adapters.aws import hub_secret
from moneta.adapters.aws.certificates import KMSRootKey, certified_url, check_chain
from moneta.adapters.aws.hub_secret import (
    SECRET_LIFETIME_S,
    SECRET_RETRY_S,
    SECRET_STALE_S_MAX,
    HubSecret,
)
from moneta.client.trust import parse_key_set
from moneta.domain.errors import MisconfiguredError, StoreUnavailableError
from moneta.domain.limits import ROTATION_LEAD_S, ROTATION_OVERLAP_S, SIGNING_PERIOD_S
from tests.aws.key_services import ROOT_KEY_ID, SECRET_ID, TIMED_OUT, FakeKMS, refusal
from tests.http.api_server import serving
from tests.key_desks import DeskOnAWS, kid
from tests.signing_examples import HUB, key_of

MESSAGE = b"what is signed"


@pytest.fixture
def desk():
    return DeskOnAWS()


# The first keys.


def test_what_is_signed_and_sealed_is_verified_and_opened_by_another_process(desk):
    made = desk.begin()
    (signer, sealer), (other, opener) = desk.process(), desk.process()
    signature = signer.current().sign(MESSAGE)
    [published] = other.published()
    published.public.verify(signature, MESSAGE, algorithm="ES256")
    assert published == made
    assert (published.not_before, published.expires_at) == (desk.now, desk.now + SIGNING_PERIOD_S)
    assert opener.unseal(sealer.seal(b"whsec")) == b"whsec"


def test_keys_are_made_once_however_often_it_is_asked_for(desk):
    made = desk.begin()
    again = desk.custody.make_first(base_url=HUB, now=desk.now + 60)
    assert (again.key, again.is_new) == (made, False)
    assert len(desk.secrets.versions) == 1


def test_of_two_who_make_the_first_keys_at_once_one_wins_and_the_other_is_told(desk):
    other = replace(desk.custody, secret=SlowSecret(desk.secrets, ("", None)))
    made = desk.begin()
    with pytest.raises(StoreUnavailableError, match="run it again"):
        other.make_first(base_url=HUB, now=desk.now)
    assert kid(desk.signer()) == made.public.key_id


class SlowSecret(HubSecret):
    """Read before somebody else wrote."""

    def __init__(self, client, seen):
        super().__init__(client, SECRET_ID)
        self.read = self.read_text = lambda: seen


# Certificates.


def der_chain(jwk):
    return [base64.b64decode(one, validate=True) for one in jwk["x5c"]]


def verified_by_openssl(folder, chain, *, at):
    """What openssl says of the first certificate, trusting the last alone."""
    for file, one in (("leaf", chain[0]), ("root", chain[-1])):
        (folder / f"{file}.pem").write_bytes(x509.load_der_x509_certificate(one).public_bytes(Encoding.PEM))
    command = ["openssl", "verify", "-x509_strict", "-check_ss_sig", "-attime", str(at), "-CAfile", "root.pem"]
    done = subprocess.run([*command, "leaf.pem"], cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stdout + done.stderr


def verified_by_cryptography(chain, *, at):
    """The URLs that the first certificate is for, by the path validation of RFC 5280, trusting the last alone."""
    leaf, root = (x509.load_der_x509_certificate(one) for one in (chain[0], chain[-1]))
    ends = verification.ExtensionPolicy.permit_all().require_present(
        x509.SubjectAlternativeName, verification.Criticality.AGNOSTIC, None
    )
    policy = verification.PolicyBuilder().store(verification.Store([root])).time(datetime.fromtimestamp(at, UTC))
    policy = policy.extension_policies(ca_policy=verification.ExtensionPolicy.webpki_defaults_ca(), ee_policy=ends)
    verified = policy.build_client_verifier().verify(leaf, [])
    assert list(verified.chain) == [leaf, root]
    return [name.value for name in verified.subjects]


def test_the_keys_in_the_jwks_are_certified_by_the_root_key(desk, tmp_path):
    desk.begin()
    desk.rotate()
    with serving(tmp_path / "hub", signer=desk.signer()) as served:
        document = served.client.get("/.well-known/jwks.json").json()
    assert len(document["keys"]) == 2
    for jwk in document["keys"]:
        chain, at = der_chain(jwk), jwk["nbf"] + 1
        leaf, root = (x509.load_der_x509_certificate(one) for one in chain)
        assert verified_by_openssl(tmp_path, chain, at=at) == (True, "leaf.pem: OK\n")
        assert verified_by_cryptography(chain, at=at) == [HUB]
        assert root.public_key() == desk.kms.key.public_key()
        assert leaf.public_key() == parse_key_set(document)[jwk["kid"]].public.numbers
        assert [moment.timestamp() for moment in (leaf.not_valid_before_utc, leaf.not_valid_after_utc)] == [
            jwk["nbf"],
            jwk["nbf"] + SIGNING_PERIOD_S,
        ]


@pytest.mark.parametrize("shift", [-1, SIGNING_PERIOD_S + 1], ids=["before", "after"])
def test_a_certificate_is_good_for_the_keys_period_alone(desk, tmp_path, shift):
    key = desk.begin()
    is_good, said = verified_by_openssl(tmp_path, key.certificates, at=key.not_before + shift)
    assert not is_good
    assert "expired" in said or "not yet valid" in said


def test_a_certificate_of_another_root_is_not_good(desk, tmp_path):
    leaf, _ = desk.begin().certificates
    _, root = DeskOnAWS().begin().certificates
    assert not verified_by_openssl(tmp_path, [leaf, root], at=desk.now + 1)[0]


def test_the_root_signs_certificates_and_nothing_else(desk):
    desk.begin()
    signer = desk.signer()
    for _ in range(10):
        signer.current().sign(MESSAGE)
    assert desk.kms.signed == 2  # the root's own, and that of the first key
    desk.rotate()
    assert desk.kms.signed == 3


def test_a_root_key_that_was_replaced_certifies_itself_and_the_next_key(desk):
    before = desk.begin()
    desk.kms = FakeKMS()
    after = desk.rotate()
    root = x509.load_der_x509_certificate(after.certificates[-1])
    assert root.public_key() == desk.kms.key.public_key()
    assert desk.signer().published()[0].certificates == before.certificates


def test_the_root_is_certified_anew_before_it_would_end_before_the_key(desk):
    first = desk.begin()
    for _ in range(20):
        desk.clock.moment += (SIGNING_PERIOD_S - ROTATION_LEAD_S - 60) * 1000
        key = desk.rotate()
        leaf, root = (x509.load_der_x509_certificate(one) for one in key.certificates)
        assert leaf.not_valid_after_utc <= root.not_valid_after_utc
    assert key.certificates[-1] != first.certificates[-1]


def test_a_key_is_certified_for_the_hub_of_the_key_before_it_unless_it_is_told_otherwise(desk):
    desk.begin()
    assert certified_url(desk.rotate(is_compromised=True).certificates[0]) == HUB
    assert certified_url(desk.rotate(is_compromised=True, base_url="https://new.example").certificates[0]) == (
        "https://new.example"
    )


# Rotation.


def test_a_process_that_remembers_the_old_key_signs_with_it_until_it_reads_again(desk):
    """Rotations are made at the moment when each process has remembered the longest, and the least."""
    old = desk.begin()
    early, late = desk.signer(), desk.signer()
    kid(early)
    desk.clock.moment += (SECRET_LIFETIME_S - 1) * 1000
    kid(late)
    new = desk.rotate(is_compromised=True)
    assert {kid(early), kid(late)} == {old.public.key_id}
    desk.clock.moment += 1_000
    assert (kid(early), kid(late)) == (new.public.key_id, old.public.key_id)
    desk.clock.moment += (SECRET_LIFETIME_S - 1) * 1000
    assert (kid(early), kid(late)) == (new.public.key_id, new.public.key_id)


@pytest.mark.parametrize("away_s", [0, SECRET_STALE_S_MAX - SECRET_LIFETIME_S], ids=["at hand", "away"])
@pytest.mark.parametrize("apart_s", [0, 60, SECRET_LIFETIME_S - 1])
def test_whatever_is_signed_around_a_rotation_is_verified_by_whoever_asks_at_that_moment(desk, apart_s, away_s):
    """One process signs, and another, which read the secret at another time, says what is good."""
    desk.begin()
    signer, publisher = desk.signer(), desk.signer()
    kid(signer)
    desk.clock.moment += apart_s * 1000
    publisher.published()
    end, back = desk.rotate().not_before + ROTATION_OVERLAP_S, desk.now + away_s
    signed_by = set()
    while desk.now < end:
        desk.secrets.fault = TIMED_OUT if desk.now < back else None
        used, known = signer.current(), {one.public.key_id: one for one in publisher.published()}
        period = known[used.public.key_id]
        assert period.not_before <= desk.now <= period.expires_at
        signed_by.add(used.public.key_id)
        desk.clock.moment += 61_000
    assert len(signed_by) == 2


def test_a_rotation_that_broke_off_has_changed_nothing(desk):
    old = desk.begin()
    before = desk.text()
    for service in (desk.kms, desk.secrets):
        custody = desk.custody
        service.fault = TIMED_OUT
        with pytest.raises(StoreUnavailableError):
            custody.rotate(now=desk.now)
        service.fault = None
    assert desk.text() == before
    assert kid(desk.signer()) == old.public.key_id


def test_of_two_who_rotate_at_once_one_wins_and_the_other_is_told(desk):
    desk.begin()
    seen = desk.secret.read()
    new = desk.rotate()
    slow = replace(desk.custody, secret=SlowSecret(desk.secrets, seen))
    with pytest.raises(StoreUnavailableError, match="run it again"):
        slow.rotate(now=desk.now)
    assert [one.public.key_id for one in desk.signer().published()][1] == new.public.key_id


def test_a_secret_has_room_for_a_key_a_year_for_thirty_years(desk):
    key = desk.begin()
    for _ in range(30):
        desk.clock.moment = (key.not_before + 1) * 1000
        key = desk.rotate()
    assert len(desk.signer().published()) == 31


def test_a_secret_that_would_be_too_large_is_not_written(desk):
    key = desk.begin()
    with pytest.raises(MisconfiguredError, match="too many keys"):  # noqa: PT012  # until it is full
        while True:
            before = desk.text()
            desk.clock.moment = (key.not_before + 1) * 1000
            key = desk.rotate()
    assert desk.text() == before


# What is remembered.


def test_the_secret_is_read_once_a_lifetime_whatever_is_signed(desk):
    desk.begin()
    signer, sealer = desk.process()
    desk.secrets.reads = 0
    for _ in range(50):
        signer.current().sign(MESSAGE)
        sealer.seal(b"whsec")
        signer.published()
    assert desk.secrets.reads == 1
    desk.clock.moment += SECRET_LIFETIME_S * 1000
    kid(signer)
    assert desk.secrets.reads == 2


def test_nothing_is_read_before_it_is_needed(desk):
    desk.secrets.fault = refusal("AccessDeniedException")
    desk.process()


def test_while_the_service_is_away_what_is_known_serves_for_a_while(desk):
    desk.begin()
    signer = desk.signer()
    kid(signer)
    desk.secrets.fault = TIMED_OUT
    desk.clock.moment += SECRET_STALE_S_MAX * 1000
    kid(signer)
    desk.clock.moment += (SECRET_RETRY_S + 1) * 1000
    with pytest.raises(StoreUnavailableError):
        signer.current()
    desk.secrets.fault = None
    kid(signer)


def test_while_the_service_is_away_it_is_not_asked_at_each_signature(desk):
    desk.begin()
    signer = desk.signer()
    kid(signer)
    desk.secrets.fault = TIMED_OUT
    desk.clock.moment += SECRET_LIFETIME_S * 1000
    desk.secrets.calls = 0
    for _ in range(10):
        kid(signer)
    assert desk.secrets.calls == 1


# Refusals.


def changed(**members):
    """Write the secret with other members, as somebody who edits it by hand would."""

    def change(desk):
        document = {**json.loads(desk.text()), **members}
        desk.secrets.versions[desk.secrets.current] = json.dumps(document)

    return change


def changed_key(**members):
    def change(desk):
        [entry] = json.loads(desk.text())["signing_keys"]
        changed(signing_keys=[{**entry, **members}])(desk)

    return change


def faulty(error):
    def change(desk):
        desk.secrets.fault = error

    return change


def in_place_of_keys(text):
    def change(desk):
        desk.secrets.versions[desk.secrets.current] = text

    return change


def others_certificates(desk):
    changed_key(x5c=[base64.b64encode(one).decode() for one in DeskOnAWS().begin().certificates])(desk)


def unrelated_root(desk):
    own, other = json.loads(desk.text())["signing_keys"][0]["x5c"], DeskOnAWS().begin().certificates[-1]
    changed_key(x5c=[own[0], base64.b64encode(other).decode()])(desk)


def without_value(desk):
    desk.secrets.current = None


OTHERS_KEY = key_of("ES256", "somebody else").to_pem().decode()
# fmt: off
REFUSALS = {
    "deleted":               (faulty(refusal("InvalidRequestException", "marked for deletion")), "marked for deletion"),
    "not there":             (faulty(refusal("ResourceNotFoundException")),      "it is not there"),
    "no value yet":          (without_value,                                     "moneta aws init gives it one"),
    "no permission":         (faulty(refusal("AccessDeniedException")),          "no permission"),
    "no permission to decrypt": (faulty(refusal("DecryptionFailure")),           "the key that encrypts it"),
    "expired credentials":   (faulty(refusal("ExpiredTokenException")),          "the credentials have expired"),
    "wrong credentials":     (faulty(refusal("UnrecognizedClientException")),    "the credentials are not valid"),
    "no credentials":        (faulty(NoCredentialsError()),                      "Unable to locate credentials"),
    "no JSON":               (in_place_of_keys("password"),                      "malformed"),
    "binary":                (in_place_of_keys(None),                            "moneta aws init gives it one"),
    "another format":        (changed(format=2),                                 "format"),
    "no key":                (changed(signing_keys=[]),                          "length >= 1"),
    "another member":        (changed(more="x"),                                 "unknown field `more`"),
    "a short sealing key":   (changed(sealing_key="AAAA"),                       "sealing key of 32 bytes"),
    "a weak key":            (changed_key(jwk={"kty": "oct"}),                   "jwk"),
    "another's private key": (changed_key(private_key=OTHERS_KEY),               "is another's"),
    "no private key":        (changed_key(private_key="-----BEGIN"),             "not an unencrypted private key"),
}
# fmt: on


@pytest.mark.parametrize("case", REFUSALS)
def test_a_secret_that_can_not_be_used_is_named_with_what_is_wrong_and_nothing_of_it_is_shown(desk, case):
    change, said = REFUSALS[case]
    desk.begin()
    private_lines = json.loads(desk.text())["signing_keys"][0]["private_key"].splitlines()[1:-1]
    sealing_key = json.loads(desk.text())["sealing_key"]
    change(desk)
    signer, sealer = desk.process()
    for use in (signer.current, signer.published, lambda: sealer.seal(b"whsec")):
        with pytest.raises(MisconfiguredError) as refused:
            use()
        shown = "".join(traceback.format_exception(refused.value))
        assert said in str(refused.value)
        assert f"secret {SECRET_ID}" in str(refused.value)
        assert not any(secret in shown for secret in (*private_lines, sealing_key, *OTHERS_KEY.splitlines()[1:-1]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (changed_key(x5c=[]), "not the key's own"),
        (changed_key(x5c=["AAAA"]), "is none"),
        (others_certificates, "not the key's own"),
        (unrelated_root, "not certified by the next"),
    ],
    ids=["none", "no certificate", "another's", "another's root"],
)
def test_certificates_that_do_not_lead_from_the_key_to_a_root_are_refused(desk, change, said):
    desk.begin()
    change(desk)
    with pytest.raises(MisconfiguredError, match=said):
        check_chain(desk.secret.read().keys.signing_keys.published[0])
    with pytest.raises(MisconfiguredError, match=said):
        desk.rotate()


def test_a_secret_that_was_deleted_is_missed_though_it_was_known(desk):
    desk.begin()
    signer = desk.signer()
    kid(signer)
    desk.secrets.fault = refusal("InvalidRequestException", "marked for deletion")
    desk.clock.moment += SECRET_LIFETIME_S * 1000
    for _ in range(2):
        with pytest.raises(MisconfiguredError, match="marked for deletion"):
            signer.current()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (refusal("NotFoundException", "Alias is not found"), "it is not there"),
        (refusal("AccessDeniedException"), "no permission"),
        (refusal("DisabledException"), "the key is disabled"),
        (refusal("KMSInvalidStateException", "is pending deletion"), "is pending deletion"),
    ],
    ids=lambda one: one.response["Error"]["Code"] if isinstance(one, ClientError) else "",
)
def test_a_root_key_that_can_not_be_used_is_named(desk, fault, said):
    desk.kms.fault = fault
    with pytest.raises(MisconfiguredError, match=f"root key {ROOT_KEY_ID}: .*{said}"):
        desk.begin()
    assert desk.secrets.current is None


def test_a_root_key_of_another_kind_is_refused(desk):
    desk.kms = FakeKMS(ec.SECP384R1())
    with pytest.raises(MisconfiguredError, match="expected a key of ECC_NIST_P256 for SIGN_VERIFY, got ECC_NIST_P384"):
        desk.begin()


def test_the_root_key_only_signs(desk):
    root = KMSRootKey(desk.kms, ROOT_KEY_ID)
    for read in (root.private_numbers, lambda: root.private_bytes(0, 0, 0), lambda: root.exchange(0, 0)):
        with pytest.raises(TypeError):
            read()
    assert (root.key_size, root.curve.name) == (256, "secp256r1")


def test_no_value_shows_a_private_key(desk):
    desk.begin()
    read = desk.secret.read()
    [private] = read.keys.signing_keys.private.values()
    pem = private.to_pem().decode().splitlines()[1]
    document = msgspec.json.decode(desk.text(), type=hub_secret._Document)
    assert pem in desk.text()
    assert not any(
        pem in repr(one) for one in (read, read.keys, read.keys.signing_keys, document, document.signing_keys, private)
    )
