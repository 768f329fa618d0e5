"""The key registry's values: keys of organizations and identities, valid by position in one numbered sequence.

Validity is decided by the position that Moneta's signature names (``registry_seq``), never by a signer's clock:
at or after the position of ``revoked`` or ``compromised`` nothing by that key is committed, whenever it was received;
``retired`` refuses only what is received later (protocol, section 2).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from moneta.domain.errors import KeyNotValidError
from moneta.domain.identifiers import KeyId, OrganizationId, RegistrySeq, UnixMillis, UnixSeconds
from moneta.domain.lifecycle import lifecycle


class KeyUse(StrEnum):
    """What a key may sign; cross-use is refused."""

    AUTH = "auth"
    CONTRACT = "contract"


class KeyStatus(StrEnum):
    """How a key stands."""

    ACTIVE = "active"
    RETIRED = "retired"
    REVOKED = "revoked"
    COMPROMISED = "compromised"


class KeyEvent(StrEnum):
    """What can happen to a key, in the wire's words: the status that is asked for."""

    RETIRE = "retired"
    REVOKE = "revoked"
    COMPROMISE = "compromised"


class KeyActor(StrEnum):
    """Who can make it happen."""

    OPERATOR = "operator"
    OWNER = "owner"


ACTIVE, RETIRED, REVOKED, COMPROMISED = KeyStatus
RETIRE, REVOKE, COMPROMISE = KeyEvent
EITHER: Final = frozenset(KeyActor)

# fmt: off
KEY_LIFECYCLE = lifecycle("key", ACTIVE, (
    # from      event        to            by
    (ACTIVE,    RETIRE,      RETIRED,      EITHER),
    (ACTIVE,    REVOKE,      REVOKED,      EITHER),
    (ACTIVE,    COMPROMISE,  COMPROMISED,  EITHER),
    (RETIRED,   REVOKE,      REVOKED,      EITHER),
    (RETIRED,   COMPROMISE,  COMPROMISED,  EITHER),
    (REVOKED,   COMPROMISE,  COMPROMISED,  EITHER),
))
# fmt: on


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChange:
    """One change of a key: its position, the moment, and the ``since`` that was stated with it.

    ``ends_at``: a rotation has set this end, and what is received from then on does not count, as if it were retired.
    """

    seq: RegistrySeq
    at: UnixMillis
    status: KeyStatus
    since: UnixSeconds | None = None
    ends_at: UnixSeconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredKey:
    """A public key with its owner, its uses and its changes, oldest first; the first registers it."""

    owner: OrganizationId
    key_id: KeyId
    jwk: Mapping[str, str]
    uses: frozenset[KeyUse]
    changes: tuple[KeyChange, ...]

    @property
    def status(self) -> KeyStatus:
        """The status now."""
        return self.changes[-1].status

    def status_at(self, seq: RegistrySeq) -> KeyStatus | None:
        """Return the status at position ``seq``; None if it was not registered yet."""
        past = [change.status for change in self.changes if change.seq <= seq]
        return past[-1] if past else None

    @property
    def ends_at(self) -> UnixSeconds | None:
        """The end that a rotation has set; None if none has."""
        return self.changes[-1].ends_at

    def check_valid(
        self, use: KeyUse, *, judged_at: RegistrySeq, received_at: RegistrySeq, received_ms: UnixMillis
    ) -> None:
        """Refuse what this key may not sign.

        ``judged_at`` is the position that Moneta judges by, ``received_at`` the position when the message came, at
        ``received_ms`` by Moneta's clock.

        Raises:
            KeyNotValidError: Another use, not registered then, revoked or compromised by ``judged_at``, retired before
                ``received_at``, or received when its rotation had ended.
        """
        if use not in self.uses:
            raise KeyNotValidError(f"key {self.key_id}: not registered for use {use}", kid=self.key_id, use=use)
        ends_at = next((change.ends_at for change in reversed(self.changes) if change.seq <= judged_at), None)
        if ends_at is not None and received_ms >= ends_at * 1000:
            raise KeyNotValidError(f"key {self.key_id}: its rotation has ended", kid=self.key_id, ends_at=ends_at)
        status = self.status_at(judged_at)
        if status is ACTIVE or (status is RETIRED and self.status_at(received_at) is ACTIVE):
            return
        raise KeyNotValidError(f"key {self.key_id}: {status or 'not registered'}", kid=self.key_id, status=status)

    def changed(self, event: KeyEvent, *, by: KeyActor, change: KeyChange) -> "RegisteredKey":
        """Return the key with ``change`` appended, if the table has a row for it.

        Raises:
            TransitionRefusedError: It has none.
        """
        KEY_LIFECYCLE.follow(self.status, event, by=by)
        return replace(self, changes=(*self.changes, change))

    def ending(self, *, ends_at: UnixSeconds, seq: RegistrySeq, at: UnixMillis) -> "RegisteredKey":
        """Return the key with the end that its rotation sets.

        Raises:
            KeyNotValidError: It is not active any more, or has an end already.
        """
        if self.status is not ACTIVE or self.ends_at is not None:
            raise KeyNotValidError(f"key {self.key_id}: expected an active key without an end", kid=self.key_id)
        change = KeyChange(seq=seq, at=at, status=ACTIVE, ends_at=ends_at)
        return replace(self, changes=(*self.changes, change))
