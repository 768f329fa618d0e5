"""Status lists: packed, signed, verified; and everything that is not one of this hub's, of now, is refused."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moneta.domain.errors import InvalidSignatureError, MalformedJWSError, StatusListStaleError, WrongAlgorithmError
from moneta.domain.limits import (
    STATUS_LIST_AGE_S_MAX,
    STATUS_LIST_BYTES_MAX,
    STATUS_LIST_LIFETIME_S,
    STATUS_LIST_TTL_S,
    TOKEN_AHEAD_S_MAX,
)
from moneta.signing import base64url
from moneta.signing.statements import sign_compact
from moneta.signing.status_list import (
    BITS_ALLOWED,
    compress,
    decompress,
    make_status_list,
    pack_statuses,
    unpack_status,
    verify_status_list,
)
from tests.signing_examples import HUB, NOW, key_of

URI = f"{HUB}/status-lists/mo-1.0"
KEY = key_of("ES256", "moneta")
PACKED = pack_statuses({1: 1, 5: 2}, bits=2, places=16)
LST = base64url.encode(compress(PACKED))
CLAIMS = {
    "sub": URI,
    "iat": NOW,
    "exp": NOW + STATUS_LIST_LIFETIME_S,
    "ttl": STATUS_LIST_TTL_S,
    "status_list": {"bits": 2, "lst": LST},
}


def token(key=KEY, *, typ="statuslist+jwt", without=(), **claims):
    told = {name: value for name, value in {**CLAIMS, **claims}.items() if name not in without}
    return sign_compact(key, told, typ=typ)


def verify(text, *, uri=URI, now=NOW, key=KEY):
    return verify_status_list(text, lambda _kid, _iat: key.public, uri=uri, now=now)


def test_a_list_says_what_it_was_made_of():
    made = make_status_list(KEY, PACKED, bits=2, uri=URI, issued_at=NOW)
    found = verify(made)
    assert [found.status(index) for index in range(16)] == [0, 1, 0, 0, 0, 2, *([0] * 10)]
    assert (found.issued_at, found.expires_at, found.ttl_s) == (NOW, NOW + 60, 30)
    assert found == verify(token())


@pytest.mark.parametrize("index", [-1, 16, 2**40])
def test_a_list_has_no_place_beyond_its_end(index):
    with pytest.raises(InvalidSignatureError, match="no place"):
        verify(token()).status(index)


@given(
    st.sampled_from(BITS_ALLOWED).flatmap(
        lambda bits: st.tuples(
            st.just(bits),
            st.integers(0, 2**bits - 1),
            st.dictionaries(st.integers(0, 63), st.integers(0, 2**bits - 1)),
        )
    )
)
def test_every_place_has_its_own_status(case):
    bits, default, exceptions = case
    packed = pack_statuses(exceptions, bits=bits, places=64, default=default)
    assert len(packed) == 8 * bits
    told = [unpack_status(packed, index, bits=bits) for index in range(64)]
    assert told == [exceptions.get(index, default) for index in range(64)]


@pytest.mark.parametrize(
    ("now", "is_fresh"),
    [
        (NOW - TOKEN_AHEAD_S_MAX - 1, False),
        (NOW - TOKEN_AHEAD_S_MAX, True),
        (NOW + STATUS_LIST_LIFETIME_S - 1, True),
        (NOW + STATUS_LIST_LIFETIME_S, False),
    ],
)
def test_a_list_is_believed_for_a_minute(now, is_fresh):
    if is_fresh:
        assert verify(token(), now=now).status(1) == 1
    else:
        with pytest.raises(StatusListStaleError, match="fetch it again"):
            verify(token(), now=now)


def test_no_way_that_a_list_can_take_makes_a_lock_wait_for_more_than_a_minute():
    # The hub serves what it built, a cache on the way keeps that until the ttl, a verifier for the ttl after that.
    assert STATUS_LIST_AGE_S_MAX <= STATUS_LIST_TTL_S
    assert STATUS_LIST_TTL_S + STATUS_LIST_TTL_S <= STATUS_LIST_LIFETIME_S <= 60


# Refused: (what is wrong, the token, and the error).

BOMB = base64url.encode(zlib.compress(bytes(STATUS_LIST_BYTES_MAX + 1)))
FORGED = {
    "another kind of token": (token(typ="JWT"), InvalidSignatureError),
    "another key": (token(key_of("ES256", "stranger")), InvalidSignatureError),
    "another list of the hub's": (token(sub=f"{HUB}/status-lists/mo-1.1"), InvalidSignatureError),
    "another hub's list": (token(sub="https://other.example/status-lists/mo-1.0"), InvalidSignatureError),
}
MALFORMED = {
    "no token": "no token",
    "no sub": token(without=["sub"]),
    "no end": token(without=["exp"]),
    "a member too many": token(iss=HUB),
    "an end that is text": token(exp=str(NOW + 60)),
    "an end that is true": token(exp=True),
    "a ttl below nought": token(ttl=-1),
    "a list that is text": token(status_list=LST),
    "a list with a member too many": token(status_list={"bits": 2, "lst": LST, "aggregation_uri": URI}),
    "three bits": token(status_list={"bits": 3, "lst": LST}),
    "bits that are true": token(status_list={"bits": True, "lst": LST}),
    "a lst that is a number": token(status_list={"bits": 2, "lst": 7}),
    "a lst that is padded": token(status_list={"bits": 2, "lst": LST + "="}),
    "a lst that is not zlib": token(status_list={"bits": 2, "lst": base64url.encode(b"not zlib")}),
    "a lst cut short": token(status_list={"bits": 2, "lst": base64url.encode(compress(PACKED)[:-1])}),
    "a lst with more behind it": token(status_list={"bits": 2, "lst": base64url.encode(compress(PACKED) + b"\0")}),
    "a bomb": token(status_list={"bits": 2, "lst": BOMB}),
}


@pytest.mark.parametrize("case", FORGED)
def test_a_list_that_is_not_this_one_of_this_hub_is_refused(case):
    text, error = FORGED[case]
    with pytest.raises(error):
        verify(text)


@pytest.mark.parametrize("case", MALFORMED)
def test_what_has_not_exactly_the_form_is_refused(case):
    with pytest.raises(MalformedJWSError):
        verify(MALFORMED[case])


def test_alg_none_is_refused():
    _, payload, _ = token().split(".")
    header = base64url.encode(b'{"alg":"none","kid":"%s","typ":"statuslist+jwt"}' % KEY.public.key_id.encode())
    with pytest.raises(WrongAlgorithmError):
        verify(f"{header}.{payload}.")


def test_the_largest_list_is_read_and_nothing_beyond_it():
    assert len(decompress(zlib.compress(bytes(STATUS_LIST_BYTES_MAX)))) == STATUS_LIST_BYTES_MAX
    with pytest.raises(MalformedJWSError, match="more than"):
        decompress(zlib.compress(bytes(1000 * STATUS_LIST_BYTES_MAX)))
