import base64
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moneta.domain.errors import MalformedJWSError
from moneta.signing import base64url


@given(st.binary(max_size=100))
def test_bytes_come_back(raw):
    text = base64url.encode(raw)
    assert base64url.decode(text, what="test") == raw
    assert text == base64.urlsafe_b64encode(raw).decode().rstrip("=")


@given(st.binary(min_size=1, max_size=40), st.data())
def test_a_byte_string_has_one_text(raw, data):
    text = base64url.encode(raw)
    place = data.draw(st.integers(0, len(text) - 1))
    other = text[:place] + data.draw(st.characters(max_codepoint=0x17F)) + text[place + 1 :]
    with suppress(MalformedJWSError):
        assert other == text or base64url.decode(other, what="test") != raw


REFUSED = {
    "padding": "YQ==",
    "half the padding": "YQ=",
    "padding alone": "=",
    "padding within": "YQ==YQ==",
    "a length that encodes nothing": "YWFhY",
    "the standard alphabet's plus": "+/8",
    "the standard alphabet's slash": "YWE/",
    "stray low bits, four of them": "YR",
    "stray low bits, two of them": "YWF",
    "a space": "YW E",
    "a line break within": "YW\nE",
    "a line break at the end": "YWE\n",
    "a tab": "YWE\t",
    "a dot": "YW.E",
    "a null": "YW\0E",
    "a letter of another script": "YW\u0415",
    "a digit of another script": "YW\u0663",
    "a surrogate": "YW\ud800",
}


@pytest.mark.parametrize("case", REFUSED)
def test_another_text_is_refused(case):
    with pytest.raises(MalformedJWSError, match=r"^part: not base64url") as refusal:
        base64url.decode(REFUSED[case], what="part")
    assert refusal.value.facts == {"field": "part"}


def test_no_bytes_are_the_empty_text():
    assert base64url.encode(b"") == ""
    assert base64url.decode("", what="test") == b""


def test_a_digest_is_43_characters():
    assert base64url.sha256(b"") == "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
