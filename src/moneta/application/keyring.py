"""Registered keys made ready for verifying; parsing one costs more than a verification, so they are kept."""

from collections.abc import Mapping
from functools import lru_cache

from moneta.domain.contracts import Contract, Signature
from moneta.domain.errors import KeyNotValidError
from moneta.domain.identifiers import KeyId, OrganizationId, RegistrySeq
from moneta.domain.keys import COMPROMISED, RegisteredKey
from moneta.domain.limits import CACHE_ENTRIES_MAX
from moneta.signing.keys import PublicKey, parse_public_jwk


def public_key(key: RegisteredKey) -> PublicKey:
    """Return the key, checked again as at its registration: low order, size, curve, canonical form."""
    return _parsed(tuple(sorted(key.jwk.items())))


@lru_cache(maxsize=CACHE_ENTRIES_MAX)
def _parsed(members: tuple[tuple[str, str], ...]) -> PublicKey:
    return parse_public_jwk(dict(members))


def compromised_signature(
    contract: Contract, keys: Mapping[OrganizationId, Mapping[KeyId, RegisteredKey]], *, judged_at: RegistrySeq
) -> Signature | None:
    """Return a signature on the contract by a key that is compromised at that position; None if there is none.

    Moneta is about to decline such a contract, and nothing else may become of it. ``keys``: those of its parties.
    """
    for signature in contract.signatures:
        owner = contract.body.party(signature.role)
        key = None if owner is None else keys.get(owner, {}).get(KeyId(signature.key_id))
        if key is not None and key.status_at(judged_at) is COMPROMISED:
            return signature
    return None


def check_none_compromised(
    contract: Contract, keys: Mapping[OrganizationId, Mapping[KeyId, RegisteredKey]], *, judged_at: RegistrySeq
) -> None:
    """Refuse to go on with a contract that Moneta is about to decline. See ``compromised_signature``.

    Raises:
        KeyNotValidError: A signature on it is by a compromised key.
    """
    signature = compromised_signature(contract, keys, judged_at=judged_at)
    if signature is not None:
        raise KeyNotValidError(
            f"contract {contract.contract_id}: the signature by {signature.role} is by a compromised key",
            kid=signature.key_id,
            status=COMPROMISED,
        )
