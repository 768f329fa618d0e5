"""botocore's clients: how long they wait, how often they try, and which of their errors only an operator can mend.

The rules:

1. What was throttled, timed out or failed at the service is tried by botocore ``TRIES_MAX`` times in all, with jitter;
   then it becomes ``StoreUnavailableError``.
2. What is missing, not permitted or not authenticated becomes ``MisconfiguredError``, which names the thing.
3. Anything else that a service says no to is a bug, and crashes.
4. Of a service on this machine (an emulator) nothing is asked through a proxy, and any credentials will do for it.
"""

import logging
import os
from collections.abc import Mapping
from ipaddress import ip_address
from threading import Lock
from typing import Any, Final
from urllib.parse import urlsplit

from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    InvalidRegionError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.session import Session

from moneta.domain.errors import MisconfiguredError, StoreUnavailableError

CONNECT_TIMEOUT_S: Final = 2
READ_TIMEOUT_S: Final = 5
TRIES_MAX: Final = 4
CONNECTIONS_MAX: Final = 32
SERVER_ERROR: Final = 500

ENDPOINT_VARIABLES: Final[Mapping[str, str]] = {
    "dynamodb": "AWS_ENDPOINT_URL_DYNAMODB",
    "kms": "AWS_ENDPOINT_URL_KMS",
    "secretsmanager": "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    "sqs": "AWS_ENDPOINT_URL_SQS",
}
"""botocore's own variables for one service, which go before the endpoint of all."""
LOCAL_CREDENTIALS: Final = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}

# fmt: off
MISCONFIGURED_CODES: Final[Mapping[str, str]] = {
    "AWS.SimpleQueueService.NonExistentQueue": "it is not there",
    "AccessDenied":                            "no permission",
    "AccessDeniedException":                   "no permission",
    "DecryptionFailure":                       "no permission for the key that encrypts it",
    "DisabledException":                       "the key is disabled",
    "ExpiredToken":                            "the credentials have expired",
    "ExpiredTokenException":                   "the credentials have expired",
    "IncompleteSignature":                     "the credentials are not valid",
    "InvalidClientTokenId":                    "the credentials are not valid",
    "InvalidRequestException":                 "it can't be used as it is now",
    "InvalidSignatureException":               "the credentials are not valid",
    "KMSInvalidStateException":                "the key can't be used as it is now",
    "KmsAccessDenied":                         "no permission for the key that encrypts it",
    "MissingAuthenticationTokenException":     "there are no credentials",
    "NotFoundException":                       "it is not there",
    "QueueDoesNotExist":                       "it is not there",
    "ResourceNotFoundException":               "it is not there",
    "SignatureDoesNotMatch":                   "the credentials are not valid",
    "UnrecognizedClientException":             "the credentials are not valid",
}
# fmt: on
UNAVAILABLE_CODES: Final = frozenset(
    {
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "InternalServiceError",
        "KMSInternalException",
        "DependencyTimeoutException",
        "KmsThrottled",
        "LimitExceededException",
        "OverLimit",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestTimeout",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)

Raw = dict[str, Any]  # botocore has no types


class Clients:
    """A process's clients, one a service, each made when it is first asked for. Safe for threads."""

    def __init__(self, *, region: str, endpoint_url: str | None) -> None:
        self._region = region
        self._endpoint_url = endpoint_url
        self._session = Session()
        self._lock = Lock()
        self._made: dict[str, Any] = {}  # botocore has no types
        # Its debug lines quote whole answers, and so Moneta's private key.
        logging.getLogger("botocore").setLevel(logging.INFO)

    def of(self, service: str) -> Any:  # botocore has no types
        """Return the client of a service, under botocore's name for it. Nothing is asked of the service yet.

        Raises:
            MisconfiguredError: The region is none.
        """
        with self._lock:
            if service not in self._made:
                self._made[service] = self._make(service)
            return self._made[service]

    def close(self) -> None:
        """Close every connection."""
        for client in self._made.values():
            client.close()

    def _make(self, service: str) -> Any:  # botocore has no types
        endpoint_url = os.environ.get(ENDPOINT_VARIABLES[service]) or self._endpoint_url
        try:
            return make_client(self._session, service, region=self._region, endpoint_url=endpoint_url)
        except (InvalidRegionError, ValueError) as error:
            where = f"region {self._region}, endpoint {endpoint_url or 'its own'}"
            raise MisconfiguredError(f"{service}: {where}: {error}") from error


def make_client(session: Session, service: str, *, region: str, endpoint_url: str | None) -> Any:
    """Return a client by the rules above; ``endpoint_url`` None: the service's own. See ``Clients``."""
    config = Config(
        region_name=region,
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": TRIES_MAX},
        max_pool_connections=CONNECTIONS_MAX,
        parameter_validation=False,  # The service validates too, and refuses what is wrong.
        tcp_keepalive=True,
    )
    credentials: Mapping[str, str] = {}
    if endpoint_url is not None and is_on_this_machine(endpoint_url):
        config = config.merge(Config(proxies={}))
        credentials = {} if "AWS_ACCESS_KEY_ID" in os.environ else LOCAL_CREDENTIALS
    return session.create_client(service, endpoint_url=endpoint_url, config=config, **credentials)


def is_on_this_machine(url: str) -> bool:
    """Tell whether a URL's host is a loopback address, or the name of one."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def call(client: Any, operation: str, what: str, **arguments: Any) -> Raw:  # botocore has no types
    """Call a service; ``what``: the thing in question, as an operator knows it.

    Raises:
        MisconfiguredError: It is not there, or it is not permitted.
        StoreUnavailableError: The service could not do it, or it is not known whether it did.
    """
    try:
        return dict(getattr(client, operation)(**arguments))
    except (ClientError, BotoCoreError) as error:
        raise ours(error, client, what) or error from error


def ours(error: Any, client: Any, what: str) -> StoreUnavailableError | None:  # botocore has no types
    """Return our error for a client's; None where it can only be a bug."""
    match error:
        case NoCredentialsError() | PartialCredentialsError() | CredentialRetrievalError():
            return MisconfiguredError(f"{what}: {error}")
        case HTTPClientError() | BotoConnectionError():
            return StoreUnavailableError(f"{what}: {error}")
        case ClientError():
            return _of_answer(error.response, client, what)
        case _:
            return None


def _of_answer(answer: Mapping[str, Any], client: Any, what: str) -> StoreUnavailableError | None:
    code, said = str(answer.get("Error", {}).get("Code")), str(answer.get("Error", {}).get("Message", ""))
    status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in MISCONFIGURED_CODES:
        where = f"{client.meta.region_name}, {client.meta.endpoint_url}"
        return MisconfiguredError(f"{what}: {MISCONFIGURED_CODES[code]} ({where}: {code}: {said})")
    if code in UNAVAILABLE_CODES or status >= SERVER_ERROR:
        return StoreUnavailableError(f"{what}: {code}")
    return None
