"""Moneta's signing keys over the years, whatever they are kept in, and how one follows another without a gap.

The rules:

1. The key that signs is the newest whose period has begun. So a rotation is one write, made ahead of its time: nothing
   has to happen, and nobody has to be told, at the moment when the next key takes over.
2. The next key is published ``ROTATION_LEAD_S`` before it signs, when every process has read it and what every partner
   remembers is younger; the one before it stays good for ``ROTATION_OVERLAP_S`` after, and published for ever.
3. A key that was compromised is revoked with every other whose private half lay beside it, and replaced at once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from moneta.application.ports import Clock, PublishedKey
from moneta.domain.errors import MisconfiguredError
from moneta.domain.identifiers import KeyId, UnixSeconds
from moneta.domain.limits import ROTATION_LEAD_S, ROTATION_OVERLAP_S, SIGNING_PERIOD_S
from moneta.signing.keys import PrivateKey, parse_public_jwk


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """What came of it. ``key`` signs from its ``not_before`` on; ``is_new``: made now, and not found."""

    key: PublishedKey
    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SigningKeys:
    """``published``: every key, the newest first; ``private``: the halves at hand, the newest's among them."""

    published: tuple[PublishedKey, ...]
    private: Mapping[KeyId, PrivateKey]

    def signing_at(self, now: UnixSeconds) -> PublishedKey:
        """Return the key that signs now (rule 1).

        Raises:
            MisconfiguredError: None can sign any more.
        """
        able = self._able(now)
        if not able or able[-1].expires_at <= now:
            raise MisconfiguredError(
                "Moneta's signing key has expired; moneta rotate-key, or moneta aws rotate-key, makes a new one"
            )
        return able[-1]

    def in_order(self, now: UnixSeconds) -> Sequence[PublishedKey]:
        """Return every key, the one that signs now first, or that signed last: what it signed is verified for ever."""
        current = [self.published[0], *self._able(now)][-1]
        return [current, *(one for one in self.published if one is not current)]

    def _able(self, now: UnixSeconds) -> Sequence[PublishedKey]:
        return [one for one in may_sign(self.published, now) if one.public.key_id in self.private]

    def begin_of_next(self, now: UnixSeconds) -> UnixSeconds | None:
        """Return when a key that is made now signs: in time for rule 2, or at once if nothing can sign until then.

        None if one that was made before waits for its time.
        """
        newest = self.published[0]
        lead = UnixSeconds(now + ROTATION_LEAD_S)
        if newest.revoked_at is not None or newest.expires_at <= lead:
            return now
        return None if newest.not_before > now else lead

    def followed_by(self, key: PrivateKey, period: PublishedKey) -> "SigningKeys":
        """Return the keys with a next one, an end to the period of the one before, and no private half that is over."""
        newest, *older = self.published
        if newest.revoked_at is None:
            ends = UnixSeconds(min(newest.expires_at, period.not_before + ROTATION_OVERLAP_S))
            newest = replace(newest, expires_at=ends)
        kept = {one: private for one, private in self.private.items() if one == newest.public.key_id}
        return SigningKeys(published=(period, newest, *older), private={key.public.key_id: key, **kept})

    def revoked(self, now: UnixSeconds) -> "SigningKeys":
        """Return the keys with every one revoked whose private half is at hand, and without those (rule 3)."""
        return SigningKeys(
            published=tuple(
                replace(one, revoked_at=now) if one.public.key_id in self.private and one.revoked_at is None else one
                for one in self.published
            ),
            private={},
        )


class RotatingSigner:
    """See ``ports.Signer``. ``keys`` gives what is kept of them now, and is asked anew each time."""

    def __init__(self, keys: Callable[[], SigningKeys], clock: Clock) -> None:
        self._keys = keys
        self._clock = clock

    def current(self) -> PrivateKey:
        """See Signer.current."""
        keys = self._keys()
        return keys.private[keys.signing_at(self._now()).public.key_id]

    def published(self) -> Sequence[PublishedKey]:
        """See Signer.published."""
        return self._keys().in_order(self._now())

    def _now(self) -> UnixSeconds:
        return UnixSeconds(self._clock.now_ms() // 1000)


def first_period(key: PrivateKey, begins: UnixSeconds) -> PublishedKey:
    """Return a new key as it is published, certified by nobody yet."""
    return PublishedKey(public=key.public, not_before=begins, expires_at=UnixSeconds(begins + SIGNING_PERIOD_S))


def may_sign(published: Sequence[PublishedKey], now: UnixSeconds) -> Sequence[PublishedKey]:
    """Return the keys that sign from ``now`` on, the newest first: those that wait, and then the one that signs now.

    All that were not revoked, if none has begun: by a clock that is a little behind, the oldest of them signs.
    """
    usable = [one for one in published if one.revoked_at is None]
    begun = next((place for place, one in enumerate(usable) if one.not_before <= now), len(usable))
    return usable[: begun + 1]


class KeyEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One key as it is kept, with the names that the JWKS uses. ``x5c``: its certificates, each in base64."""

    jwk: dict[str, str]
    nbf: UnixSeconds
    exp: UnixSeconds
    revoked_at: UnixSeconds | None = None
    x5c: tuple[bytes, ...] = ()


def entry_of(key: PublishedKey) -> KeyEntry:
    """Return ``key`` as it is kept."""
    return KeyEntry(
        jwk=dict(key.public.jwk),
        nbf=key.not_before,
        exp=key.expires_at,
        revoked_at=key.revoked_at,
        x5c=key.certificates,
    )


def published_of(entry: KeyEntry) -> PublishedKey:
    """Return the key that is kept as ``entry``. Raises WeakKeyError if its JWK is not one that may sign."""
    return PublishedKey(
        public=parse_public_jwk(dict(entry.jwk)),
        not_before=entry.nbf,
        expires_at=entry.exp,
        revoked_at=entry.revoked_at,
        certificates=entry.x5c,
    )
