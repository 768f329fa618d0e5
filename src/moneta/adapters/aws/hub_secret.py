"""The hub's secret in Secrets Manager: the keys that Moneta signs with, and the one that seals small secrets.

The rules:

1. The secret is one JSON document (``docs/aws.md``), written whole: the public half, the signing period and the
   certificates of every key that the hub ever signed with, the newest first; the private halves of those that sign now
   or will; the sealing key.
2. A process keeps what it read for ``SECRET_LIFETIME_S``. While the service is away, it goes on with what it has for
   ``SECRET_STALE_S_MAX``; but a secret that was deleted, or that it may not read any more, is missed at once.
3. Which key signs, and when the next one does, is ``signing_keys``'s to say.
4. Certificates are passed on as they are: whoever makes keys and starts hubs looks at them (``certificates``), for the
   libraries that read them would cost each function's start 40 ms.
5. Nothing here shows a private key: no ``repr``, no error, no log.
"""

from dataclasses import dataclass
from threading import Lock
from typing import Annotated, Any, Final, Literal

import msgspec
from botocore.exceptions import ClientError
from typing_extensions import override

from moneta.adapters.aws.clients import call
from moneta.adapters.sealing import SEALING_KEY_BYTES, AESGCMSealer
from moneta.adapters.signing_keys import KeyEntry, SigningKeys, entry_of, published_of
from moneta.application.ports import Clock, PublishedKey
from moneta.domain.errors import MisconfiguredError, StoreUnavailableError, WeakKeyError
from moneta.domain.identifiers import UnixMillis
from moneta.signing.keys import PrivateKey, load_pem

SECRET_LIFETIME_S: Final = 300
SECRET_STALE_S_MAX: Final = 3_600
SECRET_RETRY_S: Final = 10
SECRET_BYTES_MAX: Final = 65_536
"""Secrets Manager's own limit: about forty keys."""

_HAS_NO_VALUE: Final = "it has no value yet; moneta aws init gives it one"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class HubKeys:
    """What the secret holds."""

    signing_keys: SigningKeys
    sealing_key: bytes


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SecretVersion:
    """One version of the secret, as it was read."""

    version_id: str
    keys: HubKeys


# The document.


class _SecretEntry(KeyEntry, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One key of the secret. ``private_key``: PKCS #8 in PEM."""

    private_key: str | None = None

    @override
    def __repr__(self) -> str:
        return "_SecretEntry(...)"


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole secret; ``sealing_key`` in base64."""

    format: Literal[1]
    signing_keys: Annotated[tuple[_SecretEntry, ...], msgspec.Meta(min_length=1)]
    sealing_key: bytes

    @override
    def __repr__(self) -> str:
        return "_Document(...)"


def encode_keys(keys: HubKeys) -> str:
    """Return the JSON that ``decode_keys`` reads."""
    entries = [_entry(one, keys.signing_keys.private.get(one.public.key_id)) for one in keys.signing_keys.published]
    document = _Document(format=1, signing_keys=tuple(entries), sealing_key=keys.sealing_key)
    return msgspec.json.encode(document).decode("ascii")


def decode_keys(text: str, what: str) -> HubKeys:
    """Return what the secret ``what`` says.

    Raises:
        MisconfiguredError: It is not one that ``moneta aws init`` and ``rotate-key`` wrote.
    """
    try:
        document = msgspec.json.decode(text, type=_Document)
        published = tuple(published_of(entry) for entry in document.signing_keys)
        private = {
            one.public.key_id: _private(entry.private_key, one)
            for entry, one in zip(document.signing_keys, published, strict=True)
            if entry.private_key is not None
        }
    except (ValueError, WeakKeyError) as error:  # msgspec's errors are ValueErrors, and quote no value
        raise MisconfiguredError(f"{what}: not a hub's keys: {error}") from error
    if len(document.sealing_key) != SEALING_KEY_BYTES:
        raise MisconfiguredError(f"{what}: not a hub's keys: expected a sealing key of {SEALING_KEY_BYTES} bytes")
    return HubKeys(signing_keys=SigningKeys(published=published, private=private), sealing_key=document.sealing_key)


def _entry(key: PublishedKey, private: PrivateKey | None) -> _SecretEntry:
    pem = None if private is None else private.to_pem().decode("ascii")
    return _SecretEntry(**msgspec.structs.asdict(entry_of(key)), private_key=pem)


def _private(pem: str, key: PublishedKey) -> PrivateKey:
    private = load_pem(pem.encode("utf-8"))
    if private.public != key.public:
        raise WeakKeyError(f"the private key of {key.public.key_id} is another's")
    return private


# Reading it.


class HubSecret:
    """The secret under its name or ARN: read anew each time. Only ``CachedKeys`` is for the hot path."""

    def __init__(self, client: Any, secret_id: str) -> None:  # botocore has no types
        self._client = client
        self._secret_id = secret_id
        self.what = f"secret {secret_id}"

    def read(self) -> SecretVersion:
        """Return the secret as it is now.

        Raises:
            MisconfiguredError: It is not there, has no value, is not a hub's, or may not be read.
            StoreUnavailableError: The service could not tell.
        """
        version_id, text = self.read_text()
        if text is None:
            raise MisconfiguredError(f"{self.what}: {_HAS_NO_VALUE}")
        return SecretVersion(version_id=version_id, keys=decode_keys(text, self.what))

    def read_text(self) -> tuple[str, str | None]:
        """Return the current version and its text; an empty name and None where there is no value yet."""
        try:
            found = call(self._client, "get_secret_value", self.what, SecretId=self._secret_id)
        except MisconfiguredError:
            if self._is_there_without_value():
                return "", None
            raise
        return str(found["VersionId"]), found.get("SecretString") or None

    def write(self, keys: HubKeys, *, version_id: str) -> None:
        """Write a new version, under a name that derives from the name of the version that was read, and nothing else.

        So two writers that read the same version name the same new one, and the service takes only one text for a name
        (``ClientRequestToken``). Writing the same again changes nothing.

        Raises:
            MisconfiguredError: It is not there, may not be written, or would be too large.
            StoreUnavailableError: The service could not do it, or another writer was faster.
        """
        text = encode_keys(keys)
        if len(text) > SECRET_BYTES_MAX:
            raise MisconfiguredError(f"{self.what}: {len(text)} bytes, more than {SECRET_BYTES_MAX}: too many keys")
        try:
            call(
                self._client,
                "put_secret_value",
                self.what,
                SecretId=self._secret_id,
                SecretString=text,
                ClientRequestToken=version_id,
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceExistsException":
                raise
            raise StoreUnavailableError(f"{self.what}: somebody else has changed it meanwhile; run it again") from error

    def _is_there_without_value(self) -> bool:
        """Tell whether the secret is there; only whoever may describe it finds out."""
        try:
            found = call(self._client, "describe_secret", self.what, SecretId=self._secret_id)
        except MisconfiguredError:
            return False
        return not found.get("VersionIdsToStages") and "DeletedDate" not in found


class CachedKeys:
    """The secret's keys, read anew when what is known of them is old. Safe for threads."""

    def __init__(self, secret: HubSecret, clock: Clock) -> None:
        self._secret = secret
        self._clock = clock
        self._lock = Lock()
        self._keys: HubKeys | None = None
        self._read_at = UnixMillis(0)
        self._ask_at = UnixMillis(0)

    def now(self) -> HubKeys:
        """Return the keys, at most ``SECRET_LIFETIME_S`` old; see rule 2.

        Raises:
            MisconfiguredError, StoreUnavailableError: See ``HubSecret.read``.
        """
        now, keys = self._clock.now_ms(), self._keys
        if keys is not None and now < self._ask_at:
            return keys
        with self._lock:
            if self._keys is None or now >= self._ask_at:
                self._keys = self._read(now)
            return self._keys

    def signing_keys(self) -> SigningKeys:
        """Return those that sign. See ``now``."""
        return self.now().signing_keys

    def _read(self, now: UnixMillis) -> HubKeys:
        try:
            keys = self._secret.read().keys
        except MisconfiguredError:
            self._keys = None
            raise
        except StoreUnavailableError:
            if self._keys is None or now - self._read_at > SECRET_STALE_S_MAX * 1000:
                raise
            self._ask_at = UnixMillis(now + SECRET_RETRY_S * 1000)
            return self._keys
        self._read_at, self._ask_at = now, UnixMillis(now + SECRET_LIFETIME_S * 1000)
        return keys


class SecretsManagerSealer:
    """See ``ports.Sealer``."""

    def __init__(self, keys: CachedKeys) -> None:
        self._keys = keys

    def seal(self, plain: bytes) -> bytes:
        """See Sealer.seal."""
        return self._sealer().seal(plain)

    def unseal(self, sealed: bytes) -> bytes:
        """See Sealer.unseal."""
        return self._sealer().unseal(sealed)

    def _sealer(self) -> AESGCMSealer:
        return AESGCMSealer(self._keys.now().sealing_key)
