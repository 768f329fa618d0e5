"""The commands of whoever runs the hub: ``init``, ``up``, ``demo``, ``token``, ``identity``, ``rotate-key``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from moneta.domain.limits import CHECKERS_MAX
from moneta.entrypoints.cli.options import (
    Checkers,
    DataDir,
    Endpoint,
    KeepAnswers,
    KeepDead,
    KeepDeliveries,
    KeepEvents,
    OTLPEndpoint,
    TablePrefix,
    TraceRatio,
    checked_base_url,
    examples,
    keep_days,
)
from moneta.settings import (
    HOST_DEFAULT,
    PORT_DEFAULT,
    RATE_BURST_DEFAULT,
    RATE_LIMIT_DEFAULT,
    AwsSettings,
    Settings,
    StoreKind,
)

OPERATOR = "operator"


class IdentityRoleName(StrEnum):
    """The roles that a configured identity can have."""

    OPERATOR = "operator"
    CHECKER = "checker"
    AUDITOR = "auditor"


class LogLevel(StrEnum):
    """How much the log says."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    identity = typer.Typer(help="The hub's own people: operators, checkers, auditors.", no_args_is_help=True)
    identity.command("add", epilog=examples("moneta identity add --data hub --role auditor --id anna"))(add_identity)
    app.command("init", epilog=examples("moneta init --data hub", "moneta init --data hub --checkers 2"))(init)
    app.command(
        "up",
        epilog=examples(
            "moneta up --data hub",
            "moneta up --data hub --port 9000 --allow-http-webhooks --allow-private-webhooks",
            "moneta up --data hub --host 0.0.0.0 --port 443 --base-url https://hub.example "
            "--tls-cert cert.pem --tls-key key.pem",
            "moneta up --data local --store aws --endpoint http://127.0.0.1:4566 --table-prefix moneta-local-",
        ),
    )(up)
    app.command("demo", epilog=examples("moneta demo", "moneta demo --keep demo"))(demo)
    app.command(
        "token",
        epilog=examples(
            "moneta token --data hub",
            "export MONETA_TOKEN=$(moneta token --data hub --as anna)",
            "moneta token --key auth.pem --as ORG_ID --url http://127.0.0.1:8080",
        ),
    )(token)
    app.add_typer(identity, name="identity")
    app.command(
        "rotate-key", epilog=examples("moneta rotate-key --data hub", "moneta rotate-key --data hub --compromised")
    )(rotate_key)


def init(
    data: DataDir,
    base_url: Annotated[
        str,
        typer.Option(
            "--base-url", metavar="URL", callback=checked_base_url, help="Recorded until `moneta up` records its own."
        ),
    ] = f"http://{HOST_DEFAULT}:{PORT_DEFAULT}",
    checkers: Checkers = 1,
) -> None:
    """Make a new hub: its store, Moneta's key, an operator with a key, and the built-in templates."""
    from moneta.entrypoints.cli import hub  # noqa: PLC0415  # see the package's docstring

    hub_key = hub.initialize(data, base_url=base_url, operator=OPERATOR, checkers=checkers)
    typer.echo(f"hub key {hub_key}")
    if checkers > 1:
        typer.echo(f"the second of two: moneta identity add --data {data} --role checker", err=True)
    typer.echo(f"made {data}. Next: moneta up --data {data}", err=True)


def up(
    data: DataDir,
    *,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="The address to listen on.")] = HOST_DEFAULT,
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="The port; 0 takes a free one.")
    ] = PORT_DEFAULT,
    base_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            callback=checked_base_url,
            help="What clients call the hub; http://HOST:PORT if not given. Recorded.",
        ),
    ] = None,
    allow_http_webhooks: Annotated[
        bool, typer.Option("--allow-http-webhooks", help="For tests: send webhooks over plain http too.")
    ] = False,
    allow_private_webhooks: Annotated[
        bool, typer.Option("--allow-private-webhooks", help="For tests: send webhooks to this machine and network.")
    ] = False,
    tls_cert: Annotated[Path | None, typer.Option(metavar="FILE", help="A certificate chain, to serve TLS.")] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its private key.")] = None,
    log_level: Annotated[
        LogLevel, typer.Option(metavar="|".join(LogLevel), help="How much the log on standard error says.")
    ] = LogLevel.INFO,
    rate_limit: Annotated[
        int, typer.Option(min=0, metavar="N", help="Requests a second of each organization; 0 for any number.")
    ] = RATE_LIMIT_DEFAULT,
    rate_burst: Annotated[
        int, typer.Option(min=1, metavar="N", help="Requests that an organization may send at once.")
    ] = RATE_BURST_DEFAULT,
    otlp_endpoint: OTLPEndpoint = None,
    trace_ratio: TraceRatio = 1.0,
    keep_deliveries: KeepDeliveries = None,
    keep_dead: KeepDead = None,
    keep_events: KeepEvents = None,
    keep_answers: KeepAnswers = None,
    store: Annotated[
        StoreKind, typer.Option(metavar="|".join(StoreKind), help="Where the hub keeps what it knows.")
    ] = StoreKind.EMBEDDED,
    endpoint: Endpoint = None,
    table_prefix: TablePrefix = None,
    checkers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=CHECKERS_MAX,
            metavar="N",
            envvar="MONETA_CHECKERS",
            help="With --store aws: how many of the hub's own people a change of status or contract key takes; 1 if "
            "not given. An embedded store has what `moneta init` was told.",
        ),
    ] = None,
    require_endpoint_check: Annotated[
        bool,
        typer.Option(
            "--require-endpoint-check",
            help="Let an organization be activated only once its endpoint has answered a signed check.",
        ),
    ] = False,
) -> None:
    """Serve the hub, until SIGTERM or Ctrl-C. Prints one line, `ready <base URL>`, when it takes requests."""
    from moneta.entrypoints.supervisor import supervise  # noqa: PLC0415  # see the package's docstring

    if (tls_cert is None) != (tls_key is None):
        raise typer.BadParameter("--tls-cert and --tls-key go together")
    if store is StoreKind.AWS:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)  # for locks and heartbeats
    settings = Settings(
        data_dir=data.absolute(),
        host=host,
        port=port,
        base_url=base_url,
        allow_http_webhooks=allow_http_webhooks,
        allow_private_webhooks=allow_private_webhooks,
        tls_cert=None if tls_cert is None else tls_cert.absolute(),
        tls_key=None if tls_key is None else tls_key.absolute(),
        log_level=log_level,
        rate_limit=rate_limit,
        rate_burst=rate_burst,
        otlp_endpoint=otlp_endpoint,
        trace_ratio=trace_ratio,
        store=store,
        aws=_aws_settings(endpoint, table_prefix) if store is StoreKind.AWS else None,
        checkers=checkers or 1,
        require_endpoint_check=require_endpoint_check,
    ).with_days(keep_days(deliveries=keep_deliveries, dead=keep_dead, events=keep_events, answers=keep_answers))
    _ = settings.retention  # said here, and not by the process that would die of it
    for path in (settings.tls_cert, settings.tls_key):
        if path is not None:
            path.open("rb").close()  # said here, by name, and not by the web process that would die of it
    raise typer.Exit(supervise(settings, on_ready=lambda url: typer.echo(f"ready {url}")))


def _aws_settings(endpoint: str | None, table_prefix: str | None) -> AwsSettings:
    from moneta.bootstrap import deployment  # noqa: PLC0415  # see the package's docstring

    found = deployment.find(endpoint_url=endpoint, table_prefix=table_prefix)
    deployment.check(found)  # said here, by name, and not by the process that would die of it
    return found


def demo(
    keep: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep the hub's data, the keys and the log in this new directory."),
    ] = None,
) -> None:
    """Play 200 contracts between two parties and a hub, all in processes of their own, and verify every one."""
    from moneta.entrypoints.demo.conductor import run_demo  # noqa: PLC0415  # see the package's docstring

    raise typer.Exit(run_demo(keep))


def token(
    *,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="The hub's data directory, for one of its identities.")
    ] = None,
    identity: Annotated[str, typer.Option("--as", metavar="ID", help="The identity or organization.")] = OPERATOR,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="An organization's private auth key.")] = None,
    url: Annotated[str | None, typer.Option("--url", metavar="URL", help="The hub's base URL, with --key.")] = None,
    lifetime: Annotated[int, typer.Option(min=1, max=900, metavar="SECONDS", help="How long it is good.")] = 600,
) -> None:
    """Print a bearer token, and nothing else on standard output."""
    from moneta.entrypoints.cli import tokens  # noqa: PLC0415  # see the package's docstring

    if data is not None and key is None and url is None:
        typer.echo(tokens.identity_token(data, identity, lifetime_s=lifetime))
    elif key is not None and url is not None and data is None:
        typer.echo(tokens.party_token(key, identity, url, lifetime_s=lifetime))
    else:
        raise typer.BadParameter("give --data DIR, or --key FILE with --as ORG_ID and --url URL")


def add_identity(
    data: DataDir,
    *,
    role: Annotated[
        IdentityRoleName, typer.Option(metavar="|".join(IdentityRoleName), help="What it may do.", show_default=False)
    ],
    identity: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Its name in tokens; the role's if not given.")
    ] = None,
    jwk: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Its public key, as `moneta keys show` prints it; a new one if not given."),
    ] = None,
) -> None:
    """Add an identity. Without --jwk its private key is made in the data directory, where `moneta token` finds it."""
    from moneta.entrypoints.cli import hub  # noqa: PLC0415  # see the package's docstring

    typer.echo(hub.add_identity(data, identity or role, role, jwk))


def rotate_key(
    data: DataDir,
    *,
    compromised: Annotated[
        bool, typer.Option("--compromised", help="Revoke the keys in DIR now, and sign with a new one at once.")
    ] = False,
) -> None:
    """Make the key that Moneta signs with from two hours on, unless one waits for its time already. The hub may run."""
    from moneta.entrypoints.cli import hub  # noqa: PLC0415  # see the package's docstring

    for line in hub.rotate_key(data, is_compromised=compromised):
        typer.echo(line)
