"""The entries of the audit log: what one commit did, in bytes that a stranger can hash (the tree comes later).

One leaf a change, made before the commit and written in it. A leaf holds digests, never a body: an erased contract
leaves its leaf provable.
"""

import hashlib
import json
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from typing import Final

from moneta.domain.contracts import Act, Signature
from moneta.domain.identifiers import ContractId, Revision, UnixMillis

LEAF_VERSION: Final = 1


def contract_leaf(  # one argument a member of the leaf
    *,
    contract_id: ContractId,
    revision: Revision,
    committed_at: UnixMillis,
    status: str,
    body_bytes: bytes,
    signatures: Sequence[Signature],
    acts: Sequence[Act],
    receipt: str | None,
    superseded_by: ContractId | None = None,
) -> bytes:
    """Return the leaf of a commit on a contract; ``signatures``, ``acts`` and ``receipt`` are those it added.

    ``superseded_by`` stands in the leaf of no other commit than the one that it makes.
    """
    members: dict[str, object] = {
        "v": LEAF_VERSION,
        "kind": "contract",
        "contract_id": contract_id,
        "revision": revision,
        "at": committed_at,
        "status": status,
        "body": _digest(body_bytes),
        "signatures": [_digest(f"{one.protected}.{one.signature}".encode("ascii")) for one in signatures],
        "acts": [_digest(act.compact.encode("ascii")) for act in acts],
        "receipt": None if receipt is None else _digest(receipt.encode("ascii")),
    }
    if superseded_by is not None:
        members["superseded_by"] = superseded_by
    return _encoder.encode(members).encode("ascii")


# ``json.dumps`` would make one at each call.
_encoder: Final = json.JSONEncoder(separators=(",", ":"))


def _digest(raw: bytes) -> str:
    return urlsafe_b64encode(hashlib.sha256(raw).digest()).rstrip(b"=").decode("ascii")
