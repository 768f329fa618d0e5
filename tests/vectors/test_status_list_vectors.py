"""The encodings that the Token Status List draft publishes: 2^20 places of 1, 2, 4 and 8 bits."""

import json

import pytest

from moneta.signing import base64url
from moneta.signing.status_list import compress, decompress, pack_statuses, unpack_status
from tests.shared_vectors import VECTORS, vectors_required

pytestmark = vectors_required

FILE = VECTORS / "token-status-list.json"
PLACES = 2**20
CASES = json.loads(FILE.read_text()) if FILE.is_file() else {}


def statuses(bits):
    return {int(index): status for index, status in CASES[bits][1].items()}


@pytest.mark.parametrize("bits", CASES)
def test_a_published_list_says_what_it_was_published_with(bits):
    packed = decompress(base64url.decode(CASES[bits][0], what="lst"))
    assert len(packed) == PLACES * int(bits) // 8
    expected = statuses(bits)
    assert {index: unpack_status(packed, index, bits=int(bits)) for index in expected} == expected


@pytest.mark.parametrize("bits", CASES)
def test_what_we_pack_is_byte_for_byte_what_was_published(bits):
    packed = decompress(base64url.decode(CASES[bits][0], what="lst"))
    # All that it says, since the published table of two bits leaves one place out.
    told = {index: unpack_status(packed, index, bits=int(bits)) for index in range(PLACES)}
    assert pack_statuses(told, bits=int(bits), places=PLACES) == packed
    assert decompress(compress(packed)) == packed
