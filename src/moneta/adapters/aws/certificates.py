"""X.509 certificates (RFC 5280): a root that certifies itself, and one for each key that Moneta signs with.

The root's private key is in KMS and never leaves it; it signs when a signing key is made, and at no other time.
"""

from datetime import UTC, datetime
from typing import Any, Final, NoReturn

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from typing_extensions import override

from moneta.adapters.aws.clients import call
from moneta.application.ports import PublishedKey
from moneta.domain.errors import MisconfiguredError
from moneta.domain.identifiers import UnixSeconds

ROOT_PERIOD_S: Final = 20 * 366 * 24 * 3600
ROOT_NAME: Final = "Moneta root key"
KMS_KEY_SPEC: Final = "ECC_NIST_P256"
KMS_ALGORITHM: Final = "ECDSA_SHA_256"


class KMSRootKey(ec.EllipticCurvePrivateKey):
    """A P-256 key in KMS in the form in which ``cryptography`` takes a private key: it signs, and can't be read.

    Raises:
        MisconfiguredError: It is not there, is of another kind, or may not be used.
    """

    def __init__(self, client: Any, key_id: str) -> None:  # botocore has no types
        self._client = client
        self._key_id = key_id
        self._what = f"root key {key_id}"
        found = call(client, "get_public_key", self._what, KeyId=key_id)
        public = load_der_public_key(found["PublicKey"])
        if (spec := found.get("KeySpec")) != KMS_KEY_SPEC or not isinstance(public, ec.EllipticCurvePublicKey):
            raise MisconfiguredError(f"{self._what}: expected a key of {KMS_KEY_SPEC} for SIGN_VERIFY, got {spec}")
        self._public = public

    @override
    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:  # Any: a buffer
        answer = call(
            self._client,
            "sign",
            self._what,
            KeyId=self._key_id,
            Message=bytes(data),
            MessageType="RAW",
            SigningAlgorithm=KMS_ALGORITHM,
        )
        return bytes(answer["Signature"])

    @override
    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._public

    @property
    @override
    def curve(self) -> ec.EllipticCurve:
        return self._public.curve

    @property
    @override
    def key_size(self) -> int:
        return self._public.key_size

    @override
    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> NoReturn:
        raise TypeError(f"{self._what} only signs")

    @override
    def private_numbers(self) -> NoReturn:
        raise TypeError(f"{self._what} can't be read")

    @override
    def private_bytes(self, encoding: object, format: object, encryption_algorithm: object) -> NoReturn:
        raise TypeError(f"{self._what} can't be read")

    @override
    def __copy__(self) -> "KMSRootKey":
        return self

    @override
    def __deepcopy__(self, memo: dict[Any, Any]) -> "KMSRootKey":
        return self


def certify_root(root: KMSRootKey, *, now: UnixSeconds) -> bytes:
    """Return a certificate of the root by itself, in DER."""
    public = root.public_key()
    builder = _builder(ROOT_NAME, public, not_before=now, not_after=UnixSeconds(now + ROOT_PERIOD_S))
    return _signed(
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).add_extension(
            _key_usage(is_root=True), critical=True
        ),
        root,
    )


def certify(key: PublishedKey, root: KMSRootKey, root_certificate: bytes, *, base_url: str) -> tuple[bytes, ...]:
    """Return ``key``'s certificate for its signing period and the root's, in DER; it names the hub by its URL."""
    builder = _builder(key.public.key_id, key.public.numbers, not_before=key.not_before, not_after=key.expires_at)
    own = _signed(
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(is_root=False), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(base_url)]), critical=False),
        root,
    )
    return own, root_certificate


def certified_url(certificate: bytes) -> str:
    """Return the URL of the hub that a key's certificate names."""
    names = x509.load_der_x509_certificate(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return names.value.get_values_for_type(x509.UniformResourceIdentifier)[0]


def is_certificate_of(certificate: bytes, root: KMSRootKey, *, until: UnixSeconds) -> bool:
    """Tell whether a root certificate is this root's, and is good until then."""
    found = x509.load_der_x509_certificate(certificate)
    return found.public_key() == root.public_key() and found.not_valid_after_utc >= _moment(until)


def check_chain(key: PublishedKey) -> None:
    """Return if each of the key's certificates is certified by the next, the first being the key's own.

    Raises:
        MisconfiguredError: They are not.
    """
    what = f"key {key.public.key_id}"
    try:
        chain = [x509.load_der_x509_certificate(one) for one in key.certificates]
        if not chain or chain[0].public_key() != key.public.numbers:
            raise MisconfiguredError(f"{what}: the first certificate is not the key's own")
        for own, issuer in zip(chain, [*chain[1:], chain[-1]], strict=True):
            own.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError) as error:
        raise MisconfiguredError(f"{what}: a certificate is not certified by the next, or is none") from error


def _builder(name: str, public: Any, *, not_before: UnixSeconds, not_after: UnixSeconds) -> x509.CertificateBuilder:
    """Return what both kinds have in common. ``public``: as ``cryptography`` has it, of any kind."""
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_moment(not_before))
        .not_valid_after(_moment(not_after))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _signed(builder: x509.CertificateBuilder, root: KMSRootKey) -> bytes:
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key())
    certificate = builder.issuer_name(_name(ROOT_NAME)).add_extension(authority, critical=False)
    return certificate.sign(root, hashes.SHA256()).public_bytes(Encoding.DER)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])


def _key_usage(*, is_root: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_root,
        content_commitment=not is_root,
        key_cert_sign=is_root,
        crl_sign=is_root,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _moment(at: UnixSeconds) -> datetime:
    return datetime.fromtimestamp(at, UTC)
