"""Reading the hub's documents: over HTTP, or at the store itself with the same use cases behind the same answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

import typer

from moneta import bootstrap
from moneta.application import organizations as registry
from moneta.application import queries
from moneta.application import templates as template_registry
from moneta.application.authenticate import Caller, CallerRole
from moneta.application.dead_letters import list_dead_letters
from moneta.application.documents import Document, to_json
from moneta.application.mpasses import list_mpasses, read_mpass, read_mpass_history
from moneta.application.pending_changes import list_changes, read_change
from moneta.application.ports import Hub
from moneta.domain.identifiers import MONETA, ContractId, EventId, KeyId, MPassId, OrganizationId
from moneta.domain.organizations import OrganizationKind
from moneta.entrypoints.cli.options import TOKEN_VARIABLE
from moneta.settings import Settings

AT_THE_STORE: Final = Caller(caller_id=MONETA, role=CallerRole.AUDITOR, key_id=KeyId(""), token_id="")
"""Who reads the store itself."""

Filters = Mapping[str, str | int | None]
Parameters = Mapping[str, str]
Query = Callable[[Hub, Parameters], Document]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where to read: at a store, or at a hub's URL with a token."""

    data_dir: Path | None = None
    url: str = ""
    token: str = ""


def place(data_dir: Path | None, url: str | None, token: str | None) -> Place:
    """Return where the options say to read."""
    if (data_dir is None) == (url is None):
        raise typer.BadParameter("give --data DIR, or --url URL with a token")
    if url is not None and not token:
        raise typer.BadParameter(f"--url needs a token: --token, or {TOKEN_VARIABLE} in the environment")
    return Place(data_dir=data_dir, url=url or "", token=token or "")


def contracts(where: Place, filters: Filters) -> bytes:
    """Return what ``GET /contracts`` answers."""
    return _read(where, "/contracts", filters, lambda hub, given: queries.list_contracts(hub, AT_THE_STORE, given))


def contract(where: Place, contract_id: str) -> bytes:
    """Return what ``GET /contracts/{id}`` answers."""
    path = f"/contracts/{quote(contract_id, safe='')}"
    return _read(where, path, {}, lambda hub, _: queries.read_contract(hub, AT_THE_STORE, ContractId(contract_id)))


def event(where: Place, event_id: str, filters: Filters) -> bytes:
    """Return what ``GET /events/{id}`` answers."""
    path = f"/events/{quote(event_id, safe='')}"
    return _read(
        where, path, filters, lambda hub, given: queries.read_event(hub, AT_THE_STORE, EventId(event_id), given)
    )


def deliveries(where: Place, filters: Filters) -> bytes:
    """Return what ``GET /deliveries`` answers."""
    return _read(where, "/deliveries", filters, lambda hub, given: queries.list_deliveries(hub, AT_THE_STORE, given))


def dead_letters(where: Place, filters: Filters) -> bytes:
    """Return what ``GET /dlq`` answers."""
    return _read(where, "/dlq", filters, lambda hub, given: list_dead_letters(hub, AT_THE_STORE, given))


def templates(where: Place, filters: Filters) -> bytes:
    """Return what ``GET /templates`` answers."""
    return _read(
        where, "/templates", filters, lambda hub, given: template_registry.list_templates(hub, AT_THE_STORE, given)
    )


def changes(where: Place, filters: Filters) -> bytes:
    """Return what ``GET /changes`` answers."""
    return _read(where, "/changes", filters, lambda hub, given: list_changes(hub, AT_THE_STORE, given))


def change(where: Place, change_id: str) -> bytes:
    """Return what ``GET /changes/{id}`` answers."""
    path = f"/changes/{quote(change_id, safe='')}"
    return _read(where, path, {}, lambda hub, _: read_change(hub, AT_THE_STORE, change_id))


def organizations(where: Place, kind: str, filters: Filters) -> bytes:
    """Return what ``GET /organizations/{kind}`` answers."""
    of_kind = OrganizationKind(kind)
    return _read(
        where,
        f"/organizations/{of_kind}",
        filters,
        lambda hub, given: registry.list_organizations(hub, AT_THE_STORE, of_kind, given),
    )


def organization(where: Place, kind: str, organization_id: str) -> bytes:
    """Return what ``GET /organizations/{kind}/{id}`` answers."""
    of_kind, named = OrganizationKind(kind), OrganizationId(organization_id)
    path = f"/organizations/{of_kind}/{quote(organization_id, safe='')}"
    return _read(where, path, {}, lambda hub, _: registry.read_organization(hub, AT_THE_STORE, of_kind, named))


def mpasses(where: Place, filters: Filters) -> bytes:
    """Return what ``GET /mpass`` answers."""
    return _read(where, "/mpass", filters, lambda hub, given: list_mpasses(hub, AT_THE_STORE, given))


def mpass(where: Place, mpass_id: str, filters: Filters) -> bytes:
    """Return what ``GET /mpass/{id}`` answers."""
    path = f"/mpass/{quote(mpass_id, safe='')}"
    return _read(where, path, filters, lambda hub, given: read_mpass(hub, AT_THE_STORE, MPassId(mpass_id), given))


def mpass_history(where: Place, mpass_id: str) -> bytes:
    """Return what ``GET /mpass/{id}/history`` answers."""
    path = f"/mpass/{quote(mpass_id, safe='')}/history"
    return _read(where, path, {}, lambda hub, _: read_mpass_history(hub, AT_THE_STORE, MPassId(mpass_id)))


def template(where: Place, name: str, version: int | None) -> bytes:
    """Return what ``GET /templates/{name}`` answers, or that of one version."""
    path = f"/templates/{quote(name, safe='')}" + ("" if version is None else f"/{version}")
    return _read(where, path, {}, lambda hub, _: template_registry.read_template(hub, AT_THE_STORE, name, version))


def _read(where: Place, path: str, filters: Filters, query: Query) -> bytes:
    given = {name: str(value) for name, value in filters.items() if value is not None}
    if where.data_dir is None:
        return call(where, "GET", f"{path}?{urlencode(given)}" if given else path)
    with bootstrap.embedded(Settings(data_dir=where.data_dir)) as hub:
        return to_json(query(hub, given).body)


def call(
    where: Place,
    method: str,
    path: str,
    *,
    body: bytes | None = None,
    content_type: str = "",
    idempotency_key: str = "",
) -> bytes:
    """Return the body of the hub's answer. A lost answer is asked for again, so what makes something needs a key.

    Raises:
        ClientError: The hub's no, or no answer.
    """
    from moneta.client.caller import Caller as HubCaller  # noqa: PLC0415  # reading a store needs no HTTP

    named = {"Content-Type": content_type, "Idempotency-Key": idempotency_key}
    headers = {name: value for name, value in named.items() if value}
    caller = HubCaller(where.url, lambda: where.token)
    return caller.call(method, path, body=body, headers=headers, is_repeatable=True).body
