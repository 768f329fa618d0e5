"""Certificates: one X.509 in PEM, or refused."""

import pytest

from moneta.domain.errors import InvalidFieldError
from moneta.domain.limits import CERTIFICATE_CHARS_MAX
from moneta.signing.certificates import check_certificate
from tests.certificates import CERTIFICATE

BODY = CERTIFICATE.splitlines()[1]


@pytest.mark.parametrize("pem", [CERTIFICATE, CERTIFICATE.rstrip("\n"), CERTIFICATE.replace("\n", "\r\n")])
def test_one_certificate_is_kept_as_it_is_written(pem):
    assert check_certificate(pem, field="certificates") == pem


@pytest.mark.parametrize(
    "pem",
    [
        None,
        7,
        "",
        "ACME root",
        CERTIFICATE + CERTIFICATE,
        f"subject=ACME\n{CERTIFICATE}",
        CERTIFICATE.replace("CERTIFICATE", "PUBLIC KEY"),
        CERTIFICATE.replace("CERTIFICATE", "PRIVATE KEY"),
        CERTIFICATE.replace(BODY, BODY[:-4]),
        CERTIFICATE.replace(BODY, BODY[:-1] + "="),
        CERTIFICATE.replace(BODY, "A" * len(BODY)),
        CERTIFICATE.replace(BODY, BODY + "\n" + "A" * 65 * CERTIFICATE_CHARS_MAX),
    ],
)
def test_anything_else_is_refused_by_its_field(pem):
    with pytest.raises(InvalidFieldError) as refused:
        check_certificate(pem, field="certificates")
    assert refused.value.facts["field"] == "certificates"
