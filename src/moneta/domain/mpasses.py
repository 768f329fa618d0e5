"""mPasses: a few stored facts, a set of locks, and the status that derives from them.

Revoked > Expired > Locked (any lock) > Active > Pending. Each lock belongs to who set it, so an unlock by one never
lifts another's (``domain.md``, section 1). The history of facts tells the status at any past moment.
"""

import hashlib
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from moneta.domain.errors import InvalidFieldError, MPassNotActiveError, TransitionRefusedError
from moneta.domain.identifiers import ContractId, MPassId, OrganizationId, UnixMillis, UnixSeconds
from moneta.domain.ijson import Value
from moneta.domain.status_places import ListedStatus, StatusPlace


class MPassStatus(StrEnum):
    """What the facts add up to."""

    PENDING = "Pending"
    ACTIVE = "Active"
    LOCKED = "Locked"
    EXPIRED = "Expired"
    REVOKED = "Revoked"


class Lock(StrEnum):
    """Who can hold a lock on an mPass."""

    USER = "user"
    MO = "mo"
    ADMIN = "admin"
    ORG = "org"


class MPassEvent(StrEnum):
    """What can be asked for, in the wire's words."""

    ACTIVATE = "Active"
    LOCK = "Locked"
    REVOKE = "Revoked"


class MPassAction(StrEnum):
    """What a contract can do to an mPass; unlike an event, each names one thing alone."""

    ACTIVATE = "activate"
    LOCK = "lock"
    UNLOCK = "unlock"
    REVOKE = "revoke"
    RENEW = "renew"
    ROTATE_HOLDER_KEY = "rotate_holder_key"


PENDING, ACTIVE, LOCKED, EXPIRED, REVOKED = MPassStatus
ACTIVATE, LOCK, UNLOCK, REVOKE, RENEW, ROTATE_HOLDER_KEY = MPassAction

# fmt: off
ALLOWED_ACTIONS: Final[Mapping[MPassStatus, frozenset[MPassAction]]] = {
    PENDING:  frozenset({ACTIVATE, LOCK, REVOKE, RENEW, ROTATE_HOLDER_KEY}),
    ACTIVE:   frozenset({LOCK, REVOKE, RENEW, ROTATE_HOLDER_KEY}),
    LOCKED:   frozenset({LOCK, UNLOCK, REVOKE, RENEW, ROTATE_HOLDER_KEY}),
    EXPIRED:  frozenset({REVOKE, RENEW}),
    REVOKED:  frozenset(),
}
EVENT_OF_ACTION: Final[Mapping[MPassAction, MPassEvent]] = {
    ACTIVATE:  MPassEvent.ACTIVATE,
    LOCK:      MPassEvent.LOCK,
    UNLOCK:    MPassEvent.ACTIVATE,
    REVOKE:    MPassEvent.REVOKE,
}
ALLOWED_EVENTS: Final[Mapping[MPassStatus, frozenset[MPassEvent]]] = {
    # Locked answers to all three: ACTIVATE lifts the caller's own lock, LOCK adds the caller's.
    PENDING:  frozenset(MPassEvent),
    ACTIVE:   frozenset({MPassEvent.LOCK, MPassEvent.REVOKE}),
    LOCKED:   frozenset(MPassEvent),
    EXPIRED:  frozenset({MPassEvent.REVOKE}),
    REVOKED:  frozenset(),
}
LISTED_STATUSES: Final[Mapping[MPassStatus, ListedStatus]] = {
    # What a status list says of an mPass where it is not VALID. A Pending one has no credential yet, and an Expired
    # one's credential says itself when it ends.
    LOCKED:   ListedStatus.SUSPENDED,
    REVOKED:  ListedStatus.INVALID,
}
# fmt: on


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is stored of an mPass from one moment on, and what brought it about.

    ``action``, ``contract_id``, ``reason_code``: None where it was not told. ``term_before``: of a renewal, the
    ``expires_at`` that it ended.
    """

    since: UnixMillis
    activated_at: UnixMillis | None = None
    revoked_at: UnixMillis | None = None
    locks: frozenset[Lock] = frozenset()
    action: MPassAction | None = None
    contract_id: ContractId | None = None
    reason_code: str | None = None
    term_before: UnixSeconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MPass:
    """A membership pass that an MO issued. ``sealed_member_ref`` is the MO's pseudonym, sealed; never personal data."""

    mpass_id: MPassId
    number: str
    mo_id: OrganizationId
    sealed_member_ref: bytes
    tier: str | None
    policy: Mapping[str, Value]
    holder_jwk: Mapping[str, str] | None
    issued_at: UnixMillis
    expires_at: UnixSeconds | None
    history: tuple[Facts, ...]
    revision: int = 1
    status_place: StatusPlace | None = None
    """Where the status lists tell of it; None for one that was issued before there were any."""
    ended_place: StatusPlace | None = None
    """Where they told of it under the key before: invalid for ever, with every credential that names it."""

    @property
    def standing(self) -> MPassStatus:
        """The status now but for the expiry, which comes by itself and is added by whoever asks."""
        return derive_status(self.history[-1], expires_at=None, moment=UnixMillis(0))

    @property
    def locks(self) -> frozenset[Lock]:
        """The locks now."""
        return self.history[-1].locks

    def status_at(self, moment: UnixMillis) -> MPassStatus:
        """Return the status that the facts of ``moment`` add up to."""
        return derive_status(self.facts_at(moment), expires_at=self.term_at(moment), moment=moment)

    def facts_at(self, moment: UnixMillis) -> Facts:
        """Return what was stored at ``moment``; before the mPass was issued, what it was issued with."""
        past = [facts for facts in self.history if facts.since <= moment]
        return past[-1] if past else self.history[0]

    def term_at(self, moment: UnixMillis) -> UnixSeconds | None:
        """Return the ``expires_at`` of ``moment``: that which the first renewal after it ended, or the one of now."""
        renewals = [facts for facts in self.history if facts.action is RENEW and facts.since > moment]
        return renewals[0].term_before if renewals else self.expires_at

    def check_allows(self, action: MPassAction, *, lock: Lock, at: UnixMillis) -> None:
        """Refuse an action that the status has no place for, or to lift a lock that does not stand.

        Raises:
            TransitionRefusedError: ``allowed`` lists what it has.
        """
        status = self.status_at(at)
        allowed = ALLOWED_ACTIONS[status] - ({UNLOCK} if lock not in self.locks else set())
        if action not in allowed:
            raise TransitionRefusedError(
                f"mPass {self.mpass_id}: {action} is not possible in state {status}",
                state=status,
                allowed=sorted(allowed),
            )

    def renewed(self, expires_at: UnixSeconds, *, at: UnixMillis) -> "MPass":
        """Return the mPass with another term."""
        facts = replace(self.history[-1], since=at, action=RENEW, term_before=self.expires_at)
        return replace(self, expires_at=expires_at, history=(*self.history, facts), revision=self.revision + 1)

    def caused(self, action: MPassAction, *, at: UnixMillis, contract_id: ContractId, reason_code: str) -> "MPass":
        """Return the mPass as changed by a contract, with that in its history. The revision is the change's."""
        *earlier, last = self.history
        if action is ROTATE_HOLDER_KEY:  # no fact of the status changes, but the history has it
            earlier, last = [*earlier, last], replace(last, since=at)
        last = replace(last, action=action, contract_id=contract_id, reason_code=reason_code)
        return replace(self, history=(*earlier, last))

    def rekeyed(self, holder_jwk: Mapping[str, str], *, place: StatusPlace) -> "MPass":
        """Return the mPass with another key of its holder's, at another ``place`` of its MO's status lists.

        Whoever has the key before, a thief of the old telephone say, may have credentials that are bound to it. They
        name the place before, and end with it.
        """
        return replace(
            self,
            holder_jwk=holder_jwk,
            status_place=place,
            ended_place=self.status_place,
            revision=self.revision + 1,
        )

    def changed(self, event: MPassEvent, *, lock: Lock, at: UnixMillis) -> "MPass":
        """Return the mPass after ``event`` by the holder of ``lock``.

        ``ACTIVATE`` activates a Pending mPass; from a Locked one it lifts the caller's own lock and does no more, so
        that an unlock never activates what its MO has not. A lock that stands, or one that is lifted twice, changes
        no status.

        Raises:
            TransitionRefusedError: The status does not allow it; ``allowed`` lists what it does.
        """
        status = self.status_at(at)
        if event not in ALLOWED_EVENTS[status]:
            allowed = sorted(ALLOWED_EVENTS[status])
            raise TransitionRefusedError(
                f"mPass {self.mpass_id}: {event} is not possible in state {status}", state=status, allowed=allowed
            )
        facts = replace(_applied(self.history[-1], event, lock=lock, at=at), since=at)
        return replace(self, history=(*self.history, facts), revision=self.revision + 1)


def derive_status(facts: Facts, *, expires_at: UnixSeconds | None, moment: UnixMillis) -> MPassStatus:
    """Return the first of Revoked, Expired, Locked, Active, Pending that the facts give."""
    if facts.revoked_at is not None:
        return REVOKED
    if expires_at is not None and moment >= expires_at * 1000:
        return EXPIRED
    if facts.locks:
        return LOCKED
    return PENDING if facts.activated_at is None else ACTIVE


def _applied(facts: Facts, event: MPassEvent, *, lock: Lock, at: UnixMillis) -> Facts:
    if event is MPassEvent.REVOKE:
        return replace(facts, revoked_at=at)
    if event is MPassEvent.LOCK:
        return replace(facts, locks=facts.locks | {lock})
    if facts.locks:
        return replace(facts, locks=facts.locks - {lock})
    return replace(facts, activated_at=at)


def check_mpass_active(mpass: MPass, statuses: Sequence[MPassStatus]) -> None:
    """Refuse unless the mPass was Active at each of the moments that count.

    Raises:
        MPassNotActiveError: It was not; ``status`` says what it was.
    """
    for status in statuses:
        if status is not ACTIVE:
            raise MPassNotActiveError(
                f"mPass {mpass.mpass_id}: expected Active, got {status}", mpass=mpass.mpass_id, status=status
            )


NUMBER_RANDOM_DIGITS: Final = 16
_NUMBER: Final = re.compile(r"[A-Z0-9]{2,12}[0-9]{17}", re.ASCII)


def make_number(mic: str, random_digits: str) -> str:
    """Return the mPass number: the MIC, the random digits, and a Luhn check digit over both.

    ``random_digits``: 16 of them, drawn at random so that numbers can't be enumerated.
    """
    stem = mic + random_digits
    return stem + str(_luhn_check_digit(stem))


def is_number(text: str) -> bool:
    """Tell whether ``text`` is a well-formed mPass number whose check digit is right."""
    return _NUMBER.fullmatch(text) is not None and _luhn_check_digit(text[:-1]) == int(text[-1])


def check_number(number: Value, *, mic: str, field: str) -> str:
    """Return ``number`` if it is a number of the MO with that MIC.

    Raises:
        InvalidFieldError: It is not the MIC, 16 digits and their check digit.
    """
    if not isinstance(number, str) or not is_number(number) or number[: -NUMBER_RANDOM_DIGITS - 1] != mic:
        raise InvalidFieldError(
            f"{field}: expected {mic}, {NUMBER_RANDOM_DIGITS} random digits and the check digit", field=field
        )
    return number


def issued_id(contract_id: ContractId, number: str) -> MPassId:
    """Return the id of the mPass that a contract issues: the same contract and number, the same id.

    The first 16 bytes of SHA-256 over contract_id, a line feed and the number, made a UUID v4 (RFC 9562, section 5.4).
    """
    digest = hashlib.sha256(f"{contract_id}\n{number}".encode("ascii")).digest()
    return MPassId(str(uuid.UUID(bytes=digest[:16], version=4)))


def _luhn_check_digit(stem: str) -> int:
    """Return the Luhn digit of ``stem``; a letter counts as two digits, A = 10 to Z = 35, as in an ISIN (ISO 6166)."""
    digits = [int(digit) for character in stem for digit in str(int(character, 36))]
    doubled = [sum(divmod(2 * digit, 10)) if index % 2 == 0 else digit for index, digit in enumerate(reversed(digits))]
    return -sum(doubled) % 10
