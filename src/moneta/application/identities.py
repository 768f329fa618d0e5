"""Configured identities: operator, checker, auditor. They are made at the store itself, never over the network."""

from moneta.application.changes import Decision, decide_and_apply
from moneta.application.documents import Document, seconds
from moneta.application.organization_keys import NewKey, register
from moneta.application.ports import DirectoryChange, Hub, Identity, IdentityRole
from moneta.application.records import make_record
from moneta.domain.errors import InvalidFieldError
from moneta.domain.identifiers import MONETA, OrganizationId, is_chosen_id
from moneta.domain.keys import KeyUse
from moneta.signing.keys import PublicKey


def add_identity(hub: Hub, *, identity_id: OrganizationId, role: IdentityRole, key: PublicKey) -> Document:
    """Add an identity with the key that will sign its tokens, and return it. ``identity_id`` is its token's ``sub``.

    Raises:
        InvalidFieldError: The id is taken, or has not the form of one.
        KeyTakenError: The key stands with somebody already.
    """

    def decide() -> Decision:
        known = {one.identity_id for one in hub.directory.identities()} | {MONETA}
        if not is_chosen_id(identity_id) or identity_id in known or hub.directory.organizations([identity_id]):
            raise InvalidFieldError(f"identity {identity_id}: expected an id that is not taken", field="id")
        now = hub.clock.now_ms()
        identity = Identity(identity_id=identity_id, role=role, created_at=now)
        keys, position = register(hub, [NewKey(public=key, uses=frozenset({KeyUse.AUTH}))], identity_id, at=now)
        record = make_record(
            hub,
            None,
            "add_identity",
            subject=identity_id,
            change={"role": role, "kid": key.key_id},
            registry_seq=position,
        )
        body = {"id": identity_id, "role": role, "kid": key.key_id, "created_at": seconds(now)}
        return Decision(change=DirectoryChange(record=record, identity=identity, keys=keys), answer=Document(body=body))

    return decide_and_apply(hub, decide)
