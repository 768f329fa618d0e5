"""Taking the place of a finalized contract: asked when the later one is submitted, done when it is finalized.

The later contract's last step and the step that makes the older one superseded are one commit, conditional on both: so
of two that would supersede the same one, one wins, and the other is judged anew and refused.
"""

from moneta.application.countersign import superseding_step
from moneta.application.judgement import check_supersedable
from moneta.application.ports import Hub, Superseding
from moneta.domain.contract_body import ContractBody
from moneta.domain.contracts import Contract, EndStatus, end_of
from moneta.domain.identifiers import UnixMillis


def find_superseded(hub: Hub, body: ContractBody) -> Contract | None:
    """Return the contract that ``body`` names to supersede, as it is now; None if it names none, or there is none."""
    return None if body.supersedes is None else hub.contracts.read([body.supersedes]).get(body.supersedes)


def superseding(hub: Hub, contract: Contract, *, now: UnixMillis) -> Superseding | None:
    """Return what the step that has brought ``contract`` here does to the one that it supersedes; None: nothing.

    Raises:
        NotSupersedableError: It would be finalized now, and may not take that one's place any more.
    """
    if contract.body.supersedes is None or end_of(contract) is not EndStatus.FINALIZED:
        return None
    older = check_supersedable(contract.body, find_superseded(hub, contract.body))
    step = superseding_step(older, by=contract.contract_id, now=now)
    return Superseding(contract_id=older.contract_id, read_revision=older.revision, step=step)
