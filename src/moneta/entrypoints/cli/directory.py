"""What the commands about organizations and mPasses do."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec
from cryptography import x509

from moneta.application import mpasses, organizations
from moneta.application.webhook_secrets import rotate_webhook_secret
from moneta.domain.identifiers import MPassId, OrganizationId
from moneta.domain.ijson import Value, parse_object
from moneta.domain.limits import MANAGEMENT_BYTES_MAX
from moneta.domain.organizations import OrganizationKind
from moneta.entrypoints.cli.changing import change, send
from moneta.entrypoints.cli.failures import CommandError
from moneta.entrypoints.cli.reading import Place

Members = Mapping[str, Value]

CODE_MEMBERS: Final = {OrganizationKind.MO: "mic", OrganizationKind.PUBLISHER: "mpc"}


def create(where: Place, kind: str, members: Members, identity_id: str) -> bytes:
    """Register an organization, and return the hub's document of it, with its webhook secret this once."""
    return change(
        where,
        "POST",
        f"/organizations/{kind}",
        members,
        identity_id,
        lambda hub, caller: organizations.create_organization(hub, caller, OrganizationKind(kind), members),
    )


def update(where: Place, kind: str, organization_id: str, members: Members, identity_id: str) -> bytes:
    """Replace the members given, and return the hub's document."""
    return change(
        where,
        "PUT",
        _organization_path(kind, organization_id),
        members,
        identity_id,
        lambda hub, caller: organizations.update_organization(
            hub, caller, OrganizationKind(kind), OrganizationId(organization_id), members
        ),
    )


def change_status(where: Place, kind: str, organization_id: str, members: Members, identity_id: str) -> bytes:
    """Ask for a status, and return the organization, or what waits for a second operator."""
    return change(
        where,
        "PUT",
        f"{_organization_path(kind, organization_id)}/status",
        members,
        identity_id,
        lambda hub, caller: organizations.change_organization_status(
            hub, caller, OrganizationKind(kind), OrganizationId(organization_id), members
        ),
    )


def new_webhook_secret(where: Place, kind: str, organization_id: str, members: Members, identity_id: str) -> bytes:
    """Make a new webhook secret, and return the hub's document with it, this once."""
    return change(
        where,
        "POST",
        f"{_organization_path(kind, organization_id)}/webhook-secret",
        members,
        identity_id,
        lambda hub, caller: rotate_webhook_secret(
            hub, caller, OrganizationKind(kind), OrganizationId(organization_id), members
        ),
    )


def issue_mpass(where: Place, members: Members) -> bytes:
    """Issue an mPass, and return the hub's document of it."""
    return send(where, "POST", "/mpass", members)


def change_mpass_status(where: Place, mpass_id: str, members: Members, identity_id: str) -> bytes:
    """Ask for a status of an mPass, and return what it is now."""
    return change(
        where,
        "PUT",
        f"/mpass/{quote(mpass_id, safe='')}/status",
        members,
        identity_id,
        lambda hub, caller: mpasses.change_mpass_status(hub, caller, MPassId(mpass_id), members),
    )


def given(**members: object) -> dict[str, Any]:
    """Return the members that were given: a call tells a missing one from a null one."""
    return {name: value for name, value in members.items() if value is not None}


def object_in(file: Path | None) -> Members | None:
    """Return the JSON object in a file; None for no file."""
    if file is None:
        return None
    with file.open("rb") as opened:
        raw = opened.read(MANAGEMENT_BYTES_MAX + 1)
    if len(raw) > MANAGEMENT_BYTES_MAX:
        raise CommandError(f"{file}: more than {MANAGEMENT_BYTES_MAX} bytes")
    return parse_object(raw, what=str(file))


def key_rows(document: bytes) -> bytes:
    """Return an organization's keys as a page of a list."""
    keys = [{**key, "alg": key["jwk"].get("alg")} for key in msgspec.json.decode(document)["keys"]]
    return msgspec.json.encode({"items": keys, "next_cursor": None})


def certificate_rows(document: bytes) -> bytes:
    """Return an organization's certificates, read, as a page of a list."""
    rows = list(_certificate_rows(msgspec.json.decode(document)["certificates"]))
    return msgspec.json.encode({"items": rows, "next_cursor": None})


def _certificate_rows(certificates: Sequence[Any]) -> Iterator[dict[str, object]]:
    for shown in certificates:
        pem = shown["pem"] if isinstance(shown, dict) else shown
        certificate = x509.load_pem_x509_certificate(pem.encode())
        yield {
            "subject": certificate.subject.rfc4514_string(),
            "issuer": certificate.issuer.rfc4514_string(),
            "valid_from_at": int(certificate.not_valid_before_utc.timestamp()),
            "valid_until_at": int(certificate.not_valid_after_utc.timestamp()),
            "serial": f"{certificate.serial_number:x}",
        }


def _organization_path(kind: str, organization_id: str) -> str:
    return f"/organizations/{kind}/{quote(organization_id, safe='')}"
