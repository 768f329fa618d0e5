"""Registered keys made ready for verifying; parsing one costs more than a verification, so they are kept."""

from functools import lru_cache

from moneta.domain.keys import RegisteredKey
from moneta.domain.limits import CACHE_ENTRIES_MAX
from moneta.signing.keys import PublicKey, parse_public_jwk


def public_key(key: RegisteredKey) -> PublicKey:
    """Return the key, checked again as at its registration: low order, size, curve, canonical form."""
    return _parsed(tuple(sorted(key.jwk.items())))


@lru_cache(maxsize=CACHE_ENTRIES_MAX)
def _parsed(members: tuple[tuple[str, str], ...]) -> PublicKey:
    return parse_public_jwk(dict(members))
