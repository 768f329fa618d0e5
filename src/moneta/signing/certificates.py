"""X.509 certificates in PEM, as organizations register them (RFC 5280, RFC 7468): read, and kept as their text.

What is registered certifies a key that the organization has registered, and is valid. Who signed it is for the partners
to judge, who see it: the hub trusts keys, and asks no authority.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from moneta.domain.errors import InvalidCertificateError, InvalidFieldError
from moneta.domain.identifiers import UnixSeconds
from moneta.domain.limits import CERTIFICATE_CHARS_MAX
from moneta.signing import base64url
from moneta.signing.keys import PublicKey

_PEM: Final = re.compile(
    r"-----BEGIN CERTIFICATE-----\r?\n(?:[A-Za-z0-9+/=]{1,76}\r?\n)+-----END CERTIFICATE-----(?:\r?\n)?", re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """One certificate. ``fingerprint``: base64url of the SHA-256 of its DER; ``spki``: its key in DER."""

    pem: str
    fingerprint: str
    begins_at: UnixSeconds
    ends_at: UnixSeconds
    spki: bytes


def parse_certificate(pem: object, *, field: str) -> Certificate:
    """Return the certificate that ``pem`` is, exactly one (RFC 7468, section 5).

    Raises:
        InvalidFieldError: It is none, or longer than ``CERTIFICATE_CHARS_MAX``.
    """
    fault = InvalidFieldError(f"{field}: expected one X.509 certificate in PEM", field=field)
    if not isinstance(pem, str) or len(pem) > CERTIFICATE_CHARS_MAX or _PEM.fullmatch(pem) is None:
        raise fault
    try:
        return _read(pem)
    except ValueError as error:
        raise fault from error


def _read(pem: str) -> Certificate:
    certificate = x509.load_pem_x509_certificate(pem.encode("ascii"))
    return Certificate(
        pem=pem,
        fingerprint=base64url.encode(certificate.fingerprint(hashes.SHA256())),
        begins_at=UnixSeconds(int(certificate.not_valid_before_utc.timestamp())),
        ends_at=UnixSeconds(int(certificate.not_valid_after_utc.timestamp())),
        spki=certificate.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
    )


def check_certificate(certificate: Certificate, keys: Collection[PublicKey], *, now: UnixSeconds, field: str) -> None:
    """Return if the certificate is valid now (RFC 5280, section 4.1.2.5), and certifies one of ``keys``.

    Raises:
        InvalidCertificateError: It is not yet or no longer valid, or it certifies another key.
    """
    if not certificate.begins_at <= now <= certificate.ends_at:
        raise InvalidCertificateError(
            f"{field}: expected a certificate that is valid now, got one from {certificate.begins_at} to "
            f"{certificate.ends_at} (Unix seconds)",
            field=field,
            certificate=certificate.fingerprint,
            expires_at=certificate.ends_at,
        )
    if certificate.spki not in {key.spki_der() for key in keys}:
        raise InvalidCertificateError(
            f"{field}: expected a certificate of a key that is registered and active, got one of another key",
            field=field,
            certificate=certificate.fingerprint,
        )
