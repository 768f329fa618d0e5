"""Lists of deliveries: those of a contract from its partition, an organization's, or all, by month from its index."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

from moneta.adapters.aws.attributes import Item
from moneta.adapters.aws.buckets import (
    MOMENT_END,
    SHARDS,
    Calendar,
    merged,
    moment_of,
    month_bucket,
    month_of,
    shard_of,
    time_key,
)
from moneta.adapters.aws.delivery_items import (
    deliveries_kind,
    delivery_key,
    organization_of_place,
    record_of,
    webhook_id_of_place,
)
from moneta.adapters.aws.dynamodb import BATCH_GET_MAX, DynamoDB, Query, Table
from moneta.adapters.aws.pages import PLACE_END, Seen, decode_cursor, fill_page
from moneta.adapters.aws.tables import ORGANIZATION
from moneta.application.ports import DeliveryQuery, DeliveryRecord, Page, ReplayQuery
from moneta.domain.identifiers import ContractId, OrganizationId, UnixMillis, WebhookId


class DeliveryLists:
    """The queries of ``ports.DeliveryStore``."""

    def __init__(self, db: DynamoDB, *, calendar: Calendar) -> None:
        self._db = db
        self._calendar = calendar

    def list(self, query: DeliveryQuery) -> Page[DeliveryRecord]:
        """See DeliveryStore.list."""
        asked = ("deliveries", replace(query, limit=0, cursor=None))
        high = decode_cursor(asked, query.cursor) or PLACE_END
        if query.contract_id is not None:
            items = self._of_contract(query.contract_id, high)
        else:
            items = self._by_month(query, high)
        seen = (Seen(item["owed_key"], record_of(item) if _fits(item, query) else None) for item in items)
        return fill_page(asked, seen, query.limit)

    def to_replay(self, query: ReplayQuery) -> Page[WebhookId]:
        """See DeliveryStore.to_replay."""
        asked = ("replay", replace(query, limit=0, cursor=None))
        after = decode_cursor(asked, query.cursor) or ""
        if query.contract_id is not None:
            entries = self._of_contract_in_order(query)
        else:
            entries = self._owed_between(query, after)
        seen = (Seen(one["owed_key"], webhook_id_of_place(one["place"])) for one in entries if one["owed_key"] > after)
        return fill_page(asked, seen, query.limit)

    def _of_contract_in_order(self, query: ReplayQuery) -> Iterator[Item]:
        """Give the deliveries of the query's contract, the earliest first."""
        own = query.visible_to
        items = reversed(list(self._of_contract(ContractId(query.contract_id or ""), PLACE_END)))
        return (item for item in items if own in {None, organization_of_place(item["place"])})

    def _owed_between(self, query: ReplayQuery, after: str) -> Iterator[Item]:
        """Give the entries of deliveries that are owed in the query's range, the earliest first."""
        first = UnixMillis((query.owed_from or 0) * 1000)
        end = UnixMillis(min((query.owed_to or 0) * 1000 + 1000, MOMENT_END))
        for month, organizations in self._months(query.visible_to, low=month_of(first), high=month_of(end)):
            low = max(time_key(first, ""), after)
            queries = [
                Query(
                    table=Table.DELIVERIES,
                    index=ORGANIZATION,
                    where="#organization_id = :partition AND #owed_key BETWEEN :low AND :high",
                    values={"partition": month_bucket(organization, month), "low": low, "high": time_key(end, "")},
                    page=min(query.limit + 1, BATCH_GET_MAX),
                )
                for organization in organizations
            ]
            yield from merged(self._db.query_many(queries), "owed_key")

    def _of_contract(self, contract_id: ContractId, high: str) -> Iterator[Item]:
        """Give a contract's deliveries before a key, the latest first; there are a few dozen at most."""
        query = Query(table=Table.DELIVERIES, where="#contract_id = :contract", values={"contract": contract_id})
        found = (item for item in self._db.query(query) if item["owed_key"] < high)
        return iter(sorted(found, key=lambda item: str(item["owed_key"]), reverse=True))

    def _by_month(self, query: DeliveryQuery, high: str) -> Iterator[Item]:
        """Give deliveries before a key, the latest first, of whoever may see them."""
        months = self._months(query.visible_to, low=0, high=month_of(moment_of(high)))
        for month, organizations in reversed(list(months)):
            queries = [
                Query(
                    table=Table.DELIVERIES,
                    index=ORGANIZATION,
                    where="#organization_id = :partition AND #owed_key < :high",
                    values={"partition": month_bucket(organization, month), "high": high},
                    is_descending=True,
                    page=min(query.limit + 1, BATCH_GET_MAX),
                )
                for organization in organizations
            ]
            entries = merged(self._db.query_many(queries), "owed_key", reverse=True)
            while chunk := [delivery_key(one) for one in islice(entries, min(query.limit + 1, BATCH_GET_MAX))]:
                found = self._db.batch_get(Table.DELIVERIES, chunk)
                yield from sorted(found, key=lambda item: str(item["owed_key"]), reverse=True)

    def _months(self, own: OrganizationId | None, *, low: int, high: int) -> Iterator[tuple[int, Sequence[str]]]:
        """Give the months that have deliveries, the earliest first, each with the organizations to ask for."""
        kinds = [deliveries_kind(shard) for shard in (range(SHARDS) if own is None else [shard_of(own)])]
        months: dict[int, list[str]] = {}
        for kind in kinds:
            for month, organizations in self._calendar.slots(kind, low=low, high=high):
                months.setdefault(month, []).extend(one for one in sorted(organizations) if own in {None, one})
        return ((month, months[month]) for month in sorted(months) if months[month])


def _fits(item: Item, query: DeliveryQuery) -> bool:
    is_visible = query.visible_to in {None, organization_of_place(item["place"])}
    return is_visible and query.status in {None, item["status"]}
