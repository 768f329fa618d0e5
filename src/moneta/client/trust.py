"""Which keys a party believes, and where they come from.

Pinned keys are believed as they are. Others come from the hub, over TLS, and are remembered for a while: its own from
``/.well-known/jwks.json``, a partner's contract keys from ``/organizations/{kind}/{id}/jwks``. A ``kid`` that is not
among the remembered ones makes one new fetch, at most every few seconds, so that a rotation is seen at once and a
stranger can't make us ask without end.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import Final

from moneta.client.clock import Clock, system_clock
from moneta.client.errors import HubProblemError, HubUnreachableError, KeysUnavailableError, MessageRefusedError
from moneta.domain.errors import Refused
from moneta.domain.identifiers import OrganizationId, UnixSeconds
from moneta.domain.ijson import Value
from moneta.domain.limits import CLOCK_SKEW_S, KEYS_KEPT_S
from moneta.domain.templates import Role
from moneta.signing.keys import MEMBERS_OF, PublicKey, parse_public_jwk

KEYS_ASKED_AGAIN_S: Final = 2
KEY_SETS_KEPT_MAX: Final = 1_000
KEYS_READ_MAX: Final = 1_000
HUB_JWKS_PATH: Final = "/.well-known/jwks.json"

ORGANIZATION_KINDS: Final = (Role.MO, Role.PUBLISHER)

Fetch = Callable[[str], Mapping[str, Value]]
"""Gets the JSON object at a path of the hub's; ``Caller.get`` is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedKey:
    """A key and when it counts: one of the hub's by its signing period, a partner's by the registry's positions.

    ``not_before``, ``not_after``: the signing period; None for open. ``revoked_seq``: the position in the hub's key
    registry at which it was revoked or compromised; 0 where that is not told.
    """

    public: PublicKey
    not_before: UnixSeconds | None = None
    not_after: UnixSeconds | None = None
    is_revoked: bool = False
    is_compromised: bool = False
    revoked_seq: int = 0

    def signing_at(self, issued_at: int) -> PublicKey:
        """Return a key of the hub's if a signature that it made at ``issued_at`` counts.

        Without a proof that the log held it before, no signature by a revoked key does (protocol, section 2).

        Raises:
            MessageRefusedError: It is revoked, or that was outside its signing period.
        """
        starts_late = self.not_before is not None and issued_at < self.not_before - CLOCK_SKEW_S
        ends_early = self.not_after is not None and issued_at > self.not_after + CLOCK_SKEW_S
        if self.is_revoked or starts_late or ends_early:
            fault = "revoked" if self.is_revoked else "not in its signing period"
            raise MessageRefusedError(f"key {self.public.key_id}: {fault}", code="key_not_valid")
        return self.public

    def check_judged_at(self, position: int | None) -> None:
        """Return if a partner's signature counts that Moneta judged at ``position``; None: it has not judged it yet.

        Raises:
            MessageRefusedError: The key was revoked by then.
        """
        if self.is_revoked and (position is None or position >= self.revoked_seq):
            raise MessageRefusedError(f"key {self.public.key_id}: revoked", code="key_not_valid")


@dataclass(frozen=True, slots=True)
class _KeySet:
    keys: Mapping[str, TrustedKey]
    asked_at: UnixSeconds


class Keyring:
    """The keys of the hub and of partners. Safe to share between threads.

    ``hub_keys``: the thumbprints that the hub's keys are believed under; without them, TLS alone says who the hub is.
    ``partner_keys``: pinned keys; the hub is never asked about these organizations.
    """

    def __init__(
        self,
        fetch: Fetch,
        *,
        hub_keys: frozenset[str] | None = None,
        partner_keys: Mapping[OrganizationId, tuple[PublicKey, ...]] | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self._fetch = fetch
        self._hub_keys = hub_keys
        self._partner_keys = dict(partner_keys or {})
        self._clock = clock
        self._lock = Lock()
        self._sets: OrderedDict[str, _KeySet] = OrderedDict()

    def hub_key(self, key_id: str) -> TrustedKey:
        """Return the hub's key of that ``kid``.

        Raises:
            MessageRefusedError: The hub has none, or it is not among the pinned ones.
            KeysUnavailableError: The hub could not be asked.
        """
        if self._hub_keys is not None and key_id not in self._hub_keys:
            raise MessageRefusedError(f"key {key_id}: not a pinned key of the hub's", code="unknown_key")
        return self._find(HUB_JWKS_PATH, key_id)

    def party_key(self, kinds: Sequence[Role], organization_id: OrganizationId, key_id: str) -> TrustedKey:
        """Return an organization's contract key of that ``kid``. See ``hub_key`` for what it raises.

        ``kinds``: what the organization may be; the hub knows it under one of them.
        """
        if organization_id in self._partner_keys:
            pinned = {str(key.key_id): TrustedKey(public=key) for key in self._partner_keys[organization_id]}
            return _of(pinned, key_id, f"organization {organization_id}")
        *likelier, last = (f"/organizations/{kind}/{organization_id}/jwks" for kind in kinds)
        for path in likelier:
            with suppress(KeysUnavailableError):
                return self._find(path, key_id)
        return self._find(last, key_id)

    def _find(self, path: str, key_id: str) -> TrustedKey:
        with self._lock:
            kept = self._sets.get(path)
            age_s = self._clock() - kept.asked_at if kept is not None else KEYS_KEPT_S
        # A clock that was set back makes what is kept older than it looks, not younger.
        is_young = 0 <= age_s < KEYS_KEPT_S
        if kept is None or not is_young or (key_id not in kept.keys and age_s >= KEYS_ASKED_AGAIN_S):
            kept = self._fetch_set(path)
        return _of(kept.keys, key_id, path)

    def _fetch_set(self, path: str) -> _KeySet:
        # Outside the lock: a slow hub must not hold up the contracts whose keys are known.
        # Its age begins with the question: what the hub has told may have been revoked while it was on its way.
        asked_at = self._clock()
        try:
            document = self._fetch(path)
        except (HubUnreachableError, HubProblemError) as error:
            raise KeysUnavailableError(f"{path}: {error}") from error
        fetched = _KeySet(parse_key_set(document), asked_at)
        with self._lock:
            self._sets[path] = fetched
            self._sets.move_to_end(path)
            while len(self._sets) > KEY_SETS_KEPT_MAX:
                self._sets.popitem(last=False)
        return fetched


def parse_key_set(document: Mapping[str, Value]) -> Mapping[str, TrustedKey]:
    """Return the keys of a JWK Set (RFC 7517, section 5) by ``kid``; those of no allowed type are left out."""
    members = document.get("keys")
    if not isinstance(members, list):
        raise KeysUnavailableError("expected a JWK Set")
    found = [key for member in members[:KEYS_READ_MAX] if (key := _parse_member(member)) is not None]
    return {key.public.key_id: key for key in found}


def _parse_member(member: Value) -> TrustedKey | None:
    if not isinstance(member, Mapping):
        return None
    names = {*MEMBERS_OF.get(str(member.get("kty")), ()), "alg", "kid"}
    try:
        public = parse_public_jwk({name: member[name] for name in names if name in member})
    except Refused:
        return None  # RFC 7517, section 5: an implementation ignores the keys that it does not understand
    return TrustedKey(
        public=public,
        not_before=_seconds(member.get("nbf")),
        not_after=_seconds(member.get("exp")),
        is_revoked=member.get("revoked_at") is not None,
        is_compromised=member.get("status") == "compromised",
        revoked_seq=_integer(member.get("registry_seq")) or 0,
    )


def _integer(value: Value) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _seconds(value: Value) -> UnixSeconds | None:
    whole = _integer(value)
    return None if whole is None else UnixSeconds(whole)


def _of(keys: Mapping[str, TrustedKey], key_id: str, whose: str) -> TrustedKey:
    if key_id not in keys:
        raise MessageRefusedError(f"{whose}: no key {key_id}", code="unknown_key")
    return keys[key_id]
