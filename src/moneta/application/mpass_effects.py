"""What contracts do to mPasses. The MO draws the number itself, and its signature says for whom.

1. A number is of the contract's MO, has its check digit, and is given once for ever.
2. ``member_ref`` is a hash, the 43 characters of base64url that 32 bytes make: a contract is kept for ever and shown to
   auditors, so the MO's pseudonym does not stand in it. It is sealed in the directory like any other.
3. The id derives from contract and number: whoever computes the effect again issues the same mPass, and the MO knows
   the id before it is answered.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from moneta.application.documents import check_names, items, required
from moneta.application.effect_context import EffectContext
from moneta.application.mpasses import MPassTerms, new_mpass
from moneta.application.ports import DirectoryChange
from moneta.application.status_lists import place_in_lists
from moneta.domain.errors import InvalidFieldError, MPassNumberTakenError
from moneta.domain.ijson import Value
from moneta.domain.limits import MPASS_BATCH_MAX
from moneta.domain.mpasses import check_number, issued_id

TERMS: Final = ("tier", "expires_at", "policy")
NAMED: Final = ("number", "member_ref", "holder_jwk")
_HASH: Final = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]", re.ASCII)
"""base64url of 32 bytes; the last character leaves no stray bits."""


def issue_mpass(context: EffectContext) -> DirectoryChange:
    """Issue the mPass of ``payload.mpass``, Pending.

    Raises:
        MPassNumberTakenError: The number was given before.
        Refused: The first member that is wrong.
    """
    members = context.part("mpass")
    check_names(members, (*NAMED, *TERMS))
    return _issued(context, [members], terms=members, prefix="mpass.")


def issue_mpasses(context: EffectContext) -> DirectoryChange:
    """Issue the mPasses of ``payload.batch``, each with its number and member, on the same terms. See ``issue_mpass``.

    Raises:
        Refused: Likewise; a number may not stand twice, either.
    """
    batch = context.part("batch")
    check_names(batch, ("mpasses", *TERMS))
    named = [_member(one) for one in items(batch, "mpasses", items_max=MPASS_BATCH_MAX)]
    if not named:
        raise InvalidFieldError("batch.mpasses: expected at least one", field="batch.mpasses")
    if len({str(one.get("number")) for one in named}) != len(named):
        raise InvalidFieldError("batch.mpasses: a number stands twice", field="batch.mpasses")
    return _issued(context, named, terms=batch, prefix="batch.mpasses.")


def _member(one: Value) -> Mapping[str, Value]:
    if not isinstance(one, dict):
        raise InvalidFieldError("batch.mpasses: expected objects", field="batch.mpasses")
    check_names(one, NAMED)
    return one


def _issued(
    context: EffectContext, named: Sequence[Mapping[str, Value]], *, terms: Mapping[str, Value], prefix: str
) -> DirectoryChange:
    mo, contract_id = context.mo(), context.contract.contract_id
    agreed = MPassTerms.read(terms, prefix=prefix, at=context.now)
    mpasses = tuple(
        new_mpass(
            context.hub,
            mo,
            agreed,
            mpass_id=issued_id(contract_id, number),
            number=number,
            member_ref=_member_ref(members, prefix=prefix),
            holder_jwk=members.get("holder_jwk"),
            at=context.now,
        )
        for members in named
        for number in [check_number(required(members, "number", prefix=prefix), mic=mo.code, field=f"{prefix}number")]
    )
    held = context.hub.directory.mpass_numbers([mpass.number for mpass in mpasses])
    for mpass in mpasses:
        # A number that was held for this very mPass is of a first try that got no further.
        if held.get(mpass.number, mpass.mpass_id) != mpass.mpass_id:
            raise MPassNumberTakenError(f"{prefix}number: it was given before", field=f"{prefix}number")
    return DirectoryChange(mpasses=place_in_lists(context.hub, mpasses))


def _member_ref(members: Mapping[str, Value], *, prefix: str) -> str:
    value = required(members, "member_ref", prefix=prefix)
    if not isinstance(value, str) or _HASH.fullmatch(value) is None:
        raise InvalidFieldError(
            f"{prefix}member_ref: expected the base64url of a hash of 32 bytes", field=f"{prefix}member_ref"
        )
    return value
