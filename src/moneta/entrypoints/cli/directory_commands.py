"""The commands about organizations and mPasses: ``orgs`` and ``mpasses``.

Reading is as in ``reading_commands``. Changing is done over HTTP with a token, or with ``--data`` at the store itself,
with the key of an identity that is there.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from moneta.entrypoints.cli.options import (
    ActingAs,
    ActingAt,
    AsFormat,
    AsJson,
    Cursor,
    Limit,
    StoreDir,
    Token,
    Url,
    examples,
)

AT = "--url http://127.0.0.1:8080"


class Kind(StrEnum):
    """The kinds of organization."""

    MO = "mo"
    PUBLISHER = "publisher"


KindOf = Annotated[Kind, typer.Argument(metavar="mo|publisher", help="The kind.", show_default=False)]
OrganizationId = Annotated[str, typer.Argument(metavar="ORG_ID", help="The organization.", show_default=False)]
MPassId = Annotated[str, typer.Argument(metavar="MPASS_ID", help="The mPass.", show_default=False)]
Why = Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="For a person, at most 500 characters.")]
Status = Annotated[str | None, typer.Option(metavar="STATUS", help="Only with this status.")]
JSONFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="What `moneta registration` prints.", show_default=False)
]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    orgs = typer.Typer(help="Organizations: membership organizations and publishers.", no_args_is_help=True)
    orgs.command(
        "list",
        epilog=examples(
            "moneta orgs list mo --data hub", "moneta orgs list publisher --data hub --format csv > orgs.csv"
        ),
    )(list_organizations)
    orgs.command("show", epilog=examples("moneta orgs show mo ORG_ID --data hub"))(show_organization)
    orgs.command("keys", epilog=examples("moneta orgs keys mo ORG_ID --data hub"))(show_keys)
    orgs.command(
        "certificates",
        epilog=examples(
            "moneta orgs certificates mo ORG_ID --data hub",
            f"moneta orgs certificates mo ORG_ID {AT} --set new.pem --set old.pem",
        ),
    )(certificates)
    orgs.command("create", epilog=examples(f"moneta orgs create mo mo.json {AT}"))(create_organization)
    orgs.command(
        "onboard",
        epilog=examples(
            f"moneta orgs onboard {AT}",
            "moneta orgs onboard --data hub --kind mo --registration mo.json --secret-out mo.secret --activate --yes",
        ),
    )(onboard)
    orgs.command(
        "status",
        epilog=examples(
            "moneta orgs status mo ORG_ID Active --data hub",
            f"moneta orgs status publisher ORG_ID Suspended {AT} --reason 'asked by phone'",
        ),
    )(change_organization_status)
    orgs.command("webhook-secret", epilog=examples(f"moneta orgs webhook-secret mo ORG_ID {AT} --overlap 3600"))(
        new_webhook_secret
    )
    mpasses = typer.Typer(help="mPasses: membership passes.", no_args_is_help=True)
    mpasses.command(
        "list",
        epilog=examples("moneta mpasses list --data hub --status Active", f"moneta mpasses list {AT} --format jsonl"),
    )(list_mpasses)
    mpasses.command(
        "show",
        epilog=examples(
            "moneta mpasses show MPASS_ID --data hub", "moneta mpasses show MPASS_ID --data hub --at 1640995260"
        ),
    )(show_mpass)
    mpasses.command("history", epilog=examples("moneta mpasses history MPASS_ID --data hub"))(show_mpass_history)
    mpasses.command(
        "issue", epilog=examples(f"moneta mpasses issue --mo-id ORG_ID --member-ref m-4711 --tier gold {AT}")
    )(issue_mpass)
    mpasses.command(
        "status",
        epilog=examples(
            f"moneta mpasses status MPASS_ID Active {AT}",
            f"moneta mpasses status MPASS_ID Locked {AT} --on-behalf-of user",
        ),
    )(change_mpass_status)
    app.add_typer(orgs, name="orgs")
    app.add_typer(mpasses, name="mpasses")


def list_organizations(
    kind: KindOf,
    *,
    data: StoreDir = None,
    url: Url = None,
    token: Token = None,
    mic: Annotated[str | None, typer.Option(metavar="CODE", help="Only the MO with this code.")] = None,
    mpc: Annotated[str | None, typer.Option(metavar="CODE", help="Only the publisher with this code.")] = None,
    status: Status = None,
    limit: Limit = None,
    cursor: Cursor = None,
    as_json: AsJson = False,
    as_format: AsFormat = None,
) -> None:
    """List organizations of a kind, the newest first."""
    from moneta.entrypoints.cli import exporting, reading, tables  # noqa: PLC0415  # see the package's docstring

    where = reading.place(data, url, token)
    filters = {"mic": mic, "mpc": mpc, "status": status, "limit": limit, "cursor": cursor}
    exporting.show(
        lambda given: reading.organizations(where, kind, given),
        filters,
        tables.ORGANIZATIONS[kind],
        as_json=as_json,
        as_format=as_format,
    )


def show_organization(
    kind: KindOf,
    organization_id: OrganizationId,
    *,
    data: StoreDir = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show an organization."""
    from moneta.entrypoints.cli import reading, tables  # noqa: PLC0415  # see the package's docstring

    document = reading.organization(reading.place(data, url, token), kind, organization_id)
    tables.show_one(document, as_json=as_json, without=("keys", "certificates"))


def show_keys(
    kind: KindOf,
    organization_id: OrganizationId,
    *,
    data: StoreDir = None,
    url: Url = None,
    token: Token = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False,
) -> None:
    """List the keys of an organization, with how they stand."""
    from moneta.entrypoints.cli import directory, reading, tables  # noqa: PLC0415  # see the package's docstring

    document = reading.organization(reading.place(data, url, token), kind, organization_id)
    tables.show(directory.key_rows(document), tables.KEYS, as_json=as_json)


def certificates(
    kind: KindOf,
    organization_id: OrganizationId,
    *,
    data: ActingAt = None,
    identity: ActingAs = "operator",
    url: Url = None,
    token: Token = None,
    pem: Annotated[
        list[Path] | None, typer.Option("--set", metavar="FILE", help="Replace all by these, in PEM. May be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False,
) -> None:
    """List an organization's certificates with their validity, or replace them."""
    from moneta.entrypoints.cli import directory, reading, tables  # noqa: PLC0415  # see the package's docstring

    where = reading.place(data, url, token)
    if pem:
        members = {"certificates": [file.read_text(encoding="ascii") for file in pem]}
        document = directory.update(where, kind, organization_id, members, identity)
    else:
        document = reading.organization(where, kind, organization_id)
    tables.show(directory.certificate_rows(document), tables.CERTIFICATES, as_json=as_json)


def create_organization(
    kind: KindOf,
    file: JSONFile,
    *,
    data: ActingAt = None,
    identity: ActingAs = "operator",
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Register an organization, Pending. Its webhook secret is shown this once."""
    from moneta.entrypoints.cli import directory, reading, tables  # noqa: PLC0415  # see the package's docstring

    where = reading.place(data, url, token)
    members = directory.object_in(file) or {}
    document = directory.create(where, kind, members, identity)
    tables.show_one(document, as_json=as_json, without=("keys", "certificates"))


def onboard(
    *,
    data: ActingAt = None,
    identity: ActingAs = "operator",
    url: Url = None,
    token: Token = None,
    kind: Annotated[
        Kind | None, typer.Option(metavar="mo|publisher", help="What it is; asked for if not given.")
    ] = None,
    registration: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What its `moneta registration` printed; asked for if not given."),
    ] = None,
    secret_out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep its webhook secret in this new file of mode 0600.")
    ] = None,
    activates: Annotated[
        bool | None, typer.Option("--activate/--no-activate", help="Activate it too; asked for if not given.")
    ] = None,
    is_agreed: Annotated[bool, typer.Option("--yes", help="Don't ask whether to go on.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take an organization in: asks for what is not given, checks as it goes, shows the plan, and then does it.

    Questions, checks and the plan stand on standard error; the organization, and its secret if no file keeps it, on
    standard output.
    """
    from moneta.entrypoints.cli import onboarding, reading, tables  # noqa: PLC0415  # see the package's docstring

    where = reading.place(data, url, token)
    candidate = onboarding.candidate(where, kind, registration)
    for line in onboarding.checks(candidate):
        typer.echo(f"ok  {line}", err=True)
    activates = onboarding.agrees("Activate it too?") if activates is None else activates
    for number, step in enumerate(onboarding.plan(candidate, activates=activates), start=1):
        typer.echo(f"{number}. {step}", err=True)
    if not is_agreed and not onboarding.agrees("Go on?"):
        raise typer.Exit(1)
    document = onboarding.take_in(candidate, identity, secret_out, activates=activates)
    tables.show_one(document, as_json=as_json, without=("keys", "certificates"))


def change_organization_status(
    kind: KindOf,
    organization_id: OrganizationId,
    to: Annotated[str, typer.Argument(metavar="STATUS", help="Active, Suspended or Destroyed.", show_default=False)],
    *,
    data: ActingAt = None,
    identity: ActingAs = "operator",
    url: Url = None,
    token: Token = None,
    reason: Why = None,
    as_json: AsJson = False,
) -> None:
    """Activate, suspend or destroy an organization; with two checkers it then waits for `moneta changes approve`."""
    from moneta.entrypoints.cli import directory, reading, tables  # noqa: PLC0415  # see the package's docstring

    where = reading.place(data, url, token)
    members = directory.given(status=to, reason=reason)
    document = directory.change_status(where, kind, organization_id, members, identity)
    tables.show_one(document, as_json=as_json, without=("keys", "certificates"))


def new_webhook_secret(
    kind: KindOf,
    organization_id: OrganizationId,
    *,
    data: ActingAt = None,
    identity: ActingAs = "operator",
    url: Url = None,
    token: Token = None,
    overlap: Annotated[
        int, typer.Option(min=0, max=86_400, metavar="SECONDS", help="How long the old one signs too.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Make a new webhook secret, shown this once. If the answer is lost, so is the secret: make another."""
    from moneta.entrypoints.cli import directory, reading, tables  # noqa: PLC0415  # see the package's docstring

    where = reading.place(data, url, token)
    document = directory.new_webhook_secret(where, kind, organization_id, {"overlap_s": overlap}, identity)
    tables.show_one(document, as_json=as_json)


def list_mpasses(
    *,
    data: StoreDir = None,
    url: Url = None,
    token: Token = None,
    mo_id: Annotated[str | None, typer.Option("--mo-id", "--mo_id", metavar="ID", help="Only of this MO.")] = None,
    status: Status = None,
    limit: Limit = None,
    cursor: Cursor = None,
    as_json: AsJson = False,
    as_format: AsFormat = None,
) -> None:
    """List mPasses, the newest first."""
    from moneta.entrypoints.cli import exporting, reading, tables  # noqa: PLC0415  # see the package's docstring

    where = reading.place(data, url, token)
    filters = {"mo_id": mo_id, "status": status, "limit": limit, "cursor": cursor}
    exporting.show(
        lambda given: reading.mpasses(where, given), filters, tables.MPASSES, as_json=as_json, as_format=as_format
    )


def show_mpass(
    mpass_id: MPassId,
    *,
    data: StoreDir = None,
    url: Url = None,
    token: Token = None,
    at: Annotated[int | None, typer.Option(metavar="SECONDS", help="As it was at the end of this Unix second.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show an mPass with its status and locks."""
    from moneta.entrypoints.cli import reading, tables  # noqa: PLC0415  # see the package's docstring

    tables.show_one(reading.mpass(reading.place(data, url, token), mpass_id, {"at": at}), as_json=as_json)


def show_mpass_history(
    mpass_id: MPassId, *, data: StoreDir = None, url: Url = None, token: Token = None, as_json: AsJson = False
) -> None:
    """Tell what became of an mPass: each change with the status it led to, and what caused it."""
    from moneta.entrypoints.cli import reading, tables  # noqa: PLC0415  # see the package's docstring

    tables.show_one(reading.mpass_history(reading.place(data, url, token), mpass_id), as_json=as_json)


def issue_mpass(
    *,
    url: Url = None,
    token: Token = None,
    mo_id: Annotated[str, typer.Option("--mo-id", "--mo_id", metavar="ID", help="Who issues it.", show_default=False)],
    member_ref: Annotated[
        str,
        typer.Option("--member-ref", metavar="TEXT", help="The MO's pseudonym, no personal data.", show_default=False),
    ],
    tier: Annotated[str | None, typer.Option(metavar="TEXT", help="Its tier.")] = None,
    expires_at: Annotated[
        int | None, typer.Option("--expires-at", metavar="SECONDS", help="When it expires; Unix time.")
    ] = None,
    policy: Annotated[Path | None, typer.Option(metavar="FILE", help="Its policy, as JSON.")] = None,
    holder_jwk: Annotated[
        Path | None, typer.Option("--holder-jwk", metavar="FILE", help="The holder's public key, a JWK.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Issue an mPass, Pending, with a token of the MO."""
    from moneta.entrypoints.cli import directory, reading, tables  # noqa: PLC0415  # see the package's docstring

    members = directory.given(
        mo_id=mo_id,
        member_ref=member_ref,
        tier=tier,
        expires_at=expires_at,
        policy=directory.object_in(policy),
        holder_jwk=directory.object_in(holder_jwk),
    )
    tables.show_one(directory.issue_mpass(reading.place(None, url, token), members), as_json=as_json)


def change_mpass_status(
    mpass_id: MPassId,
    to: Annotated[str, typer.Argument(metavar="STATUS", help="Active, Locked or Revoked.", show_default=False)],
    *,
    data: ActingAt = None,
    identity: ActingAs = "operator",
    url: Url = None,
    token: Token = None,
    reason: Why = None,
    on_behalf_of: Annotated[
        str | None, typer.Option("--on-behalf-of", metavar="user", help="The lock is the user's; for an MO.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Activate, lock or revoke an mPass; `Active` lifts one's own lock, and another's stays."""
    from moneta.entrypoints.cli import directory, reading, tables  # noqa: PLC0415  # see the package's docstring

    members = directory.given(status=to, reason=reason, on_behalf_of=on_behalf_of)
    where = reading.place(data, url, token)
    tables.show_one(directory.change_mpass_status(where, mpass_id, members, identity), as_json=as_json)
