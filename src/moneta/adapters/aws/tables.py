"""The tables and their indexes, as the deployed template must make them too.

The contracts table is the ADR's: partition key ``contract_id``, sort key ``seq``. One immutable item a step (``seq`` is
its revision) holds all that the step produced; one small head item (``seq`` 0) follows it, for lists, and can be made
anew from the steps. The indexes of the ADR keep their names:

1. ``mo_id``, ``publisher_id``, ``mpass_id``: partition ``<id>#<yyyymm>`` of Moneta's receipt, on the first step alone,
   so written once and never again.
2. ``status``: partition ``<status>#<hour>#<shard>``, on the head. A partition takes 1,000 writes a second; one status
   would be hot at that many changes a second, sixteen shards an hour are not.
3. ``expiry``: partition ``<hour>#<shard>``, on the head while the contract is pending.

All indexes hold keys only: what is listed is read from the table itself, as it is now. An index lags behind its table,
by less than a second as a rule; nothing is decided by an index alone that a later write of the same item could undo.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from moneta.adapters.aws.dynamodb import Table

# The indexes. fmt: off
WAITING: Final = "waiting"
LETTERS: Final = "letters"
MO_ID: Final = "mo_id"
PUBLISHER_ID: Final = "publisher_id"
MPASS_ID: Final = "mpass_id"
STATUS: Final = "status"
EXPIRY: Final = "expiry"
WEBHOOK_ID: Final = "webhook_id"
ORGANIZATION: Final = "organization_id"
DUE: Final = "due"
LISTING: Final = "listing"

KEYS: Final[Mapping[Table, Sequence[str]]] = {
    Table.EVENTS: ("event",),
    Table.CONTRACTS: ("contract_id", "seq"),
    Table.DELIVERIES: ("contract_id", "place"),
    Table.DIRECTORY: ("object", "part"),
}
INDEXES: Final[Mapping[Table, Mapping[str, Sequence[str]]]] = {
    Table.EVENTS: {
        WAITING: ("waiting_for", "received_at"),
        LETTERS: ("letter_bucket", "letter_key"),
    },
    Table.CONTRACTS: {
        MO_ID: ("mo_id", "received_key"),
        PUBLISHER_ID: ("publisher_id", "received_key"),
        MPASS_ID: ("mpass_id", "received_key"),
        STATUS: ("status_bucket", "received_key"),
        EXPIRY: ("expiry_bucket", "expires_at"),
    },
    Table.DELIVERIES: {
        WEBHOOK_ID: ("webhook_id",),
        ORGANIZATION: ("organization_id", "owed_key"),
        DUE: ("due_bucket", "due_at"),
    },
    Table.DIRECTORY: {
        LISTING: ("listing", "listing_key"),
    },
}
NUMBERS: Final = frozenset({"seq", "received_at", "expires_at", "due_at"})
"""The key attributes that are numbers; the others are texts."""
# fmt: on


def table_definition(table: Table, name: str) -> dict[str, Any]:  # botocore has no types
    """Return the definition of a table as ``create_table`` takes it, paid by request."""
    indexes = INDEXES[table]
    attributes = dict.fromkeys([*KEYS[table], *(key for keys in indexes.values() for key in keys)])
    return {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": one, "AttributeType": "N" if one in NUMBERS else "S"} for one in attributes
        ],
        "KeySchema": _key_schema(KEYS[table]),
        "GlobalSecondaryIndexes": [
            {"IndexName": index, "KeySchema": _key_schema(keys), "Projection": {"ProjectionType": "KEYS_ONLY"}}
            for index, keys in indexes.items()
        ],
    }


def _key_schema(keys: Sequence[str]) -> list[dict[str, str]]:
    return [{"AttributeName": name, "KeyType": kind} for name, kind in zip(keys, ("HASH", "RANGE"), strict=False)]
