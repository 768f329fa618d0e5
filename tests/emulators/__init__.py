"""AWS as far as it runs here: DynamoDB Local, the stricter judge of the store, and MiniStack for all other services.

``python -m tests.emulators COMMAND...`` runs a command beside both, with MONETA_DYNAMODB_URL and MONETA_MINISTACK_URL
set, which the tests that need them look for. They listen on free ports of 127.0.0.1.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from tests.emulators.dynamodb_local import dynamodb_local
from tests.emulators.ministack import ministack


@dataclass(frozen=True, slots=True, kw_only=True)
class Urls:
    dynamodb: str
    ministack: str

    def environment(self) -> Mapping[str, str]:
        """Return what tells a program of ours, and botocore, where the services are; neither looks at the secret."""
        return {
            "AWS_ENDPOINT_URL": self.ministack,
            "AWS_ENDPOINT_URL_DYNAMODB": self.dynamodb,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }


@contextmanager
def emulators() -> Iterator[Urls]:
    """Give the URLs of both, until the block ends. Raises CannotRunError with what is missing."""
    with dynamodb_local() as dynamodb, ministack() as others:
        yield Urls(dynamodb=dynamodb, ministack=others)
