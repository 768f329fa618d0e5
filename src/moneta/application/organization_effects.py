"""What contracts do to organizations and their keys, and what they must say for it.

1. An onboarding names the organization as it was registered: whoever signs it, signs for these keys and this endpoint.
2. A rotation is signed by the key that it ends. The new one stands from its finalization on, beside the old one until
   ``overlap_until``; what the old one signed before stays valid for ever.
3. A status changes along the same table, and after the same checks, as by a call.
"""

from collections.abc import Collection, Mapping, Sequence

from moneta.application.documents import required, whole_number
from moneta.application.effect_context import EffectContext
from moneta.application.organization_readiness import check_ready
from moneta.application.organization_views import touched
from moneta.application.ports import DirectoryChange
from moneta.domain.errors import (
    InvalidFieldError,
    KeyNotValidError,
    OnboardingMismatchError,
    TransitionRefusedError,
)
from moneta.domain.identifiers import KeyId, RegistrySeq, UnixMillis, UnixSeconds
from moneta.domain.ijson import Value
from moneta.domain.keys import ACTIVE, KeyChange, KeyUse, RegisteredKey
from moneta.domain.limits import KEYS_PER_ORGANIZATION_MAX, ROTATION_OVERLAP_S_MAX
from moneta.domain.organizations import (
    ACTIVATE,
    DESTROY,
    SUSPEND,
    SUSPENDED,
    Organization,
    OrganizationActor,
    OrganizationEvent,
)
from moneta.domain.templates import Role
from moneta.signing.chain import new_key_of


def check_onboarding(stated: Mapping[str, Value], organization: Organization, keys: Collection[RegisteredKey]) -> None:
    """Refuse an onboarding whose ``payload.onboarding`` is not what was registered.

    Raises:
        OnboardingMismatchError: With the first member that differs, and what was registered.
    """
    registered: Mapping[str, str | list[str]] = {
        "type": str(organization.kind),
        "legal_name": organization.name,
        "endpoint": organization.webhook_url,
        "keys": sorted(key.key_id for key in keys if key.status is ACTIVE),
        "services": list(organization.services),
        "industries": list(organization.industries),
    }
    for name, expected in registered.items():
        if name in stated and _sorted_if_ids(name, stated[name]) != expected:
            raise OnboardingMismatchError(
                f"onboarding.{name}: it is not what was registered", field=f"onboarding.{name}", expected=expected
            )


def check_rotation(
    stated: Mapping[str, Value], keys: Mapping[KeyId, RegisteredKey], moments: Sequence[UnixMillis]
) -> None:
    """Refuse a rotation that ``payload.rotation`` can't mean.

    Raises:
        KeyNotValidError: ``old_kid`` is no active ``contract`` key of the organization, or is ending already.
        InvalidFieldError: ``overlap_until`` is over, or more than ``ROTATION_OVERLAP_S_MAX`` away.
    """
    old = next((key for key in keys.values() if key.key_id == stated.get("old_kid")), None)
    if old is None or old.status is not ACTIVE or KeyUse.CONTRACT not in old.uses or old.ends_at is not None:
        raise KeyNotValidError("rotation.old_kid: expected an active contract key", field="rotation.old_kid")
    until_ms = whole_number(stated, "overlap_until") * 1000
    if not moments[0] < until_ms <= moments[0] + ROTATION_OVERLAP_S_MAX * 1000:
        raise InvalidFieldError(
            f"rotation.overlap_until: expected at most {ROTATION_OVERLAP_S_MAX} seconds from now",
            field="rotation.overlap_until",
        )


def activate_organization(context: EffectContext) -> DirectoryChange:
    """Make a Pending or Suspended organization Active. See ``_moved``."""
    return _moved(context, ACTIVATE)


def suspend_organization(context: EffectContext) -> DirectoryChange:
    """Suspend an organization: nothing new begins, and what is under way goes on. See ``_moved``."""
    return _moved(context, SUSPEND)


def destroy_organization(context: EffectContext) -> DirectoryChange:
    """Destroy an organization; it stays as a tombstone. See ``_moved``."""
    return _moved(context, DESTROY)


def rotate_key(context: EffectContext) -> DirectoryChange:
    """Register the new ``contract`` key, and set the end of the one that signed for ``org``.

    Raises:
        InvalidFieldError: ``old_kid`` is not the key that signed, or the organization has as many keys as it may.
        KeyNotValidError: The old key was retired or revoked meanwhile.
    """
    organization = context.organization()
    stated, new = context.part("rotation"), new_key_of(context.body)
    keys = context.hub.directory.keys_of([organization.organization_id], is_fresh=True)[organization.organization_id]
    signed_by = next(one.key_id for one in context.contract.signatures if one.role is Role.ORG)
    if required(stated, "old_kid", prefix="rotation.") != signed_by:
        raise InvalidFieldError("rotation.old_kid: expected the key that signs for org", field="rotation.old_kid")
    if len(keys) >= KEYS_PER_ORGANIZATION_MAX:
        raise InvalidFieldError(
            f"new_key: an organization has at most {KEYS_PER_ORGANIZATION_MAX} keys", field="new_key"
        )
    position = context.hub.directory.registry_position()
    added = RegisteredKey(
        owner=organization.organization_id,
        key_id=new.key_id,
        jwk=new.jwk,
        uses=frozenset({KeyUse.CONTRACT}),
        changes=(KeyChange(seq=RegistrySeq(position + 1), at=context.now, status=ACTIVE),),
    )
    ending = keys[KeyId(signed_by)].ending(
        ends_at=UnixSeconds(whole_number(stated, "overlap_until")), seq=RegistrySeq(position + 2), at=context.now
    )
    return DirectoryChange(organization=touched(organization, at=context.now), keys=(added, ending))


def _moved(context: EffectContext, event: OrganizationEvent) -> DirectoryChange:
    """Return the organization of the contract after ``event``.

    Raises:
        TransitionRefusedError: The state table has no such row, keys are missing, or contracts are open.
    """
    organization = context.organization()
    changed = organization.changed(event, by=OrganizationActor.CONTRACT, at=context.now)
    if organization.status is SUSPENDED and event is ACTIVATE:
        _check_offered_since(organization, context)
    check_ready(context.hub, organization, event, apart_from=context.contract.contract_id)
    return DirectoryChange(organization=changed)


def _check_offered_since(organization: Organization, context: EffectContext) -> None:
    """Refuse to lift a suspension that is younger than the offer: that was made in another situation."""
    if organization.history[-1][0] > context.contract.received_at:
        raise TransitionRefusedError(
            f"organization {organization.organization_id}: it was suspended after this was offered",
            state=organization.status,
            allowed=[],
        )


def _sorted_if_ids(name: str, stated: Value) -> Value:
    """Return the keys in order, since whoever lists them lists a set; everything else as it stands."""
    return sorted(map(str, stated)) if name == "keys" and isinstance(stated, list) else stated
