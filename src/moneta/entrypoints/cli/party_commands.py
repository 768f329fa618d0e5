"""The commands of a party: its keys and registration, ``sign``, ``submit``, ``decline``, ``cancel``; and ``verify``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from moneta.entrypoints.cli.options import AuthKey, ContractKey, HubUrl, OwnId, Reason, ReasonCode, examples

HUB = "--url http://127.0.0.1:8080"


class Algorithm(StrEnum):
    """What keys are for."""

    ES256 = "ES256"
    EDDSA = "EdDSA"
    RS256 = "RS256"
    PS256 = "PS256"


class PartyRole(StrEnum):
    """The roles that organizations have."""

    MO = "mo"
    PUBLISHER = "publisher"


class SigningRole(StrEnum):
    """The roles that an organization signs under."""

    MO = "mo"
    PUBLISHER = "publisher"
    ORG = "org"
    ORG_NEW_KEY = "org_new_key"


class Use(StrEnum):
    """What a key can be registered for."""

    AUTH = "auth"
    CONTRACT = "contract"


KeyFile = Annotated[Path, typer.Argument(metavar="FILE", help="A private key, PEM or JWK.", show_default=False)]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Don't wait for the outcome: accepted is enough.")]
ChosenEventId = Annotated[
    str | None, typer.Option("--event-id", metavar="ID", help="The event's id; sent again, it has one effect.")
]
HubKeys = Annotated[
    list[str] | None,
    typer.Option("--hub-key", metavar="THUMBPRINT", help="The hub's key, from elsewhere. May be repeated."),
]
ContractId = Annotated[str, typer.Argument(metavar="CONTRACT_ID", help="The contract.", show_default=False)]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    keys = typer.Typer(help="A party's keys.", no_args_is_help=True)
    keys.command("new", epilog=examples("moneta keys new --alg ES256 --out contract.pem"))(new_key)
    keys.command("show", epilog=examples("moneta keys show contract.pem"))(show_key)
    keys.command("proof", epilog=examples(f"moneta keys proof auth.pem --use auth --subject ORG_ID {HUB}"))(key_proof)
    app.add_typer(keys, name="keys")
    app.command(
        "registration",
        epilog=examples(
            "moneta registration --role mo --name 'An MO' --code EXMO --webhook-url https://mo.example/hooks "
            f"--key contract.pem --auth-key auth.pem {HUB} > mo.json"
        ),
    )(registration)
    app.command(
        "sign",
        epilog=examples(
            f"moneta sign body.json --key contract.pem --role mo {HUB} > c-1.json",
            f"moneta sign c-1.json --key contract.pem --auth-key auth.pem --role publisher {HUB} > c-1-signed.json",
        ),
    )(sign)
    app.command("submit", epilog=examples(f"moneta submit c-1.json --as ORG_ID --auth-key auth.pem {HUB}"))(submit)
    ends = f"c-1 --as ORG_ID --key contract.pem --auth-key auth.pem {HUB}"
    app.command("decline", epilog=examples(f"moneta decline {ends} --reason-code amount"))(decline)
    app.command("cancel", epilog=examples(f"moneta cancel {ends} --reason-code mistake"))(cancel)
    app.command(
        "verify",
        epilog=examples(
            "moneta contracts show c-1 --data hub --json > c-1.json",
            "moneta verify c-1.json --hub-key THUMBPRINT",
            "moneta verify c-1.json --trust trust.json",
        ),
    )(verify)


def new_key(
    *,
    alg: Annotated[Algorithm, typer.Option(metavar="|".join(Algorithm), help="What it signs with.")] = Algorithm.ES256,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Where to write it: PEM, or a JWK if it ends in .json; key.pem if not given."
        ),
    ] = None,
) -> None:
    """Make a private key in a new file of mode 0600, and print its public JWK. No file is ever written over."""
    from moneta.entrypoints.cli import party  # noqa: PLC0415  # see the package's docstring

    file = out or Path("key.json" if alg is Algorithm.PS256 else "key.pem")
    if alg is Algorithm.PS256 and file.suffix != ".json":
        raise typer.BadParameter("a PEM does not keep that an RSA key is for PS256; let --out end in .json")
    typer.echo(party.new_key(alg, file))


def show_key(file: KeyFile) -> None:
    """Print a key's public JWK; its `kid` is the thumbprint."""
    from moneta.entrypoints.cli import party  # noqa: PLC0415  # see the package's docstring

    typer.echo(party.show_key(file))


def key_proof(
    file: KeyFile,
    *,
    url: HubUrl,
    subject: Annotated[
        str,
        typer.Option(metavar="ID", help="Your organization's id; at its creation its MIC or MPC.", show_default=False),
    ],
    use: Annotated[
        list[Use], typer.Option(metavar="|".join(Use), help="What it is for. May be repeated.", show_default=False)
    ],
) -> None:
    """Print a key as the hub registers it, `{"jwk", "use", "proof"}`. The proof is good for five minutes."""
    from moneta.entrypoints.cli import party  # noqa: PLC0415  # see the package's docstring

    typer.echo(party.offered_key(file, url, subject, use))


def registration(
    *,
    role: Annotated[PartyRole, typer.Option(metavar="|".join(PartyRole), help="What you are.", show_default=False)],
    name: Annotated[str, typer.Option(metavar="TEXT", help="Your name.", show_default=False)],
    code: Annotated[str, typer.Option(metavar="CODE", help="Your MIC (MO) or MPC (publisher).", show_default=False)],
    webhook_url: Annotated[str, typer.Option(metavar="URL", help="Where webhooks go.", show_default=False)],
    key: ContractKey,
    url: HubUrl,
    auth_key: AuthKey = None,
) -> None:
    """Print the body of `POST /organizations/{role}`, for the hub's operator. Its proofs are good for five minutes."""
    from moneta.entrypoints.cli import party  # noqa: PLC0415  # see the package's docstring

    me = party.Signer(url=url, key_file=key, auth_key_file=auth_key)
    typer.echo(party.registration(me, role, name=name, code=code, webhook_url=webhook_url))


def sign(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A contract's body; or a contract to add a signature to.", show_default=False
        ),
    ],
    *,
    key: ContractKey,
    role: Annotated[
        SigningRole,
        typer.Option(metavar="|".join(SigningRole), help="Who you are in this contract.", show_default=False),
    ],
    url: HubUrl,
    auth_key: AuthKey = None,
    hub_key: HubKeys = None,
    template_sha256: Annotated[
        str | None, typer.Option(metavar="DIGEST", help="Sign for these bytes of the template only.")
    ] = None,
) -> None:
    """Print the contract, signed. The body's bytes are signed exactly as they stand in the file.

    A contract that others signed is verified first, with keys from the hub, asked for with your auth key.
    """
    from moneta.entrypoints.cli import party  # noqa: PLC0415  # see the package's docstring

    me = party.Signer(url=url, key_file=key, auth_key_file=auth_key, hub_keys=tuple(hub_key or ()))
    typer.echo(party.sign(file, me, role, template_sha256))


def submit(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="What `moneta sign` printed; with --key a body.", show_default=False)
    ],
    *,
    own_id: OwnId,
    url: HubUrl,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="Your private contract key, to sign a body with.")
    ] = None,
    auth_key: AuthKey = None,
    event_id: ChosenEventId = None,
    no_wait: NoWait = False,
) -> None:
    """Send a contract: a new one with its first signature, or one with another signature added. Prints the event."""
    from moneta.entrypoints.cli import party  # noqa: PLC0415  # see the package's docstring

    key_file = key or auth_key
    if key_file is None:
        raise typer.BadParameter("give --auth-key; to sign a body too, --key")
    me = party.Signer(url=url, key_file=key_file, auth_key_file=auth_key)
    typer.echo(party.submit(file, me, own_id=own_id, may_sign=key is not None, event_id=event_id, waits=not no_wait))


def decline(
    contract_id: ContractId,
    *,
    own_id: OwnId,
    key: ContractKey,
    url: HubUrl,
    reason_code: ReasonCode,
    reason: Reason = "",
    auth_key: AuthKey = None,
    hub_key: HubKeys = None,
    event_id: ChosenEventId = None,
    no_wait: NoWait = False,
) -> None:
    """End a contract that your signature is missing on. Prints the event."""
    from moneta.entrypoints.cli import party  # noqa: PLC0415  # see the package's docstring

    me = party.Signer(url=url, key_file=key, auth_key_file=auth_key, hub_keys=tuple(hub_key or ()))
    why = party.Reason(reason_code, reason)
    typer.echo(party.end("decline", contract_id, me, own_id=own_id, reason=why, event_id=event_id, waits=not no_wait))


def cancel(
    contract_id: ContractId,
    *,
    own_id: OwnId,
    key: ContractKey,
    url: HubUrl,
    reason_code: ReasonCode,
    reason: Reason = "",
    auth_key: AuthKey = None,
    hub_key: HubKeys = None,
    event_id: ChosenEventId = None,
    no_wait: NoWait = False,
) -> None:
    """Take back a contract that you started, before another party has signed. Prints the event."""
    from moneta.entrypoints.cli import party  # noqa: PLC0415  # see the package's docstring

    me = party.Signer(url=url, key_file=key, auth_key_file=auth_key, hub_keys=tuple(hub_key or ()))
    why = party.Reason(reason_code, reason)
    typer.echo(party.end("cancel", contract_id, me, own_id=own_id, reason=why, event_id=event_id, waits=not no_wait))


def verify(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="What GET /contracts/{id} answers, a webhook's body, or a contract.",
            show_default=False,
        ),
    ],
    *,
    hub_key: HubKeys = None,
    trust: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A JWK Set of the hub's keys, and of parties'; from elsewhere.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False,
) -> None:
    """Verify a contract offline: form, signatures, chain, receipt, acts, and what is shown beside them.

    It passes (exit 0) only for an end whose receipt is by a key that you know from elsewhere. Exit 3: all that is
    there fits together, and proves nothing: no --hub-key or --trust was given, or there is no receipt yet. Exit 1:
    something is broken, and the line says what.
    """
    from moneta.entrypoints.cli import verification  # noqa: PLC0415  # see the package's docstring

    report = verification.verify_file(file, hub_keys=frozenset(hub_key or ()), trust=trust)
    typer.echo(report.to_json() if as_json else report.to_text())
    raise typer.Exit(report.exit_code)
