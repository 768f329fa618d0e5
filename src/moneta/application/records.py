"""Moneta's own signed record of a management change: who asked, with which token, for what.

A party's contracts carry its own signatures; what it asks for with a bearer token carries none, so Moneta signs what
it was asked and did. The record is a leaf of the audit log, written in the same commit as the change. It holds small
facts only: never a secret, never a ``member_ref``.
"""

from collections.abc import Mapping

from moneta.application.access import Operation
from moneta.application.authenticate import Caller
from moneta.application.ports import Hub
from moneta.domain.identifiers import MONETA, RegistrySeq
from moneta.signing.jws import RECORD_TYP
from moneta.signing.statements import sign_compact

LOCAL_CONSOLE: Mapping[str, str | None] = {"sub": MONETA, "kid": None, "jti": None}
"""Who asks where there is no token: whoever holds the store's files, at the command line."""


def make_record(
    hub: Hub,
    caller: Caller | None,
    operation: Operation | str,
    *,
    subject: str,
    change: Mapping[str, object],
    registry_seq: RegistrySeq,
) -> bytes:
    """Return the compact JWS that says ``caller`` did ``operation`` to ``subject``; None: at the store itself.

    ``registry_seq``: the key registry's position with this change in it. Of what a checker approved, ``approves`` names
    the change, and so the record of who asked for it.
    """
    asked_by = dict(LOCAL_CONSOLE)
    if caller is not None:
        asked_by = {"sub": caller.caller_id, "kid": caller.key_id, "jti": caller.token_id}
        if caller.approves is not None:
            asked_by["approves"] = caller.approves
    now = hub.now_s()
    claims = {
        "act": operation,
        "subject": subject,
        "by": asked_by,
        "at": now,
        "change": change,
        "registry_seq": registry_seq,
    }
    return sign_compact(hub.signer.current(), claims, typ=RECORD_TYP, iat=now).encode("ascii")
