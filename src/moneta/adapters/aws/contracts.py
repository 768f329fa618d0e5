"""Contracts: read from their steps, listed by their heads. How they change stands in ``commits``."""

from collections.abc import Mapping, Sequence

from moneta.adapters.aws.buckets import Calendar
from moneta.adapters.aws.commits import Commits, read_steps
from moneta.adapters.aws.contract_items import step_of
from moneta.adapters.aws.contract_lists import ContractLists
from moneta.adapters.aws.dynamodb import DynamoDB
from moneta.application.ports import Change, Clock, Committed, ContractQuery, ContractSummary, Page
from moneta.domain.contracts import Contract, Step, assemble
from moneta.domain.identifiers import ContractId, OrganizationId, Revision, UnixSeconds


class DynamoDBContractStore:
    """See ``ports.ContractStore``."""

    def __init__(
        self,
        db: DynamoDB,
        clock: Clock,
        *,
        calendar: Calendar,
        commits: Commits,
    ) -> None:
        self._db = db
        self._commits = commits
        self._lists = ContractLists(db, clock, calendar=calendar)

    def read(self, contract_ids: Sequence[ContractId]) -> Mapping[ContractId, Contract]:
        """See ContractStore.read."""
        wanted = list(dict.fromkeys(contract_ids))
        found = zip(wanted, self._db.each(self._steps, wanted), strict=True)
        return {contract_id: assemble(steps) for contract_id, steps in found if steps}

    def read_at(self, places: Sequence[tuple[ContractId, Revision]]) -> Mapping[tuple[ContractId, Revision], Contract]:
        """See ContractStore.read_at."""
        wanted = list(dict.fromkeys(contract_id for contract_id, _ in places))
        found = dict(zip(wanted, self._db.each(self._steps, wanted), strict=True))
        return {
            (contract_id, revision): assemble(found[contract_id][:revision])
            for contract_id, revision in places
            if 0 < revision <= len(found[contract_id])
        }

    def commit(self, changes: Sequence[Change]) -> Sequence[Committed]:
        """See ContractStore.commit."""
        return self._commits.commit(changes)

    def list(self, query: ContractQuery) -> Page[ContractSummary]:
        """See ContractStore.list."""
        return self._lists.list(query)

    def due_to_expire(self, *, before: UnixSeconds, limit: int) -> Sequence[ContractId]:
        """See ContractStore.due_to_expire. What a crashed expiry left unfinished is finished here."""
        found = self._lists.due_to_expire(before=before, limit=limit)
        return self._still_pending(found)

    def next_expiry(self) -> UnixSeconds | None:
        """See ContractStore.next_expiry."""
        return self._lists.next_expiry()

    def pending_with(self, organization: OrganizationId, *, limit: int, cursor: str | None) -> Page[ContractId]:
        """See ContractStore.pending_with. What a crashed decline left unfinished is finished here."""
        page = self._lists.pending_with(organization, limit=limit, cursor=cursor)
        return Page(items=self._still_pending(page.items), next_cursor=page.next_cursor)

    def _still_pending(self, contract_ids: Sequence[ContractId]) -> Sequence[ContractId]:
        is_pending = self._db.each(self._commits.finish_and_tell_pending, contract_ids)
        return [contract_id for contract_id, is_one in zip(contract_ids, is_pending, strict=True) if is_one]

    def _steps(self, contract_id: ContractId) -> Sequence[Step]:
        return [step_of(item) for item in read_steps(self._db, contract_id)]
