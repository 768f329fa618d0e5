"""What is kept for a checker where Moneta would sign a contract whose effect takes two of Moneta's."""

from typing import Final

from moneta.application.ports import DirectoryChange, Hub
from moneta.domain.contracts import Contract
from moneta.domain.identifiers import OrganizationId, UnixMillis
from moneta.domain.pending_changes import PendingChange
from moneta.domain.template_verbs import takes_two
from moneta.domain.templates import Template

COUNTERSIGN: Final = "countersign"
"""The operation that waits: no call asks for it, a contract does."""
RECEIVED_AT: Final = "received_at"
"""The member that keeps when the event came which Moneta's signature will answer, in milliseconds."""


def waits_for_checker(hub: Hub, template: Template) -> bool:
    """Tell whether Moneta signs contracts of the template only with a checker's consent."""
    return hub.checkers > 1 and takes_two(template)


def kept_for_checker(
    hub: Hub, contract: Contract, asked_by: OrganizationId, received_at: UnixMillis
) -> DirectoryChange:
    """Return what goes with the party's signature: that Moneta's waits for a checker."""
    return DirectoryChange(
        pending_change=PendingChange(
            change_id=hub.randomness.uuid4(),
            operation=COUNTERSIGN,
            subject=contract.body.org_id or contract.contract_id,
            target={"contract_id": contract.contract_id, "template_id": contract.body.template_id},
            members={RECEIVED_AT: received_at},
            if_match=None,
            asked_by=asked_by,
            asked_at=hub.clock.now_ms(),
        )
    )
