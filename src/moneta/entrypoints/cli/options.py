"""Options that several commands share, and how examples stand under a command's help."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from moneta.domain.limits import (
    CHECKERS_MAX,
    KEEP_ANSWERS_DAYS,
    KEEP_DAYS_MAX,
    KEEP_DEAD_DAYS,
    KEEP_DELIVERIES_DAYS,
    KEEP_EVENTS_DAYS,
    KEEP_EVENTS_DAYS_MIN,
)
from moneta.settings import AWS_ENDPOINT_VARIABLE, AWS_VARIABLES

TOKEN_VARIABLE = "MONETA_TOKEN"  # noqa: S105  # the name of a variable, no token


def examples(*lines: str) -> str:
    """Return the part of a command's help that shows it in use; the backspace keeps the lines as they are."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


def checked_base_url(base_url: str | None) -> str | None:
    """Return ``base_url`` if it can be one: everything that is signed for a hub repeats it byte for byte."""
    parts = urlsplit(base_url or "")
    is_plain = not (parts.query or parts.fragment or parts.username or parts.path.endswith("/"))
    if base_url is not None and not (parts.scheme in {"http", "https"} and parts.hostname and is_plain):
        raise typer.BadParameter(f"expected a URL like https://hub.example without a final slash, got {base_url}")
    return base_url


DataDir = Annotated[Path, typer.Option("--data", metavar="DIR", help="The hub's data directory.", show_default=False)]
StoreDir = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="Read the store itself, the hub running or not.")
]
Url = Annotated[str | None, typer.Option("--url", metavar="URL", help="The hub's base URL; needs a token.")]
Token = Annotated[
    str | None,
    typer.Option("--token", metavar="TOKEN", envvar=TOKEN_VARIABLE, help="A bearer token, from `moneta token`."),
]
ActingAt = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="Do it at the store itself, the hub running or not.")
]
ActingAs = Annotated[
    str, typer.Option("--as", metavar="ID", help="With --data: the operator or checker whose key is there.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the document that the matching GET answers.")]


class ExportFormat(StrEnum):
    """How a whole list is written for other programs."""

    JSONL = "jsonl"
    CSV = "csv"


AsFormat = Annotated[
    ExportFormat | None,
    typer.Option("--format", metavar="jsonl|csv", help="Print the whole list, all pages, for other programs."),
]
Limit = Annotated[int | None, typer.Option("--limit", metavar="1..200", help="At most so many; 50 if not given.")]
Cursor = Annotated[str | None, typer.Option("--cursor", metavar="TEXT", help="Where the page before ended.")]

Endpoint = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        metavar="URL",
        envvar=AWS_ENDPOINT_VARIABLE,
        help="Where AWS's services are, for emulators; their own places if not given.",
    ),
]
TablePrefix = Annotated[
    str | None,
    typer.Option(
        "--table-prefix",
        metavar="TEXT",
        envvar=AWS_VARIABLES["table_prefix"],
        help="What the names of tables, queues and keys on AWS begin with: the stack's name and a hyphen.",
    ),
]

Checkers = Annotated[
    int,
    typer.Option(
        "--checkers",
        min=1,
        max=CHECKERS_MAX,
        metavar="N",
        help="How many of the hub's own people a change of status or contract key takes; with 2, one checks the other.",
    ),
]

HubUrl = Annotated[
    str,
    typer.Option(
        "--url", "--hub", metavar="URL", help="The hub's base URL, exactly as the hub states it.", show_default=False
    ),
]
OwnId = Annotated[str, typer.Option("--as", metavar="ORG_ID", help="Your organization's id.", show_default=False)]
ContractKey = Annotated[
    Path, typer.Option("--key", metavar="FILE", help="Your private contract key.", show_default=False)
]
AuthKey = Annotated[
    Path | None,
    typer.Option("--auth-key", metavar="FILE", help="Your private auth key; the contract key if not given."),
]
ReasonCode = Annotated[
    str, typer.Option("--reason-code", metavar="CODE", help="1 to 64 of a-z 0-9 _ -.", show_default=False)
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="For a person, at most 500 characters.")]


def checked_otlp_endpoint(endpoint: str | None) -> str | None:
    """Return ``endpoint`` if it can be a collector's base URL; what admits us there has a variable of its own."""
    if endpoint is not None and not _is_plain(endpoint):
        raise typer.BadParameter("expected a URL like http://127.0.0.1:4318, without query or user")
    return endpoint


def _is_plain(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port  # read only when asked for, and refused then
    except ValueError:
        return False
    is_bare = not (parts.query or parts.fragment or parts.username)
    return parts.scheme in {"http", "https"} and parts.hostname is not None and is_bare


def checked_ratio(ratio: float) -> float:
    """Return ``ratio`` if it is one; typer's own bounds let ``nan`` through."""
    if not 0 <= ratio <= 1:
        raise typer.BadParameter(f"expected a number from 0 to 1, got {ratio}")
    return ratio


def _days(option: str, meaning: str, default: int, *, least: int = 1) -> Any:  # typer has no name for it
    text = f"{meaning}; {default} if not given."
    return typer.Option(option, metavar="DAYS", min=least, max=KEEP_DAYS_MAX, help=text)


OTLPEndpoint = Annotated[
    str | None,
    typer.Option(
        "--otlp-endpoint",
        metavar="URL",
        envvar="OTEL_EXPORTER_OTLP_ENDPOINT",
        callback=checked_otlp_endpoint,
        help="Send traces to this OpenTelemetry collector, by OTLP over HTTP.",
    ),
]
TraceRatio = Annotated[
    float,
    typer.Option(
        "--trace-ratio",
        metavar="0..1",
        envvar="OTEL_TRACES_SAMPLER_ARG",
        callback=checked_ratio,
        help="The share of contracts that are traced; what fails is always.",
    ),
]

# fmt: off
KeepDeliveries = Annotated[int | None, _days(
    "--keep-deliveries-days", "How long a delivered webhook is shown, with its attempts", KEEP_DELIVERIES_DAYS
)]
KeepDead = Annotated[int | None, _days(
    "--keep-dead-days", "How long a webhook that was given up is shown, and can be sent again", KEEP_DEAD_DAYS
)]
KeepEvents = Annotated[int | None, _days(
    "--keep-events-days", "How long an event is known by its id", KEEP_EVENTS_DAYS, least=KEEP_EVENTS_DAYS_MIN
)]
KeepAnswers = Annotated[int | None, _days(
    "--keep-answers-days", "How long an Idempotency-Key is remembered", KEEP_ANSWERS_DAYS
)]
# fmt: on


def keep_days(
    *, deliveries: int | None, dead: int | None, events: int | None, answers: int | None
) -> Mapping[str, int]:
    """Return the settings that were given, by their names."""
    given = {
        "keep_deliveries_days": deliveries,
        "keep_dead_days": dead,
        "keep_events_days": events,
        "keep_answers_days": answers,
    }
    return {name: days for name, days in given.items() if days is not None}
