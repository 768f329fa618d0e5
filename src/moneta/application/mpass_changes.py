"""What contracts do to an mPass that is there: one action on one mPass, for a reason.

1. By its MO's signature (``mpass-status-change``) the MO speaks for itself (lock ``mo``) or for its member (``user``);
   by Moneta's alone (``mpass-lock``) the lock is ``admin``. Each lifts no lock but its own.
2. Where the policy leaves the activation to the holder, the holder's key proves itself; a new key of the holder's
   always does. A proof is as fresh as one may be when the contract was received.
3. A member that the action has no use for is refused: whoever sent it meant something else.
"""

from collections.abc import Callable, Mapping
from typing import Final, cast

from moneta.application.documents import check_names, choice, required, whole_number
from moneta.application.effect_context import EffectContext
from moneta.application.mpasses import check_activation, check_holder_proof
from moneta.application.ports import DirectoryChange
from moneta.application.status_lists import place_in_lists
from moneta.domain.errors import InvalidFieldError
from moneta.domain.identifiers import MPassId, UnixSeconds
from moneta.domain.ijson import Value
from moneta.domain.mpasses import (
    ACTIVATE,
    EVENT_OF_ACTION,
    LOCK,
    RENEW,
    REVOKE,
    ROTATE_HOLDER_KEY,
    UNLOCK,
    Lock,
    MPass,
    MPassAction,
)
from moneta.domain.status_places import StatusPlace
from moneta.signing.keys import parse_public_jwk
from moneta.signing.statements import is_reason_code

Change = Callable[[EffectContext, MPass, Mapping[str, Value], Lock], MPass]
Action = tuple[Change, tuple[str, ...]]
"""What an action does, and the members of ``payload.change`` that it has a use for."""
MOS_LOCKS: Final = (Lock.MO, Lock.USER)


def change_mpass(context: EffectContext) -> DirectoryChange:
    """Do what ``payload.change`` says to the mPass that the body names, for its MO.

    Raises:
        Refused: See ``_changed``.
    """
    return _changed(context, ACTIONS, _mos_lock(context.part("change")))


def change_mpass_as_admin(context: EffectContext) -> DirectoryChange:
    """Lock, unlock or revoke the mPass that the body names, for Moneta.

    Raises:
        Refused: See ``_changed``.
    """
    return _changed(context, ADMIN_ACTIONS, Lock.ADMIN)


def _changed(context: EffectContext, actions: Mapping[MPassAction, Action], lock: Lock) -> DirectoryChange:
    """Return the mPass after the action that ``payload.change`` names.

    Raises:
        TransitionRefusedError: The mPass's status has no place for it.
        InvalidProofError: The holder's key has not proven itself.
        Refused: The first member that is wrong.
    """
    members = context.part("change")
    action = choice(members, "action", MPassAction)
    if action not in actions:
        raise InvalidFieldError(f"change.action: expected one of {', '.join(actions)}", field="change.action")
    change, more = actions[action]
    check_names(members, ("action", "reason_code", *more))
    mpass_id = cast("MPassId", context.body.mpass_id)
    mpass = context.hub.directory.mpasses([mpass_id])[mpass_id]
    mpass.check_allows(action, lock=lock, at=context.now)
    changed = change(context, mpass, members, lock)
    caused = changed.caused(
        action, at=context.now, contract_id=context.contract.contract_id, reason_code=_reason_code(members)
    )
    return DirectoryChange(mpasses=(caused,))


def _moved(context: EffectContext, mpass: MPass, members: Mapping[str, Value], lock: Lock) -> MPass:
    event = EVENT_OF_ACTION[choice(members, "action", MPassAction)]
    return mpass.changed(event, lock=lock, at=context.now)


def _activated(context: EffectContext, mpass: MPass, members: Mapping[str, Value], lock: Lock) -> MPass:
    check_activation(context.hub, mpass, members.get("holder_proof"), at=context.contract.received_at)
    return _moved(context, mpass, members, lock)


def _renewed(context: EffectContext, mpass: MPass, members: Mapping[str, Value], _lock: Lock) -> MPass:
    expires_at = whole_number(members, "expires_at")
    if expires_at * 1000 <= context.now:
        raise InvalidFieldError("change.expires_at: expected a moment that is yet to come", field="change.expires_at")
    return mpass.renewed(UnixSeconds(expires_at), at=context.now)


def _rekeyed(context: EffectContext, mpass: MPass, members: Mapping[str, Value], _lock: Lock) -> MPass:
    offered = required(members, "holder_jwk", prefix="change.")
    check_holder_proof(context.hub, mpass, offered, members.get("holder_proof"), at=context.contract.received_at)
    (placed,) = place_in_lists(context.hub, (mpass,))
    place = cast("StatusPlace", placed.status_place)  # just given
    return mpass.rekeyed(parse_public_jwk(offered).jwk, place=place)


def _mos_lock(members: Mapping[str, Value]) -> Lock:
    lock = choice(members, "lock", Lock) if "lock" in members else Lock.MO
    if lock not in MOS_LOCKS:
        raise InvalidFieldError(f"change.lock: expected {' or '.join(MOS_LOCKS)}", field="change.lock")
    return lock


def _reason_code(members: Mapping[str, Value]) -> str:
    value = required(members, "reason_code", prefix="change.")
    if not isinstance(value, str) or not is_reason_code(value):
        raise InvalidFieldError("change.reason_code: expected 1 to 64 of a-z 0-9 _ -", field="change.reason_code")
    return value


# fmt: off
ACTIONS: Final[Mapping[MPassAction, Action]] = {
    # action             what it does  its members
    ACTIVATE:           (_activated,   ("holder_proof",)),
    LOCK:               (_moved,       ("lock",)),
    UNLOCK:             (_moved,       ("lock",)),
    REVOKE:             (_moved,       ()),
    RENEW:              (_renewed,     ("expires_at",)),
    ROTATE_HOLDER_KEY:  (_rekeyed,     ("holder_jwk", "holder_proof")),
}
ADMIN_ACTIONS: Final[Mapping[MPassAction, Action]] = {
    LOCK:    (_moved, ()),
    UNLOCK:  (_moved, ()),
    REVOKE:  (_moved, ()),
}
# fmt: on
