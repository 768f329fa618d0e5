"""The directory: one table of few and small items, read consistently, changed by transactions.

Every read here is fresh: a function's instance could not tell when another changed what it remembers, and reading a
batch's directory takes a handful of calls whatever the size of the batch.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import TypeVar

from moneta.adapters.aws.attributes import Item, Key, Value
from moneta.adapters.aws.buckets import merged, time_key
from moneta.adapters.aws.directory_changes import actions_of, failure_of
from moneta.adapters.aws.directory_items import (
    CHANGES_LISTING,
    COMPROMISED,
    ENDPOINT,
    HOLDER,
    IDENTITIES,
    ISSUERS,
    KEYS,
    ORGANIZATION,
    POSITION,
    SWEPT,
    TEMPLATES,
    change_key,
    change_of,
    code_name,
    endpoint_listing,
    endpoint_of,
    health_of,
    holder_key,
    identity_of,
    keys_of_item,
    mpass_key,
    mpass_listing,
    mpass_of,
    organization_key,
    organization_listing,
    organization_of,
    position_part,
    positions_key,
    remembered_item,
    remembered_key,
    remembered_of,
    spent_key,
    status_object,
    template_key,
    template_of,
)
from moneta.adapters.aws.dynamodb import (
    BATCH_GET_MAX,
    ConditionFailedError,
    DynamoDB,
    Query,
    Table,
    TransactionFailedError,
)
from moneta.adapters.aws.lifetimes import Lifetimes
from moneta.adapters.aws.pages import PLACE_END, Seen, decode_cursor, fill_page
from moneta.adapters.aws.tables import LISTING
from moneta.application.ports import DirectoryChange, Endpoint, Identity, Page, RememberedAnswer
from moneta.domain.endpoints import DisabledReason, EndpointHealth, EndpointStatus
from moneta.domain.identifiers import KeyId, MPassId, OrganizationId, RegistrySeq, UnixMillis
from moneta.domain.keys import RegisteredKey
from moneta.domain.mpass_policies import SpendingKey
from moneta.domain.mpasses import LISTED_STATUSES, MPass, MPassStatus
from moneta.domain.organizations import Organization, OrganizationKind, OrganizationStatus
from moneta.domain.pending_changes import ChangeState, PendingChange
from moneta.domain.status_places import ListedStatus, TakenPositions
from moneta.domain.templates import TemplateRecord

Listed = TypeVar("Listed")


class DynamoDBDirectoryStore:
    """See ``ports.DirectoryStore``."""

    def __init__(self, db: DynamoDB, lifetimes: Lifetimes) -> None:
        self._db = db
        self._lifetimes = lifetimes

    def registry_position(self) -> RegistrySeq:
        """See DirectoryStore.registry_position."""
        return RegistrySeq(self._number(POSITION))

    def organizations(
        self,
        ids: Sequence[OrganizationId],
        *,
        is_fresh: bool = False,  # noqa: ARG002  # every read is
    ) -> Mapping[OrganizationId, Organization]:
        """See DirectoryStore.organizations."""
        found = self._get_all([organization_key(one, ORGANIZATION) for one in ids])
        return {item["id"]: organization_of(item) for item in found}

    def keys_of(
        self,
        owners: Sequence[OrganizationId],
        *,
        is_fresh: bool = False,  # noqa: ARG002  # every read is
    ) -> Mapping[OrganizationId, Mapping[KeyId, RegisteredKey]]:
        """See DirectoryStore.keys_of."""
        return {
            item["id"]: keys_of_item(item) for item in self._get_all([organization_key(one, KEYS) for one in owners])
        }

    def key_holder(self, key_id: KeyId) -> OrganizationId | None:
        """See DirectoryStore.key_holder."""
        held = self._db.get(Table.DIRECTORY, holder_key("key", key_id))
        return None if held is None else held["owner"]

    def compromised_since(self, seq: RegistrySeq) -> Sequence[RegisteredKey]:
        """See DirectoryStore.compromised_since."""
        query = Query(
            table=Table.DIRECTORY,
            where="#object = :object AND #part > :seq",
            values={"object": COMPROMISED, "seq": position_part(seq)},
        )
        places = list(self._db.query(query))
        keys = self.keys_of([place["owner"] for place in places])
        return [keys[place["owner"]][place["key_id"]] for place in places]

    def swept_to(self) -> RegistrySeq:
        """See DirectoryStore.swept_to."""
        return RegistrySeq(self._number(SWEPT))

    def mark_swept(self, seq: RegistrySeq) -> None:
        """See DirectoryStore.mark_swept."""
        try:
            self._db.update(
                Table.DIRECTORY,
                SWEPT,
                "SET #seq = :seq",
                values={"seq": seq},
                condition="attribute_not_exists(#seq) OR #seq < :seq",
            )
        except ConditionFailedError:
            return  # Another sweep has come farther.

    def mpasses(self, ids: Sequence[MPassId]) -> Mapping[MPassId, MPass]:
        """See DirectoryStore.mpasses."""
        return {item["id"]: mpass_of(item) for item in self._get_all([mpass_key(one) for one in ids])}

    def take_status_positions(self, mo_id: OrganizationId, count: int, *, sealed_secret: bytes) -> TakenPositions:
        """See DirectoryStore.take_status_positions."""
        item = self._db.update_and_read(
            Table.DIRECTORY,
            positions_key(mo_id),
            "SET #sealed_secret = if_not_exists(#sealed_secret, :sealed_secret) ADD #given :count",
            values={"sealed_secret": sealed_secret, "count": count},
        )
        return TakenPositions(first=int(item["given"]) - count, count=count, sealed_secret=bytes(item["sealed_secret"]))

    def status_positions_given(self, mo_id: OrganizationId) -> int:
        """See DirectoryStore.status_positions_given."""
        item = self._db.get(Table.DIRECTORY, positions_key(mo_id))
        return 0 if item is None else int(item["given"])

    def not_valid(self, mo_id: OrganizationId, list_number: int) -> Mapping[int, ListedStatus]:
        """See DirectoryStore.not_valid."""
        found = self._parts(status_object(mo_id, list_number))
        return {int(item["part"]): LISTED_STATUSES[MPassStatus(item["standing"])] for item in found}

    def spent(self, keys: Sequence[SpendingKey]) -> Mapping[SpendingKey, int]:
        """See DirectoryStore.spent."""
        found = {(item["object"], item["part"]): item for item in self._get_all([spent_key(key) for key in keys])}
        places = {key: tuple(spent_key(key).values()) for key in keys}
        return {key: int(found[place]["units"]) for key, place in places.items() if place in found}

    def mpass_numbers(self, numbers: Sequence[str]) -> Mapping[str, MPassId]:
        """See DirectoryStore.mpass_numbers."""
        found = self._get_all([{"object": f"number#{number}", "part": HOLDER} for number in numbers])
        return {item["object"].removeprefix("number#"): item["owner"] for item in found}

    def template(self, name: str, version: int) -> TemplateRecord | None:
        """See DirectoryStore.template."""
        item = self._db.get(Table.DIRECTORY, template_key(name, version))
        return None if item is None else template_of(item)

    def templates(self, name: str | None = None) -> Sequence[TemplateRecord]:
        """See DirectoryStore.templates."""
        found = [template_of(item) for item in self._parts(TEMPLATES, "" if name is None else f"{name}#")]
        return sorted(found, key=lambda record: (record.name, record.version))

    def identities(self) -> Sequence[Identity]:
        """See DirectoryStore.identities."""
        return sorted(map(identity_of, self._parts(IDENTITIES)), key=lambda identity: identity.created_at)

    def endpoints(self, ids: Sequence[OrganizationId]) -> Mapping[OrganizationId, Endpoint]:
        """See DirectoryStore.endpoints."""
        keys = [organization_key(one, part) for one in ids for part in (ORGANIZATION, ENDPOINT)]
        found = {(item["object"], item["part"]): item for item in self._get_all(keys)}
        organizations = [organization_of(item) for (_, part), item in found.items() if part == ORGANIZATION]
        return {
            one.organization_id: endpoint_of(one, found.get((f"org#{one.organization_id}", ENDPOINT), {}))
            for one in organizations
        }

    def endpoint_health(self, ids: Sequence[OrganizationId]) -> Mapping[OrganizationId, EndpointHealth]:
        """See DirectoryStore.endpoint_health."""
        found = {item["object"]: item for item in self._get_all([organization_key(one, ENDPOINT) for one in ids])}
        return {one: health_of(found.get(organization_key(one, ENDPOINT)["object"], {})) for one in ids}

    def endpoint_counts(self) -> Mapping[EndpointStatus, int]:
        """See DirectoryStore.endpoint_counts. Reads an entry each of an index."""
        counted = (EndpointStatus.FAILING, EndpointStatus.DISABLED)
        return {status: sum(1 for _ in self._db.query(_listing(endpoint_listing(status)))) for status in counted}

    def mark_recovered(self, organization: OrganizationId) -> None:
        """Note that a delivery came through."""
        try:
            self._mark(
                organization,
                "REMOVE #failing_since, #listing, #listing_key",
                condition="attribute_not_exists(#disabled_at)",
            )
        except ConditionFailedError:  # It stays disabled, and is listed so.
            self._mark(organization, "REMOVE #failing_since")

    def mark_checked(self, organization: OrganizationId, url: str, *, at: UnixMillis) -> None:
        """Note that the address answered a check."""
        self._db.update(
            Table.DIRECTORY,
            organization_key(organization, ENDPOINT),
            "SET #checked_at = :at, #checked_url = :url",
            values={"at": at, "url": url},
        )

    def mark_failing(self, organization: OrganizationId, *, at: UnixMillis) -> None:
        """Note that a delivery failed, unless that is known."""
        self._mark(
            organization,
            "SET #failing_since = if_not_exists(#failing_since, :at), "
            "#listing = if_not_exists(#listing, :failing), #listing_key = if_not_exists(#listing_key, :place)",
            {"at": at, "failing": endpoint_listing(EndpointStatus.FAILING), "place": time_key(at, organization)},
        )

    def disable_endpoint(
        self, organization: OrganizationId, reason: DisabledReason, *, at: UnixMillis, failing_limit: UnixMillis | None
    ) -> bool:
        """Mark the endpoint as disabled, unless it is; tell whether it was not.

        With a ``failing_limit`` only one that has been failing since then or longer.
        """
        values: dict[str, Value] = {"at": at, "reason": reason, "place": time_key(at, organization)}
        values["disabled"] = endpoint_listing(EndpointStatus.DISABLED)
        condition = "attribute_not_exists(#disabled_at)"
        if failing_limit is not None:
            values["failing_limit"] = failing_limit
            condition += " AND #failing_since <= :failing_limit"
        try:
            self._mark(
                organization,
                "SET #disabled_at = :at, #disabled_reason = :reason, #listing = :disabled, #listing_key = :place",
                values,
                condition=condition,
            )
        except ConditionFailedError:
            return False
        return True

    def _mark(
        self,
        organization: OrganizationId,
        expression: str,
        values: Mapping[str, Value] = MappingProxyType({}),
        *,
        condition: str = "",
    ) -> None:
        """Change what is known of an endpoint."""
        key = organization_key(organization, ENDPOINT)
        self._db.update(Table.DIRECTORY, key, expression, values=values, condition=condition)

    def list_organizations(
        self,
        kind: OrganizationKind,
        *,
        code: str | None,
        status: OrganizationStatus | None,
        limit: int,
        cursor: str | None,
    ) -> Page[Organization]:
        """See DirectoryStore.list_organizations."""
        asked = ("organizations", kind, code, status)
        high = decode_cursor(asked, cursor) or PLACE_END
        found = self._holders(kind, code) if code else self._listed([organization_listing(kind)], high=high)
        seen = ((str(one["listing_key"]), organization_of(one)) for one in found if one["listing_key"] < high)
        return fill_page(
            asked, _fitting(seen, lambda one: status in {None, one.status} and code in {None, one.code}), limit
        )

    def list_mpasses(
        self,
        *,
        mo_id: OrganizationId | None,
        status: MPassStatus | None,
        now: UnixMillis,
        limit: int,
        cursor: str | None,
    ) -> Page[MPass]:
        """See DirectoryStore.list_mpasses."""
        asked = ("mpasses", mo_id, status)
        high = decode_cursor(asked, cursor) or PLACE_END
        issuers = [item["part"] for item in self._parts(ISSUERS)] if mo_id is None else [mo_id]
        found = self._listed([mpass_listing(one) for one in issuers], high=high)
        seen = ((str(one["listing_key"]), mpass_of(one)) for one in found)
        return fill_page(asked, _fitting(seen, lambda one: status in {None, one.status_at(now)}), limit)

    def pending_change(self, change_id: str) -> PendingChange | None:
        """See DirectoryStore.pending_change."""
        item = self._db.get(Table.DIRECTORY, change_key(change_id))
        return None if item is None else change_of(item)

    def list_pending_changes(
        self, *, state: ChangeState | None, now: UnixMillis, limit: int, cursor: str | None
    ) -> Page[PendingChange]:
        """See DirectoryStore.list_pending_changes."""
        asked = ("changes", state)
        found = self._listed([CHANGES_LISTING], high=decode_cursor(asked, cursor) or PLACE_END)
        seen = ((str(one["listing_key"]), change_of(one)) for one in found)
        return fill_page(asked, _fitting(seen, lambda one: state in {None, one.state_at(now)}), limit)

    def remembered(self, caller: OrganizationId, idempotency_key: str) -> RememberedAnswer | None:
        """See DirectoryStore.remembered."""
        item = self._db.get(Table.DIRECTORY, remembered_key(caller, idempotency_key))
        return None if item is None else remembered_of(item)

    def remember(self, answer: RememberedAnswer) -> None:
        """See DirectoryStore.remember."""
        self._db.put_new(Table.DIRECTORY, remembered_item(answer))

    def apply(self, change: DirectoryChange) -> None:
        """See DirectoryStore.apply."""
        stored = self.keys_of(list(dict.fromkeys(key.owner for key in change.keys)))
        actions = actions_of(change, stored, self._lifetimes)
        try:
            self._db.transact([action.write for action in actions], request_id=str(uuid.uuid4()))
        except TransactionFailedError as error:
            raise failure_of(actions, error.failed) from error

    def _number(self, key: Key) -> int:
        item = self._db.get(Table.DIRECTORY, key)
        return 0 if item is None else int(item["seq"])

    def _get_all(self, keys: Sequence[Key]) -> list[Item]:
        unique = {tuple(key.items()): key for key in keys}
        return self._db.batch_get(Table.DIRECTORY, list(unique.values()))

    def _parts(self, name: str, prefix: str = "") -> Iterator[Item]:
        """Give the items of one object whose part begins with ``prefix``."""
        where, values = "#object = :object", {"object": name}
        if prefix:
            where, values = f"{where} AND begins_with(#part, :prefix)", values | {"prefix": prefix}
        return self._db.query(Query(table=Table.DIRECTORY, where=where, values=values))

    def _holders(self, kind: OrganizationKind, code: str) -> Iterator[Item]:
        """Give the item of the organization that holds a code."""
        holder = self._db.get(Table.DIRECTORY, {"object": f"code#{code_name(kind, code)}", "part": HOLDER})
        if holder is not None:
            yield from self._get_all([organization_key(holder["owner"], ORGANIZATION)])

    def _listed(self, partitions: Sequence[str], *, high: str) -> Iterator[Item]:
        """Give the items of partitions of the index ``listing`` below a key, the latest first, as they are now."""
        queries = [_listing(partition, high=high) for partition in partitions]
        entries = merged(self._db.query_many(queries), "listing_key", reverse=True)
        while chunk := [{"object": one["object"], "part": one["part"]} for one in islice(entries, BATCH_GET_MAX)]:
            items = self._db.batch_get(Table.DIRECTORY, chunk)
            yield from sorted(items, key=lambda item: str(item["listing_key"]), reverse=True)


def _listing(partition: str, *, high: str = PLACE_END) -> Query:
    """Return the query of a partition of the index ``listing`` below a key, the latest first."""
    return Query(
        table=Table.DIRECTORY,
        index=LISTING,
        where="#listing = :listing AND #listing_key < :high",
        values={"listing": partition, "high": high},
        is_descending=True,
        page=BATCH_GET_MAX,
    )


def _fitting(found: Iterator[tuple[str, Listed]], fits: Callable[[Listed], bool]) -> Iterator[Seen[Listed]]:
    return (Seen(place, item if fits(item) else None) for place, item in found)
