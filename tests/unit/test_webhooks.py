"""The three headers of Standard Webhooks, against its reference library, both ways."""

import base64
import json
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from moneta.domain.errors import InvalidFieldError, InvalidSignatureError
from moneta.domain.limits import (
    SECRET_BYTES_MIN,
    WEBHOOK_AGE_S_MAX,
    WEBHOOK_SECRETS_MAX,
    WEBHOOK_SIGNATURE_CHARS_MAX,
    WEBHOOK_SIGNATURES_MAX,
)
from moneta.signing.webhooks import SECRET_BYTES, format_secret, parse_secret, sign, verify
from tests.signing_examples import NOW

SECRET, OTHER = b"s" * SECRET_BYTES, b"o" * SECRET_BYTES
BODY = json.dumps({"data": {"contract_id": "c1", "text": "\u00e9"}}).encode()
ID = "msg_2hYVHl5wLf5bDrWq"


def signed(*secrets, at=NOW, body=BODY, webhook_id=ID):
    return sign(secrets or [SECRET], webhook_id=webhook_id, timestamp=at, body=body)


# Against the reference.


@pytest.mark.parametrize("secrets", [[SECRET], [SECRET, OTHER], [OTHER, SECRET]], ids=["one", "first", "second"])
def test_the_reference_accepts_what_we_sign(secrets):
    headers = signed(*secrets, at=int(time.time()))
    assert Webhook(format_secret(SECRET)).verify(BODY, dict(headers)) == json.loads(BODY)


def test_the_reference_refuses_what_another_secret_signed():
    with pytest.raises(WebhookVerificationError):
        Webhook(format_secret(SECRET)).verify(BODY, dict(signed(OTHER, at=int(time.time()))))


bodies = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(st.binary(min_size=SECRET_BYTES_MIN, max_size=64), bodies, st.integers(0, 2**33))
def test_we_accept_what_the_reference_signs_and_sign_the_same(secret, text, at):
    moment = datetime.fromtimestamp(at, tz=UTC)
    signature = Webhook(format_secret(secret)).sign(ID, moment, text)
    headers = {"webhook-id": ID, "webhook-timestamp": str(at), "webhook-signature": signature}
    assert verify(secret, headers, text.encode(), now=at) == ID
    assert sign([secret], webhook_id=ID, timestamp=at, body=text.encode()) == headers


# Accepted.


@pytest.mark.parametrize("age_s", [0, WEBHOOK_AGE_S_MAX, -WEBHOOK_AGE_S_MAX])
def test_a_message_counts_within_five_minutes(age_s):
    assert verify(SECRET, signed(), BODY, now=NOW + age_s) == ID


def test_either_secret_counts_while_one_replaces_the_other():
    headers = signed(OTHER, SECRET)
    assert verify(SECRET, headers, BODY, now=NOW) == verify(OTHER, headers, BODY, now=NOW) == ID


def test_all_secrets_that_can_stand_at_once_are_read():
    secrets = [bytes([number]) * SECRET_BYTES for number in range(WEBHOOK_SECRETS_MAX)]
    headers = signed(*secrets)
    assert len(headers["webhook-signature"]) <= WEBHOOK_SIGNATURE_CHARS_MAX
    assert [verify(secret, headers, BODY, now=NOW) for secret in secrets] == [ID] * WEBHOOK_SECRETS_MAX


def test_other_versions_beside_ours_are_passed_over():
    headers = signed()
    assert verify(
        SECRET, {**headers, "webhook-signature": f"v1a,x v2 ,, {headers['webhook-signature']}"}, BODY, now=NOW
    )


# Refused, each in the one error.

ENTRY = signed()["webhook-signature"]

# fmt: off
ATTACKS = {
    "no headers":                   dict.fromkeys(["webhook-id", "webhook-timestamp", "webhook-signature"]),
    "no id":                        {"webhook-id": None},
    "no timestamp":                 {"webhook-timestamp": None},
    "no signature":                 {"webhook-signature": None},
    "id empty":                     {"webhook-id": ""},
    "id of another message":        {"webhook-id": "msg_other"},
    "id with a dot":                {"webhook-id": ID + ".1"},
    "id with a space":              {"webhook-id": ID + " "},
    "id with a line break":         {"webhook-id": ID + "\n"},
    "id of another script":         {"webhook-id": "m\u0455g"},
    "id of half a pair":            {"webhook-id": "\udcff"},
    "id of Latin-1":                {"webhook-id": "\xff"},
    "id of a megabyte":             {"webhook-id": "x" * 2**20},
    "timestamp empty":              {"webhook-timestamp": ""},
    "timestamp a word":             {"webhook-timestamp": "now"},
    "timestamp a fraction":         {"webhook-timestamp": f"{NOW}.0"},
    "timestamp with an exponent":   {"webhook-timestamp": "1795e6"},
    "timestamp with a sign":        {"webhook-timestamp": f"+{NOW}"},
    "timestamp negative":           {"webhook-timestamp": f"-{NOW}"},
    "timestamp with a space":       {"webhook-timestamp": f" {NOW}"},
    "timestamp with a line break":  {"webhook-timestamp": f"{NOW}\n"},
    "timestamp with noughts":       {"webhook-timestamp": f"00{NOW}"},
    "timestamp with an underscore": {"webhook-timestamp": "1_795_000_000"},
    "timestamp of another script":  {"webhook-timestamp": str(NOW).translate({48 + n: 0x660 + n for n in range(10)})},
    "timestamp superscript":        {"webhook-timestamp": "\u00b9" + str(NOW)[1:]},
    "timestamp not a number":       {"webhook-timestamp": "nan"},
    "timestamp infinite":           {"webhook-timestamp": "inf"},
    "timestamp in milliseconds":    {"webhook-timestamp": f"{NOW}000"},
    "timestamp padded to sixteen":  {"webhook-timestamp": f"000000{NOW}99"},
    "timestamp of 5,000 digits":    {"webhook-timestamp": "9" * 5_000},
    "timestamp moved":              {"webhook-timestamp": str(NOW + 1)},
    "signature empty":              {"webhook-signature": ""},
    "signature a comma":            {"webhook-signature": ","},
    "signature without a version":  {"webhook-signature": ENTRY.removeprefix("v1,")},
    "signature of a version":       {"webhook-signature": "v1,"},
    "signature v2":                 {"webhook-signature": ENTRY.replace("v1", "v2")},
    "signature V1":                 {"webhook-signature": ENTRY.replace("v1", "V1")},
    "signature with many commas":   {"webhook-signature": ENTRY + ",,,"},
    "signature cut":                {"webhook-signature": ENTRY[:-4]},
    "signature without padding":    {"webhook-signature": ENTRY.rstrip("=")},
    "signature no base64":          {"webhook-signature": "v1,!!!!"},
    "signature of another script":  {"webhook-signature": "v1,\u0410\udc80"},
    "signature of another message": {"webhook-signature": signed(body=b"{}")["webhook-signature"]},
    "signature with tabs":          {"webhook-signature": f"v1,x\t{ENTRY}"},
    "signature late":               {"webhook-signature": "v1,x " * WEBHOOK_SIGNATURES_MAX + ENTRY},
    "signature after a long one":   {"webhook-signature": "v1," + "x" * WEBHOOK_SIGNATURE_CHARS_MAX + " " + ENTRY},
    "ten thousand signatures":      {"webhook-signature": " ".join(["v1,x"] * 10_000 + [ENTRY])},
    "a megabyte of spaces":         {"webhook-signature": " " * 2**20 + ENTRY},
}
# fmt: on


@pytest.mark.parametrize("case", ATTACKS)
def test_a_message_whose_headers_are_not_ours_is_refused_in_one_error(case):
    headers = {name: value for name, value in {**signed(), **ATTACKS[case]}.items() if value is not None}
    with pytest.raises(InvalidSignatureError) as refusal:
        verify(SECRET, headers, BODY, now=NOW)
    assert len(refusal.value.detail) < 100


@pytest.mark.parametrize("age_s", [WEBHOOK_AGE_S_MAX + 1, -WEBHOOK_AGE_S_MAX - 1, NOW])
def test_a_message_out_of_its_time_is_refused(age_s):
    with pytest.raises(InvalidSignatureError, match="webhook-timestamp"):
        verify(SECRET, signed(), BODY, now=NOW + age_s)


@pytest.mark.parametrize("body", [b"", BODY + b" ", BODY[:-1], BODY.replace(b"c1", b"c2")])
def test_another_body_is_refused(body):
    with pytest.raises(InvalidSignatureError):
        verify(SECRET, signed(), body, now=NOW)


def test_another_secret_is_refused():
    with pytest.raises(InvalidSignatureError):
        verify(OTHER, signed(), BODY, now=NOW)


def test_an_id_and_a_body_cannot_trade_characters():
    # "a" + "." + "1" + "." + body and "a.1" ... are one text to a MAC; so an id has no dot.
    headers = signed(webhook_id="msg", body=f"{NOW}.rest".encode())
    moved = {**headers, "webhook-id": f"msg.{NOW}"}
    with pytest.raises(InvalidSignatureError):
        verify(SECRET, moved, b"rest", now=NOW)


# Secrets.


@given(st.binary(min_size=SECRET_BYTES_MIN, max_size=64))
def test_a_secret_comes_back_from_its_text(raw):
    text = format_secret(raw)
    assert parse_secret(text) == raw
    assert text == "whsec_" + base64.b64encode(raw).decode()


# fmt: off
BAD_SECRETS = {
    "empty":                "",
    "the prefix":           "whsec_",
    "without the prefix":   base64.b64encode(SECRET).decode(),
    "another prefix":       "whsk_" + base64.b64encode(SECRET).decode(),
    "the prefix twice":     "whsec_whsec_" + base64.b64encode(SECRET).decode(),
    "23 bytes":             format_secret(b"s" * 23),
    "without padding":      format_secret(SECRET).rstrip("="),
    "the other alphabet":   "whsec_" + base64.urlsafe_b64encode(b"\xff" * 33).decode(),
    "a line break":         format_secret(SECRET) + "\n",
    "another script":       "whsec_" + "\u0410" * 44,
}
# fmt: on


@pytest.mark.parametrize("case", BAD_SECRETS)
def test_another_text_is_no_secret_and_is_not_repeated(case):
    text = BAD_SECRETS[case]
    with pytest.raises(InvalidFieldError) as refusal:
        parse_secret(text)
    secret = text.removeprefix("whsec_")[:20]
    assert not secret or secret not in refusal.value.detail
