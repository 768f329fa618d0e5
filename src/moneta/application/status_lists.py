"""Status lists: places for new mPasses, and each list as it is now, signed.

1. A list is built from what its MO's passes are, and from what the MO itself is: while it is Suspended nothing in its
   lists is valid, and once it is Destroyed nothing ever is again, as ``mpasses.standing_at`` has it for one pass.
2. Building reads what is not valid, and nothing else.
3. Anybody may read a list: it says of no place whose it is, nor whether it is anybody's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from moneta.application.access import not_found
from moneta.application.ports import Hub
from moneta.domain.identifiers import OrganizationId, UnixSeconds
from moneta.domain.limits import STATUS_LIST_PLACES
from moneta.domain.mpasses import MPass
from moneta.domain.organizations import DESTROYED, SUSPENDED, Organization
from moneta.domain.status_places import STATUS_BITS, ListedStatus, StatusPlace, list_id, parse_list_id, places_of
from moneta.signing.status_list import make_status_list, pack_statuses

STATUS_LISTS_PATH: Final = "/status-lists/"
_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltList:
    """A status list as its MO's passes stood at ``built_at``."""

    token: str
    built_at: UnixSeconds


def place_in_lists(hub: Hub, mpasses: tuple[MPass, ...]) -> tuple[MPass, ...]:
    """Return new mPasses of one MO, each with a place in its status lists.

    It is called where they are made, before they are written; places of passes that are not written stay empty.
    """
    places = take_places(hub, mpasses[0].mo_id, len(mpasses))
    return tuple(replace(mpass, status_place=place) for mpass, place in zip(mpasses, places, strict=True))


def take_places(hub: Hub, mo_id: OrganizationId, count: int) -> Sequence[StatusPlace]:
    """Return places in an MO's status lists that were never given before."""
    secret = hub.randomness.token(_SECRET_BYTES)
    taken = hub.directory.take_status_positions(mo_id, count, sealed_secret=hub.sealer.seal(secret))
    return places_of(taken, hub.sealer.unseal(taken.sealed_secret))


def status_list_uri(hub: Hub, mo_id: OrganizationId, list_number: int) -> str:
    """Return where anybody reads one of an MO's status lists."""
    return f"{hub.base_url}{STATUS_LISTS_PATH}{list_id(mo_id, list_number)}"


def build_status_list(hub: Hub, asked: str) -> BuiltList:
    """Return the status list of that id as it is now.

    Raises:
        NotFoundError: There is none: no MO has it, or nothing in it was given out.
    """
    built_at = hub.now_s()  # before anything is read, so that nothing later is claimed
    named = parse_list_id(asked)
    if named is None:
        raise not_found()
    mo_id, number = named
    if number * STATUS_LIST_PLACES >= hub.directory.status_positions_given(mo_id):
        raise not_found()
    mo = hub.directory.organizations([mo_id], is_fresh=True)[mo_id]
    packed = pack_statuses(
        hub.directory.not_valid(mo_id, number) if mo.status is not DESTROYED else {},
        bits=STATUS_BITS,
        places=STATUS_LIST_PLACES,
        default=_status_of_all(mo),
    )
    uri = status_list_uri(hub, mo_id, number)
    token = make_status_list(hub.signer.current(), packed, bits=STATUS_BITS, uri=uri, issued_at=built_at)
    return BuiltList(token=token, built_at=built_at)


def _status_of_all(mo: Organization) -> ListedStatus:
    """Return what an MO's lists say where no pass's own status says anything."""
    return {SUSPENDED: ListedStatus.SUSPENDED, DESTROYED: ListedStatus.INVALID}.get(mo.status, ListedStatus.VALID)
