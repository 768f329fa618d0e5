"""Who may do what, for people and programs: ``docs/roles.md``, and ``x-roles`` of each operation in OpenAPI.

Both are made from the table that the use cases ask (``application/access.py``), so that neither can say otherwise.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Final

from moneta.application.access import RIGHTS, Operation, Right, Scope
from moneta.entrypoints import event_exchange
from moneta.entrypoints.http.open_routes import OPEN_ROUTES
from moneta.entrypoints.http.routes import ROUTES

ROLES: Final = tuple(column.name for column in fields(Right))
SHOWN: Final[Mapping[Scope, str]] = {Scope.NONE: "", Scope.OWN: "own", Scope.ANY: "any"}
_HEAD: Final = (
    "# Who may do what",
    "",
    "`any`: on everybody's. `own`: on the caller's own; another's is answered as if it were not there (404), and a",
    "list leaves it out. Empty: refused (403) before anything is looked up. `pending` is an organization of either",
    "kind that is not active yet; a Suspended one keeps the rights of its kind, and what it may no longer start is",
    "refused by the state tables ([lifecycles.md](lifecycles.md)). A Destroyed one has no valid token (401).",
    "",
    "This page is made from the table in `application/access.py` by `python -m moneta.entrypoints.http.openapi`; the",
    "same table answers the calls, stands as `x-roles` in [openapi.json](openapi.json), and is tried whole, each call",
    "as each role on its own and on another's, by `tests/http/test_api_matrix.py`.",
    "",
)


def roles_of(operation: Operation) -> dict[str, str]:
    """Return how far the right of each role that has one reaches."""
    scopes = {role: getattr(RIGHTS[operation], role) for role in ROLES}
    return {role: str(scope) for role, scope in scopes.items() if scope is not Scope.NONE}


def roles_page() -> str:
    """Return ``docs/roles.md``."""
    return "\n".join([*_HEAD, *_table(), "", *_open_table()]) + "\n"


def _table() -> Iterator[str]:
    yield f"| call | operation | {' | '.join(ROLES)} |"
    yield "|---|---|" + "---|" * len(ROLES)
    calls = [("POST", event_exchange.PATH, Operation.SEND_EVENT)]
    calls += [(route.method, route.path, route.operation) for route in ROUTES]
    for method, path, operation in calls:
        scopes = [SHOWN[getattr(RIGHTS[operation], role)] for role in ROLES]
        yield f"| `{method} {path}` | {operation} | {' | '.join(scopes)} |"


def _open_table() -> Iterator[str]:
    yield "Without a token:"
    yield ""
    for route in OPEN_ROUTES:
        yield f"- `GET {route.path}`: {route.summary}"
