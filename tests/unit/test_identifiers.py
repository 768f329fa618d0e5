import uuid

import pytest

from moneta.domain.identifiers import is_chosen_id, is_key_id, is_uuid4
from moneta.signing import base64url

UUID4 = "0b0c4b5e-8a55-4d7e-9f6a-3c1d2e4f5a6b"
KEY_ID = base64url.sha256(b"key")


@pytest.mark.parametrize("text", ["a", "...", ".a", "0", "A-z_0.9:~", "a" * 128, "-", "~"])
def test_a_party_may_choose(text):
    assert is_chosen_id(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a" * 129,
        "a b",
        "a/b",
        "a\n",
        "\na",
        "a\0",
        "a%2e",
        "a?b",
        "é",
        "\u0661",
        "a\u200b",
        None,
        1,
        b"a",
        ("a",),
    ],
)
def test_a_party_may_not_choose(text):
    assert not is_chosen_id(text)


def test_a_uuid_v4_is_one():
    assert is_uuid4(UUID4)
    assert is_uuid4(str(uuid.uuid4()))


@pytest.mark.parametrize(
    "text",
    [
        UUID4.upper(),
        UUID4.replace("-", ""),
        f"{{{UUID4}}}",
        f"urn:uuid:{UUID4}",
        UUID4 + "\n",
        UUID4.replace("-4d", "-1d"),
        UUID4.replace("-9f", "-cf"),
        str(uuid.uuid5(uuid.NAMESPACE_DNS, "moneta")),
        UUID4[:-1],
        "",
        None,
        uuid.UUID(UUID4),
    ],
)
def test_another_text_is_no_uuid_v4(text):
    assert not is_uuid4(text)


def test_a_thumbprint_has_the_form_of_a_key_id():
    assert is_key_id(KEY_ID)


@pytest.mark.parametrize(
    "text", ["", KEY_ID[:-1], KEY_ID + "A", KEY_ID + "=", KEY_ID + "\n", KEY_ID[:-1] + "+", KEY_ID[:-1] + "é", None, 1]
)
def test_another_text_is_no_key_id(text):
    assert not is_key_id(text)
