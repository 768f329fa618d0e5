"""What the template deploys, made for local use: in emulators, with none of what protects it in an account.

Each is made unless it is there, so that what broke off can be run again.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from botocore.exceptions import ClientError

from moneta.adapters.aws.certificates import KMS_KEY_SPEC
from moneta.adapters.aws.clients import Clients, call
from moneta.adapters.aws.dynamodb import Table
from moneta.adapters.aws.lifetimes import FORGET_AT
from moneta.adapters.aws.tables import table_definition
from moneta.domain.errors import MisconfiguredError

QUEUE_RETENTION_S: Final = 14 * 24 * 3600


def make_resources(clients: Clients, *, prefix: str, queues: tuple[str, ...], secret_id: str, root_alias: str) -> None:
    """Make the tables, queues, secret and root key of those names.

    Raises:
        StoreUnavailableError: A service could not do it; run it again.
    """
    for table in Table:
        _make_table(clients.of("dynamodb"), table, f"{prefix}{table}")
    for name in queues:
        retention = {"MessageRetentionPeriod": str(QUEUE_RETENTION_S)}
        call(clients.of("sqs"), "create_queue", f"queue {name}", QueueName=name, Attributes=retention)
    secrets, kms = clients.of("secretsmanager"), clients.of("kms")
    _unless_there(
        lambda: call(secrets, "describe_secret", f"secret {secret_id}", SecretId=secret_id),
        lambda: call(secrets, "create_secret", f"secret {secret_id}", Name=secret_id),
    )
    _unless_there(
        lambda: call(kms, "get_public_key", f"key {root_alias}", KeyId=root_alias),
        lambda: _make_root_key(kms, root_alias),
    )


def _unless_there(look: Callable[[], object], make: Callable[[], object]) -> None:
    with suppress(MisconfiguredError):
        look()
        return
    try:
        make()
    except ClientError:
        look()  # a try that timed out had made it


def _make_table(client: Any, table: Table, name: str) -> None:  # botocore has no types
    what = f"table {name}"
    _unless_there(
        lambda: call(client, "describe_table", what, TableName=name),
        lambda: call(client, "create_table", what, **table_definition(table, name)),
    )
    client.get_waiter("table_exists").wait(TableName=name)
    specification = {"Enabled": True, "AttributeName": FORGET_AT}
    _unless_there(
        lambda: _check_lifetime(client, what, name),
        lambda: call(client, "update_time_to_live", what, TableName=name, TimeToLiveSpecification=specification),
    )


def _check_lifetime(client: Any, what: str, name: str) -> None:  # botocore has no types
    found = call(client, "describe_time_to_live", what, TableName=name)["TimeToLiveDescription"]
    if found.get("TimeToLiveStatus") not in {"ENABLED", "ENABLING"}:
        raise MisconfiguredError(f"{what}: its items do not end")


def _make_root_key(client: Any, alias: str) -> None:  # botocore has no types
    made = call(client, "create_key", f"key {alias}", KeySpec=KMS_KEY_SPEC, KeyUsage="SIGN_VERIFY")
    call(client, "create_alias", f"key {alias}", AliasName=alias, TargetKeyId=made["KeyMetadata"]["KeyId"])
