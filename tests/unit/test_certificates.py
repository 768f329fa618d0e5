"""Certificates: one X.509 in PEM, valid now and of a registered key, or refused."""

import pytest

from moneta.domain.errors import InvalidCertificateError, InvalidFieldError
from moneta.domain.limits import CERTIFICATE_CHARS_MAX
from moneta.signing.certificates import check_certificate, parse_certificate
from tests.certificates import CERTIFICATE, make_certificate
from tests.signing_examples import ALGORITHMS, NOW, key_of

BODY = CERTIFICATE.splitlines()[1]


@pytest.mark.parametrize("pem", [CERTIFICATE, CERTIFICATE.rstrip("\n"), CERTIFICATE.replace("\n", "\r\n")])
def test_one_certificate_is_kept_as_it_is_written(pem):
    assert parse_certificate(pem, field="certificates").pem == pem


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
        parse_certificate(pem, field="certificates")
    assert refused.value.facts["field"] == "certificates"


def certificate_of(key, **when):
    return parse_certificate(make_certificate(key=key.numbers, **when), field="certificates")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_certificate_of_a_registered_key_passes_whatever_the_key(algorithm):
    key = key_of(algorithm, "certified")
    certificate = certificate_of(key, begins_at=NOW - 5, ends_at=NOW + 5)
    assert (certificate.begins_at, certificate.ends_at) == (NOW - 5, NOW + 5)
    for moment in (NOW - 5, NOW, NOW + 5):
        check_certificate(certificate, [key_of("ES256", "other").public, key.public], now=moment, field="certificates")


@pytest.mark.parametrize("moment", [NOW - 6, NOW + 6])
def test_a_certificate_that_is_not_valid_now_is_refused(moment):
    key = key_of("ES256", "certified")
    certificate = certificate_of(key, begins_at=NOW - 5, ends_at=NOW + 5)
    with pytest.raises(InvalidCertificateError) as refused:
        check_certificate(certificate, [key.public], now=moment, field="certificates")
    assert refused.value.facts == {
        "field": "certificates",
        "certificate": certificate.fingerprint,
        "expires_at": NOW + 5,
    }


@pytest.mark.parametrize("keys", [[], [key_of("ES256", "other").public]])
def test_a_certificate_of_another_key_is_refused(keys):
    certificate = certificate_of(key_of("ES256", "certified"))
    with pytest.raises(InvalidCertificateError):
        check_certificate(certificate, keys, now=NOW, field="certificates")
