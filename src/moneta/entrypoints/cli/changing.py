"""Changing something at a hub: over HTTP with a token, or at the store itself as one of its identities.

At the store the same use cases run with the same rights, and the record of it names the identity.
"""

import secrets
from collections.abc import Callable
from typing import Final

from moneta import bootstrap
from moneta.application.authenticate import Caller, authenticate
from moneta.application.documents import Document, to_json
from moneta.application.ports import Hub
from moneta.entrypoints.cli.reading import Place, call
from moneta.entrypoints.cli.tokens import identity_token
from moneta.settings import Settings

TOKEN_LIFETIME_S: Final = 60
IDEMPOTENCY_KEY_BYTES: Final = 16
JSON_TYPE: Final = "application/json"

UseCase = Callable[[Hub, Caller], Document]


def change(where: Place, method: str, path: str, members: object, identity_id: str, use_case: UseCase) -> bytes:  # noqa: PLR0917  # a call, and what stands for it at the store
    """Return the document of a change: what the hub answers, or at the store what the use case of that call does."""
    if where.data_dir is None:
        return send(where, method, path, members)
    return at_the_store(where, identity_id, use_case)


def send(where: Place, method: str, path: str, members: object) -> bytes:
    """Return what the hub answers to ``members`` as JSON; made once, however often the answer is lost."""
    key = secrets.token_hex(IDEMPOTENCY_KEY_BYTES) if method == "POST" else ""
    return call(where, method, path, body=to_json(members), content_type=JSON_TYPE, idempotency_key=key)


def at_the_store(where: Place, identity_id: str, use_case: UseCase) -> bytes:
    """Return the document of ``use_case``, run at the store in ``where`` by the identity."""
    if where.data_dir is None:
        raise ValueError("there is no store here")
    token = identity_token(where.data_dir, identity_id, lifetime_s=TOKEN_LIFETIME_S)
    with bootstrap.embedded(Settings(data_dir=where.data_dir)) as hub:
        return to_json(use_case(hub, authenticate(hub, token)).body)
