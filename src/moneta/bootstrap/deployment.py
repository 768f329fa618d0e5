"""What is done to a hub on AWS from an operator's desk: find what the template deployed, or make it for local use."""

import os
from typing import Final

from moneta.adapters.aws.clients import Clients, call
from moneta.domain.errors import MisconfiguredError
from moneta.settings import AWS_ENDPOINT_VARIABLE, AWS_VARIABLES, AwsSettings

NAMES: Final = {"secret_id": "{prefix}keys", "root_key_id": "alias/{prefix}root"}
QUEUES: Final = {"events_queue_url": "{prefix}events", "webhooks_queue_url": "{prefix}webhooks"}
"""The names that the template gives, by the settings that they are for."""


def find(*, endpoint_url: str | None, table_prefix: str | None) -> AwsSettings:
    """Return the settings of a deployed hub: what the environment names, and the rest by the names of the template.

    Raises:
        MisconfiguredError: The region or the prefix is not given, or a queue is not there.
        StoreUnavailableError: SQS could not tell.
    """
    environ = os.environ
    region = environ.get(AWS_VARIABLES["region"]) or environ.get("AWS_DEFAULT_REGION")
    prefix = table_prefix or environ.get(AWS_VARIABLES["table_prefix"])
    if not region or not prefix:
        raise MisconfiguredError("expected AWS_REGION in the environment, and --table-prefix, e.g. moneta-prod-")
    endpoint_url = endpoint_url or environ.get(AWS_ENDPOINT_VARIABLE) or None
    given = {name: environ[AWS_VARIABLES[name]] for name in (*NAMES, *QUEUES) if environ.get(AWS_VARIABLES[name])}
    named = {name: text.format(prefix=prefix) for name, text in (NAMES | QUEUES).items() if name not in given}
    clients = Clients(region=region, endpoint_url=endpoint_url)
    try:
        urls = {name: _queue_url(clients, named[name]) for name in QUEUES if name in named}
    finally:
        clients.close()
    return AwsSettings(region=region, table_prefix=prefix, endpoint_url=endpoint_url, **{**given, **named, **urls})


def _queue_url(clients: Clients, name: str) -> str:
    found = call(clients.of("sqs"), "get_queue_url", f"queue {name}", QueueName=name)
    return str(found["QueueUrl"])
