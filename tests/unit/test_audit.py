import base64
import hashlib
import json

from moneta.domain.audit import LEAF_VERSION, contract_leaf
from moneta.domain.contracts import Act, ActName, EndStatus, Signature
from moneta.domain.templates import Role

SIGNATURE = Signature(
    role=Role.MO, key_id="kid", algorithm="ES256", issued_at=1, protected="cHJvdGVjdGVk", signature="c2ln"
)
ACT = Act(name=ActName.CANCEL, actor="mo-1", compact="a.b.c")
MEMBERS = {
    "contract_id": "c1",
    "revision": 3,
    "committed_at": 1_795_000_000_123,
    "status": EndStatus.CANCELLED,
    "body_bytes": b'{"secret": "of the member"}',
    "signatures": (SIGNATURE,),
    "acts": (ACT,),
    "receipt": "r.e.c",
}


def digest(raw):
    return base64.urlsafe_b64encode(hashlib.sha256(raw).digest()).decode().rstrip("=")


def test_a_leaf_says_what_a_commit_did_in_digests():
    assert json.loads(contract_leaf(**MEMBERS)) == {
        "v": LEAF_VERSION,
        "kind": "contract",
        "contract_id": "c1",
        "revision": 3,
        "at": 1_795_000_000_123,
        "status": "cancelled",
        "body": digest(MEMBERS["body_bytes"]),
        "signatures": [digest(b"cHJvdGVjdGVk.c2ln")],
        "acts": [digest(b"a.b.c")],
        "receipt": digest(b"r.e.c"),
    }


def test_a_leaf_never_holds_the_body():
    assert b"secret" not in contract_leaf(**MEMBERS)


def test_what_is_absent_is_empty_or_null():
    leaf = json.loads(contract_leaf(**{**MEMBERS, "signatures": (), "acts": (), "receipt": None}))
    assert (leaf["signatures"], leaf["acts"], leaf["receipt"]) == ([], [], None)


def test_the_same_commit_gives_the_same_bytes():
    assert contract_leaf(**MEMBERS) == contract_leaf(**dict(reversed(MEMBERS.items())))


def test_no_member_can_change_without_the_leaf():
    changes = {
        "contract_id": "c2",
        "revision": 4,
        "committed_at": 0,
        "status": "expired",
        "body_bytes": b"{}",
        "signatures": (),
        "acts": (),
        "receipt": "r.e.d",
    }
    leaves = {contract_leaf(**{**MEMBERS, name: value}) for name, value in changes.items()}
    assert len(leaves | {contract_leaf(**MEMBERS)}) == len(MEMBERS) + 1
