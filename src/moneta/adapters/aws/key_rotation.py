"""How the hub's keys come into its secret, and how Moneta's signing key is changed without a gap.

Each is one write of the secret, of what was read before (``HubSecret.write``): whoever dies in between has changed
nothing, and whoever runs it again finds what was done.
"""

import secrets
import uuid
from dataclasses import dataclass, replace
from typing import Final

from moneta.adapters.aws.certificates import (
    KMSRootKey,
    certified_url,
    certify,
    certify_root,
    check_chain,
    is_certificate_of,
)
from moneta.adapters.aws.hub_secret import HubKeys, HubSecret
from moneta.adapters.sealing import SEALING_KEY_BYTES
from moneta.adapters.signing_keys import Rotation, SigningKeys, first_period
from moneta.application.ports import PublishedKey
from moneta.domain.identifiers import UnixSeconds
from moneta.signing.keys import PrivateKey, generate

VERSIONS: Final = uuid.UUID("4d6f6e65-7461-5365-6372-657456657273")
"""The name space of the secret's versions (RFC 9562, section 5.5): each is named by the one before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCustody:
    """Makes keys, has them certified by ``root``, and keeps them in ``secret``."""

    secret: HubSecret
    root: KMSRootKey

    def make_first(self, *, base_url: str, now: UnixSeconds) -> Rotation:
        """Give the secret its first keys, certified for the hub of that URL, unless it has some.

        Raises:
            MisconfiguredError: The secret is not there, is no hub's, or may not be read and written.
            StoreUnavailableError: It is not known to be written; run it again.
        """
        version_id, text = self.secret.read_text()
        if text is not None:
            return Rotation(key=self.secret.read().keys.signing_keys.signing_at(now), is_new=False)
        key = generate("ES256")
        published = self._certified(key, base_url=base_url, begins=now, root_certificate=None, now=now)
        signing = SigningKeys(published=(published,), private={key.public.key_id: key})
        self._write(
            HubKeys(signing_keys=signing, sealing_key=secrets.token_bytes(SEALING_KEY_BYTES)), instead_of=version_id
        )
        return Rotation(key=published, is_new=True)

    def rotate(self, *, now: UnixSeconds, base_url: str | None = None, is_compromised: bool = False) -> Rotation:
        """Make the next signing key, unless one waits for its time already.

        It signs ``ROTATION_LEAD_S`` from now. ``is_compromised``: at once, since the key before it is revoked now, and
        so is one that waits. ``base_url`` None: the one that the key before it is certified for.

        Raises:
            MisconfiguredError, StoreUnavailableError: See ``make_first``.
        """
        read = self.secret.read()
        newest = read.keys.signing_keys.published[0]
        check_chain(newest)
        before = read.keys.signing_keys.revoked(now) if is_compromised else read.keys.signing_keys
        begins = before.begin_of_next(now)
        if begins is None:
            return Rotation(key=newest, is_new=False)
        key = generate("ES256")
        published = self._certified(
            key,
            base_url=base_url or certified_url(newest.certificates[0]),
            begins=begins,
            root_certificate=newest.certificates[-1],
            now=now,
        )
        self._write(replace(read.keys, signing_keys=before.followed_by(key, published)), instead_of=read.version_id)
        return Rotation(key=published, is_new=True)

    def _certified(
        self, key: PrivateKey, *, base_url: str, begins: UnixSeconds, root_certificate: bytes | None, now: UnixSeconds
    ) -> PublishedKey:
        published = first_period(key, begins)
        if root_certificate is None or not is_certificate_of(root_certificate, self.root, until=published.expires_at):
            root_certificate = certify_root(self.root, now=now)
        return replace(published, certificates=certify(published, self.root, root_certificate, base_url=base_url))

    def _write(self, keys: HubKeys, *, instead_of: str) -> None:
        version_id = str(uuid.uuid5(VERSIONS, f"{self.secret.what} after {instead_of}"))
        self.secret.write(keys, version_id=version_id)
