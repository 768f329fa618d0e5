"""What can wait for a checker: one table from the operation that was asked for to what decides it anew."""

from collections.abc import Mapping
from typing import Final

from moneta.application import countersign_checks, organization_keys, organizations, pending_changes, submit
from moneta.application.access import Operation
from moneta.application.authenticate import Caller
from moneta.application.check_effects import COUNTERSIGN
from moneta.application.documents import Document
from moneta.application.pending_changes import Decide, End
from moneta.application.ports import Hub
from moneta.domain.ijson import Value

# fmt: off
CHECKED: Final[Mapping[str, Decide]] = {
    Operation.CHANGE_ORGANIZATION_STATUS:  organizations.decide_status,
    Operation.ADD_KEY:                     organization_keys.decide_pending_key,
    Operation.CHANGE_KEY_STATUS:           organization_keys.decide_key_status,
    Operation.SUBMIT_CONTRACT:             submit.decide_submission,
    COUNTERSIGN:                           countersign_checks.decide_countersign,
}
ENDINGS: Final[Mapping[str, End]] = {
    COUNTERSIGN:                           countersign_checks.decline_unsigned,
}
# fmt: on


def decide_change(
    hub: Hub, caller: Caller, change_id: str, members: Mapping[str, Value], *, if_match: int | None = None
) -> Document:
    """Approve what another asked for, or refuse it. See ``pending_changes.decide_change``."""
    return pending_changes.decide_change(hub, caller, change_id, members, CHECKED, endings=ENDINGS, if_match=if_match)
