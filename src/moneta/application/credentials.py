"""An mPass as a credential that its holder shows and a publisher checks offline.

1. The MO asks for it, and hands it to its member; the hub signs it, as what it knows of the pass.
2. Only an Active pass gets one, with a key of its holder's: without one, whoever has the text would have the pass.
3. Everything that tells who it is for is disclosed only if the holder chooses; of the policy its summary, which names
   no publisher.
4. Who asked for it, and for which place of a status list, is a leaf of the audit log, as of every change.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from moneta.application.access import Operation, check_right
from moneta.application.authenticate import Caller
from moneta.application.changes import Decision, decide_and_apply
from moneta.application.documents import Document
from moneta.application.mpasses import find_mpass, standing_at
from moneta.application.ports import DirectoryChange, Hub
from moneta.application.records import make_record
from moneta.application.status_lists import status_list_uri, take_places
from moneta.domain.errors import MissingFieldError
from moneta.domain.identifiers import MPassId, UnixSeconds
from moneta.domain.ijson import NumberText, Value
from moneta.domain.limits import CREDENTIAL_LIFETIME_S_MAX
from moneta.domain.mpasses import MPass, check_mpass_active
from moneta.domain.organizations import Organization
from moneta.domain.status_places import StatusPlace
from moneta.signing.sd_jwt import CREDENTIAL_TYP, make_credential

SUMMARIZED: Final = ("limits", "services", "valid_from", "valid_until")
"""What a credential tells of a policy: which publishers it allows is between the MO and them."""
_SALT_BYTES: Final = 16


def issue_credential(hub: Hub, caller: Caller, mpass_id: MPassId) -> Document:
    """Return a new credential of an mPass, with every disclosure, for its holder.

    Raises:
        NotFoundError: There is no such mPass, or it is another MO's.
        MPassNotActiveError: It is not Active now.
        MissingFieldError: It has no key of its holder's.
    """
    check_right(caller, Operation.ISSUE_CREDENTIAL)

    def decide() -> Decision:
        mpass, mo = find_mpass(hub, caller, Operation.ISSUE_CREDENTIAL, mpass_id)
        check_mpass_active(mpass, [standing_at(mpass, mo, hub.clock.now_ms())[0]])
        if mpass.holder_jwk is None:
            raise MissingFieldError(
                f"mPass {mpass_id}: it has no holder_jwk, and a credential is bound to one", field="holder_jwk"
            )
        place, changed = _place(hub, mpass)
        terms = _Terms(
            holder_jwk=mpass.holder_jwk,
            status_uri=status_list_uri(hub, mpass.mo_id, place.list_number),
            status_index=place.index,
            expires_at=_end(hub.now_s(), mpass),
        )
        record = _record(hub, caller, mpass, terms)
        return Decision(
            change=DirectoryChange(record=record, mpasses=changed),
            answer=Document(
                body={
                    "format": CREDENTIAL_TYP,
                    "credential": _sign(hub, terms, _disclosable(mpass, mo)),
                    "expires_at": terms.expires_at,
                }
            ),
        )

    return decide_and_apply(hub, decide)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Terms:
    """What a credential says beside what it discloses."""

    holder_jwk: Mapping[str, str]
    status_uri: str
    status_index: int
    expires_at: UnixSeconds


def _end(now: UnixSeconds, mpass: MPass) -> UnixSeconds:
    latest = now + CREDENTIAL_LIFETIME_S_MAX
    return UnixSeconds(latest if mpass.expires_at is None else min(latest, mpass.expires_at))


def _sign(hub: Hub, terms: _Terms, disclosable: Mapping[str, object]) -> str:
    return make_credential(
        hub.signer.current(),
        issuer=hub.base_url,
        issued_at=hub.now_s(),
        expires_at=terms.expires_at,
        holder_jwk=terms.holder_jwk,
        status_uri=terms.status_uri,
        status_index=terms.status_index,
        disclosable=disclosable,
        salts=[hub.randomness.token(_SALT_BYTES) for _ in disclosable],
    )


def _record(hub: Hub, caller: Caller, mpass: MPass, terms: _Terms) -> bytes:
    place = {"status_list": terms.status_uri, "idx": terms.status_index}
    return make_record(
        hub,
        caller,
        Operation.ISSUE_CREDENTIAL,
        subject=mpass.mpass_id,
        change={"holder_kid": terms.holder_jwk["kid"], **place, "expires_at": terms.expires_at},
        registry_seq=hub.directory.registry_position(),
    )


def _place(hub: Hub, mpass: MPass) -> tuple[StatusPlace, tuple[MPass, ...]]:
    """Return the place of an mPass, and the mPass changed if it was issued before there were any."""
    if mpass.status_place is not None:
        return mpass.status_place, ()
    (place,) = take_places(hub, mpass.mo_id, 1)
    return place, (replace(mpass, status_place=place, revision=mpass.revision + 1),)


def _disclosable(mpass: MPass, mo: Organization) -> Mapping[str, object]:
    """Return what the holder may disclose; what an mPass does not have is left out."""
    summary = {name: _plain(mpass.policy[name]) for name in SUMMARIZED if name in mpass.policy}
    claims = {
        "mpass_id": mpass.mpass_id,
        "number": mpass.number,
        "tier": mpass.tier,
        "mo": {"id": mo.organization_id, "mic": mo.code, "name": mo.name},
        "policy": summary or None,
    }
    return {name: value for name, value in claims.items() if value is not None}


def _plain(value: Value) -> object:
    """Return ``value`` with each number that is kept as its digits as a text, as money is shown."""
    match value:
        case NumberText():
            return value.digits
        case Mapping():
            return {name: _plain(member) for name, member in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return value
