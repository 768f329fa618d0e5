"""An mPass as a credential: presented by its holder, verified by a publisher without asking the hub about the pass.

What a verifier needs is the same for every pass: the hub's keys, and a status list that is not older than it says. So
the hub learns neither which pass was shown nor where. There is no way to skip a rule: ``audience`` and ``nonce`` are
the verifier's own, made for this occasion, and a list that has ended says nothing.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Final, Protocol

from moneta.client.clock import Clock, system_clock
from moneta.client.errors import (
    HubProblemError,
    HubUnreachableError,
    MessageRefusedError,
    StatusUnavailableError,
)
from moneta.client.trust import TrustedKey
from moneta.client.verify import refusing
from moneta.domain.errors import CredentialExpiredError, StatusListStaleError
from moneta.domain.identifiers import KeyId, UnixSeconds
from moneta.domain.ijson import Value
from moneta.domain.limits import STATUS_LISTS_KEPT_MAX
from moneta.domain.status_places import ListedStatus
from moneta.signing.keys import PublicKey
from moneta.signing.sd_jwt import DISCLOSABLE, Presented, present, verify_presentation
from moneta.signing.status_list import StatusList, verify_status_list

__all__ = ["DISCLOSABLE", "HubKeys", "MPassVerifier", "VerifiedMPass", "present", "verify_mpass"]

FetchText = Callable[[str], str]
"""Gets the text at a path of the hub's; ``Caller.get_text`` is one."""

_SAYS: Final = {ListedStatus.INVALID: "revoked", ListedStatus.SUSPENDED: "suspended"}


class HubKeys(Protocol):
    """Whoever knows the hub's keys; a ``Keyring`` does."""

    def hub_key(self, key_id: str) -> TrustedKey:
        """Return the hub's key of that ``kid``. See ``Keyring.hub_key`` for what it raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedMPass:
    """An mPass that its holder showed, and that was valid by its status list at ``status_at``.

    ``claims``: what was shown of ``mpass_id``, ``number``, ``tier``, ``mo`` and ``policy``.
    """

    issuer: str
    holder_key_id: KeyId
    expires_at: UnixSeconds
    claims: Mapping[str, Value]
    status_at: UnixSeconds


def verify_mpass(
    presentation: str,
    status_list: Callable[[str], StatusList],
    keys: HubKeys,
    *,
    issuer: str,
    audience: str,
    nonce: str,
    now: UnixSeconds,
) -> VerifiedMPass:
    """Return the mPass that ``presentation`` shows, if it is one of the hub ``issuer``, shown here and now, and valid.

    ``status_list(uri)`` gives the verified list of that URI.

    Raises:
        MessageRefusedError: It is not; ``code`` says why: ``mpass_not_active`` for a locked or revoked one.
        StatusUnavailableError, KeysUnavailableError: Nothing is known about it.
    """
    with _refusing():
        shown = verify_presentation(
            presentation, key_finder(keys), issuer=issuer, audience=audience, nonce=nonce, now=now
        )
        listed = status_list(shown.status_uri)
        listed.check_fresh(now)
        status = listed.status(shown.status_index)
    if status != ListedStatus.VALID:
        says = _SAYS.get(ListedStatus(status), "not valid") if status in list(ListedStatus) else "not valid"
        raise MessageRefusedError(f"mPass: its status list calls it {says}", code="mpass_not_active")
    return _verified(shown, listed)


def read_status_list(token: str, keys: HubKeys, *, uri: str, now: UnixSeconds) -> StatusList:
    """Return the list that ``token`` is, verified as that of ``uri``.

    Raises:
        MessageRefusedError: It is not that list of the hub's.
        StatusUnavailableError: It has ended, or is of a time that has not come.
    """
    with _refusing():
        return verify_status_list(token, key_finder(keys), uri=uri, now=now)


def key_finder(keys: HubKeys) -> Callable[[KeyId, int], PublicKey]:
    """Return what gives a key of the hub's if what it signed at a moment counts."""
    return lambda key_id, issued_at: keys.hub_key(key_id).signing_at(issued_at)


class MPassVerifier:
    """Verifies mPasses of one hub, and keeps its status lists for as long as they say. Safe to share between threads.

    ``fetch``: ``Caller.get_text`` of the hub, or another way to what stands at its paths.
    """

    def __init__(self, hub: str, keys: HubKeys, fetch: FetchText, *, clock: Clock = system_clock) -> None:
        self._hub = hub
        self._keys = keys
        self._fetch = fetch
        self._clock = clock
        self._lock = Lock()
        self._lists: OrderedDict[str, tuple[StatusList, UnixSeconds]] = OrderedDict()

    def verify(self, presentation: str, *, audience: str, nonce: str) -> VerifiedMPass:
        """Return the mPass that is shown, verified. See ``verify_mpass``.

        ``audience``: who verifies, as the holder was told; its URL, or its organization's id. ``nonce``: what the
        holder was asked to sign, at least 16 random bytes as text, and used once.
        """
        return verify_mpass(
            presentation,
            self._status_list,
            self._keys,
            issuer=self._hub,
            audience=audience,
            nonce=nonce,
            now=self._clock(),
        )

    def _status_list(self, uri: str) -> StatusList:
        now = self._clock()
        with self._lock:
            kept, fetched_at = self._lists.get(uri, (None, UnixSeconds(0)))
        if kept is not None and 0 <= now - fetched_at < kept.ttl_s and now < kept.expires_at:
            return kept
        try:
            found = read_status_list(self._fetch(uri.removeprefix(self._hub)), self._keys, uri=uri, now=now)
        except (HubUnreachableError, HubProblemError) as error:
            if kept is not None and now < kept.expires_at:
                return kept  # it says itself until when it may be relied upon
            raise StatusUnavailableError(f"{uri}: {error}") from error
        with self._lock:
            self._lists[uri] = found, now
            self._lists.move_to_end(uri)
            while len(self._lists) > STATUS_LISTS_KEPT_MAX:
                self._lists.popitem(last=False)
        return found


def _verified(shown: Presented, listed: StatusList) -> VerifiedMPass:
    return VerifiedMPass(
        issuer=shown.issuer,
        holder_key_id=shown.holder.key_id,
        expires_at=shown.expires_at,
        claims=shown.claims,
        status_at=listed.issued_at,
    )


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn what the rules raise into the client's own errors."""
    try:
        with refusing():
            yield
    except CredentialExpiredError as error:
        raise MessageRefusedError(str(error), code="credential_expired") from error
    except StatusListStaleError as error:
        raise StatusUnavailableError(str(error)) from error
