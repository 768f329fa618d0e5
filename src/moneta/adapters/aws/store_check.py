"""Whether the tables and queues of a hub are there: asked for what its processes ask of them, and nothing changed."""

from collections.abc import Sequence
from typing import Any, Final

from botocore.exceptions import ClientError

from moneta.adapters.aws.attributes import pack
from moneta.adapters.aws.clients import call
from moneta.adapters.aws.dynamodb import Table
from moneta.adapters.aws.tables import KEYS, NUMBERS
from moneta.domain.errors import MisconfiguredError

NOBODY: Final = "#nobody"
"""No item's key."""


def check_tables(client: Any, prefix: str) -> None:  # botocore has no types
    """Return if each table is there, with its keys, and can be read.

    Raises:
        MisconfiguredError: One is not, and is named. StoreUnavailableError: The service could not tell.
    """
    for table in Table:
        name = f"{prefix}{table}"
        key = {attribute: 0 if attribute in NUMBERS else NOBODY for attribute in KEYS[table]}
        try:
            call(client, "get_item", f"table {name}", TableName=name, Key=pack(key))
        except ClientError as error:  # what is left is that the key is not this table's
            raise MisconfiguredError(f"table {name}: not a hub's: {error}") from error


def check_queues(client: Any, urls: Sequence[str]) -> None:  # botocore has no types
    """Return if each queue is there. See ``check_tables`` for what it raises."""
    for url in urls:
        call(client, "get_queue_attributes", f"queue {url}", QueueUrl=url, AttributeNames=["QueueArn"])
