"""A certificate in PEM, made once a process."""

import datetime as dt

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID


def make_certificate(
    common_name: str = "acme.example", *, ends_at: int | None = None, begins_at: int | None = None, key=None
) -> str:
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    begin = dt.datetime.fromtimestamp(begins_at or 1_767_225_600, dt.UTC)  # 2026 began so
    end = begin + dt.timedelta(days=365) if ends_at is None else dt.datetime.fromtimestamp(ends_at, dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(end)
        .sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


CERTIFICATE = make_certificate()
