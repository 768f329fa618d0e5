"""X.509 certificates in PEM, as organizations register them: parsed, so that what is kept is one, and kept as text."""

import re
from typing import Final

from cryptography import x509

from moneta.domain.errors import InvalidFieldError
from moneta.domain.limits import CERTIFICATE_CHARS_MAX

_PEM: Final = re.compile(
    r"-----BEGIN CERTIFICATE-----\r?\n(?:[A-Za-z0-9+/=]{1,76}\r?\n)+-----END CERTIFICATE-----(?:\r?\n)?", re.ASCII
)


def check_certificate(pem: object, *, field: str) -> str:
    """Return ``pem`` if it is exactly one certificate in PEM (RFC 7468, section 5).

    Raises:
        InvalidFieldError: It is not, or it is longer than ``CERTIFICATE_CHARS_MAX``.
    """
    fault = InvalidFieldError(f"{field}: expected one X.509 certificate in PEM", field=field)
    if not isinstance(pem, str) or len(pem) > CERTIFICATE_CHARS_MAX or _PEM.fullmatch(pem) is None:
        raise fault
    try:
        x509.load_pem_x509_certificate(pem.encode("ascii"))
    except ValueError as error:
        raise fault from error
    return pem
