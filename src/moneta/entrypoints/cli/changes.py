"""What ``changes approve`` and ``changes refuse`` do."""

from urllib.parse import quote

from moneta.application import checked
from moneta.domain.pending_changes import ChangeDecision
from moneta.entrypoints.cli.changing import change
from moneta.entrypoints.cli.reading import Place


def decide(where: Place, change_id: str, identity_id: str, decision: ChangeDecision, reason: str | None) -> bytes:
    """Decide a change, and return the hub's document of what became of it."""
    members = {"decision": str(decision), **({} if reason is None else {"reason": reason})}
    path = f"/changes/{quote(change_id, safe='')}"
    return change(
        where,
        "PUT",
        path,
        members,
        identity_id,
        lambda hub, caller: checked.decide_change(hub, caller, change_id, members),
    )
