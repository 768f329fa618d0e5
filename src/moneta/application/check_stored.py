"""Whether what a store holds of a contract is what its parties signed: for whoever has copied, moved or repaired one.

1. The body is that of the contract whose name it stands under.
2. Every signature verifies alone, by a key of whom the body names, whatever became of the key since; and they are
   chained.
3. The receipt, if there is one, is Moneta's, for this contract and body.
4. The leaves of the audit log say what the steps did.
"""

import json
from collections.abc import Callable, Sequence
from typing import cast

from moneta.application.deliver_webhooks import contract_jws
from moneta.domain.audit import contract_leaf
from moneta.domain.contracts import Step, assemble
from moneta.domain.errors import InvalidSignatureError
from moneta.domain.identifiers import MONETA, ContractId, KeyId, OrganizationId, UnixMillis
from moneta.domain.ijson import Value
from moneta.domain.templates import Role
from moneta.signing import base64url
from moneta.signing.chain import new_key_of, verify_chain
from moneta.signing.jws import parse_contract
from moneta.signing.keys import PublicKey
from moneta.signing.statements import verify_receipt

KeyOf = Callable[[OrganizationId, KeyId], PublicKey | None]
"""Gives the key of an organization, or of Moneta's; None if it never had one of that name."""


def check_stored(contract_id: ContractId, steps: Sequence[Step], key_of: KeyOf) -> None:
    """Return if the contract that ``steps``, with their leaves, add up to is whole and genuine.

    Raises:
        Refused: It is not; the text says where.
        ValueError: A step is missing, or cannot be read.
    """
    contract = assemble(steps)
    if contract.contract_id != contract_id:  # (1)
        raise InvalidSignatureError(f"contract {contract_id}: holds the body of {contract.contract_id}")

    def key_for(role: Role, key_id: str) -> PublicKey:
        if role is Role.ORG_NEW_KEY:
            return new_key_of(contract.body)
        owner = MONETA if role is Role.MONETA else contract.body.party(role)
        key = None if owner is None else key_of(owner, KeyId(key_id))
        if key is None:
            raise InvalidSignatureError(f"{role}: key {key_id} is not in the registry")
        return key

    signed = parse_contract(cast("Value", contract_jws(contract)))  # JSON, which its type does not tell
    audience = signed.entries[0].header.audience or ""
    verify_chain(signed, audience=audience, key_for=key_for)  # (2)
    if contract.receipt is not None:  # (3)
        claims = verify_receipt(contract.receipt, lambda key_id: key_for(Role.MONETA, key_id), issuer=audience)
        named = {"contract_id": contract_id, "body_sha256": base64url.sha256(contract.body_bytes)}
        if any(claims[name] != expected for name, expected in named.items()):
            raise InvalidSignatureError("the receipt is another contract's")
    for step in steps:  # (4)
        _check_leaf(contract_id, contract.body_bytes, step)


def _check_leaf(contract_id: ContractId, body_bytes: bytes, step: Step) -> None:
    try:
        said = json.loads(step.leaf)  # read back from our own log, and compared byte for byte below
        at, status = UnixMillis(said["at"]), str(said["status"])
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidSignatureError(f"leaf of revision {step.revision}: can't be read") from error
    expected = contract_leaf(
        contract_id=contract_id,
        revision=step.revision,
        committed_at=at,
        status=status,
        body_bytes=body_bytes,
        signatures=step.signatures,
        acts=step.acts,
        receipt=step.receipt,
        superseded_by=step.superseded_by,
    )
    if step.leaf != expected:
        raise InvalidSignatureError(f"leaf of revision {step.revision}: says something else than the step")
