"""What is done to a hub on AWS from its operator's desk: find what the template deployed, look at it, make its keys."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from moneta.adapters.aws import store_check
from moneta.adapters.aws.certificates import KMSRootKey, check_chain
from moneta.adapters.aws.clients import Clients, call, is_on_this_machine
from moneta.adapters.aws.hub_secret import HubSecret
from moneta.adapters.aws.key_rotation import KeyCustody
from moneta.adapters.aws.local_resources import make_resources
from moneta.adapters.embedded.keyfiles import read_private_file, write_private_file
from moneta.adapters.signing_keys import Rotation
from moneta.adapters.system import SystemClock
from moneta.domain.errors import MisconfiguredError
from moneta.domain.identifiers import UnixSeconds
from moneta.settings import AWS_ENDPOINT_VARIABLE, AWS_VARIABLES, AwsSettings
from moneta.signing.keys import PrivateKey, generate, load_pem

NAMES: Final = {"secret_id": "{prefix}keys", "root_key_id": "alias/{prefix}root"}
QUEUES: Final = {"events_queue_url": "{prefix}events", "webhooks_queue_url": "{prefix}webhooks"}
"""The names that the template gives, by the settings that they are for."""


def find(*, endpoint_url: str | None, table_prefix: str | None) -> AwsSettings:
    """Return the settings of a deployed hub: what the environment names, and the rest by the names of the template.

    Raises:
        MisconfiguredError: The region or the prefix is not given, or a queue is not there.
        StoreUnavailableError: SQS could not tell.
    """
    region, endpoint_url, prefix = _place(endpoint_url, table_prefix)
    given = {name: os.environ[AWS_VARIABLES[name]] for name in (*NAMES, *QUEUES) if os.environ.get(AWS_VARIABLES[name])}
    named = {name: text.format(prefix=prefix) for name, text in (NAMES | QUEUES).items() if name not in given}
    with _clients(region, endpoint_url) as clients:
        urls = {name: _queue_url(clients, named[name]) for name in QUEUES if name in named}
    return AwsSettings(region=region, table_prefix=prefix, endpoint_url=endpoint_url, **{**given, **named, **urls})


def make_local_resources(*, endpoint_url: str | None, table_prefix: str | None) -> None:
    """Make in emulators what the template would deploy, unless it is there.

    Raises:
        MisconfiguredError: The endpoint is not on this machine.
        StoreUnavailableError: A service could not do it; run it again.
    """
    region, endpoint_url, prefix = _place(endpoint_url, table_prefix)
    if endpoint_url is None or not is_on_this_machine(endpoint_url):
        raise MisconfiguredError(f"endpoint {endpoint_url}: expected one on this machine; elsewhere, deploy")
    with _clients(region, endpoint_url) as clients:
        make_resources(
            clients,
            prefix=prefix,
            queues=tuple(text.format(prefix=prefix) for text in QUEUES.values()),
            secret_id=NAMES["secret_id"].format(prefix=prefix),
            root_alias=NAMES["root_key_id"].format(prefix=prefix),
        )


def check(aws: AwsSettings, *, has_keys: bool = True) -> None:
    """Ask each part of a hub for what its processes will ask of it. ``has_keys``: its keys were made before.

    Raises:
        MisconfiguredError: One is not there, is not a hub's, or is closed to us; it is named.
        StoreUnavailableError: One can't be reached.
    """
    with _clients(aws.region, aws.endpoint_url) as clients:
        store_check.check_tables(clients.of("dynamodb"), aws.table_prefix)
        store_check.check_queues(clients.of("sqs"), (aws.events_queue_url, aws.webhooks_queue_url))
        if has_keys:
            check_chain(
                HubSecret(clients.of("secretsmanager"), aws.secret_id).read().keys.signing_keys.signing_at(_now())
            )


def make_keys(aws: AwsSettings, *, base_url: str) -> Rotation:
    """Make the hub's keys, unless they are there. See ``KeyCustody.make_first`` for what it raises."""
    with _custody(aws) as custody:
        return custody.make_first(base_url=base_url, now=_now())


def rotate_key(aws: AwsSettings, *, base_url: str | None, is_compromised: bool) -> Rotation:
    """Make the hub's next signing key, unless one waits. See ``KeyCustody.rotate`` for what it raises."""
    with _custody(aws) as custody:
        return custody.rotate(base_url=base_url, now=_now(), is_compromised=is_compromised)


def identity_key(path: Path) -> PrivateKey:
    """Return the key of an identity that is in a file, which is made if it is not there.

    Raises:
        KeyFileError: The file is open to others.
    """
    if not path.exists():
        write_private_file(path, generate("ES256").to_pem())
    return load_pem(read_private_file(path))


def _place(endpoint_url: str | None, table_prefix: str | None) -> tuple[str, str | None, str]:
    """Return the region, the endpoint and the prefix that are given, or that the environment gives."""
    region = os.environ.get(AWS_VARIABLES["region"]) or os.environ.get("AWS_DEFAULT_REGION")
    prefix = table_prefix or os.environ.get(AWS_VARIABLES["table_prefix"])
    if not region or not prefix:
        raise MisconfiguredError("expected AWS_REGION in the environment, and --table-prefix, e.g. moneta-prod-")
    return region, endpoint_url or os.environ.get(AWS_ENDPOINT_VARIABLE) or None, prefix


@contextmanager
def _clients(region: str, endpoint_url: str | None) -> Iterator[Clients]:
    clients = Clients(region=region, endpoint_url=endpoint_url)
    try:
        yield clients
    finally:
        clients.close()


@contextmanager
def _custody(aws: AwsSettings) -> Iterator[KeyCustody]:
    with _clients(aws.region, aws.endpoint_url) as clients:
        yield KeyCustody(
            secret=HubSecret(clients.of("secretsmanager"), aws.secret_id),
            root=KMSRootKey(clients.of("kms"), aws.root_key_id),
        )


def _queue_url(clients: Clients, name: str) -> str:
    found = call(clients.of("sqs"), "get_queue_url", f"queue {name}", QueueName=name)
    return str(found["QueueUrl"])


def _now() -> UnixSeconds:
    return UnixSeconds(SystemClock().now_ms() // 1000)
