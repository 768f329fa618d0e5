"""What ``changes approve`` and ``changes refuse`` do."""

from typing import Final
from urllib.parse import quote

from moneta import bootstrap
from moneta.application import checked
from moneta.application.authenticate import authenticate
from moneta.application.documents import to_json
from moneta.domain.pending_changes import ChangeDecision
from moneta.entrypoints.cli.reading import Place, call
from moneta.entrypoints.cli.tokens import identity_token
from moneta.settings import Settings

TOKEN_LIFETIME_S: Final = 600


def decide(where: Place, change_id: str, identity_id: str, decision: ChangeDecision, reason: str | None) -> bytes:
    """Decide a change, and return the hub's document of what became of it."""
    members = {"decision": str(decision), **({} if reason is None else {"reason": reason})}
    if where.data_dir is None:
        path = f"/changes/{quote(change_id, safe='')}"
        return call(where, "PUT", path, body=to_json(members), content_type="application/json")
    token = identity_token(where.data_dir, identity_id, lifetime_s=TOKEN_LIFETIME_S)
    with bootstrap.embedded(Settings(data_dir=where.data_dir)) as hub:
        return to_json(checked.decide_change(hub, authenticate(hub, token), change_id, members).body)
