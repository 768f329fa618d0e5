"""MiniStack as an account: roles and queue policies are enforced, all calls come by TLS, and each is recorded."""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import trustme
from botocore.config import Config
from botocore.session import Session

from tests.emulators.ministack import ministack

REGION = "us-east-1"
CALLS_MAX = 1_000_000


@dataclass(frozen=True)
class Call:
    """One call of a function's to a service."""

    at: float
    caller: str
    service: str
    action: str
    parameters: dict


@dataclass
class Account:
    """``url``: where its services are; ``ca``: a file with the certificate to trust there; ``folder``: its files'."""

    url: str
    ca: Path
    folder: Path
    session: Session = field(default_factory=Session)

    @property
    def environment(self):
        """What a program needs to act as the account's administrator."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_CA_BUNDLE": str(self.ca),
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }

    def client(self, service):
        return self.session.create_client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            verify=str(self.ca),
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106  # MiniStack's own administrator
            config=Config(proxies={}, read_timeout=60, retries={"total_max_attempts": 1}),
        )

    @cached_property
    def trail(self):
        client = self.client("cloudtrail")
        client.meta.events.register("before-call.cloudtrail.LookupEvents", self._until_the_end)
        return client

    def calls(self, caller, key, *, since=0.0):
        """Return the calls of a caller with that access key, since that moment, the oldest first."""
        found, attribute = {}, {"AttributeKey": "AccessKeyId", "AttributeValue": key}
        self.end = time.time()
        while True:  # ends once a page has nothing new
            page = self.trail.lookup_events(LookupAttributes=[attribute])["Events"]
            new = {one["EventId"]: one for one in page if one["EventId"] not in found}
            if not new:
                return [_call(one, caller) for one in sorted(found.values(), key=_moment) if _moment(one) >= since]
            found |= new
            self.end = min(map(_moment, new.values()))

    def _until_the_end(self, *, params, **_):
        """Ask for what was until ``end``, which MiniStack takes exactly and botocore cuts to seconds.

        MiniStack gives the newest fifty and no token for more.
        """
        params["body"] = json.dumps({**json.loads(params["body"]), "EndTime": self.end}).encode()


def _moment(event):
    return event["EventTime"].timestamp()


def _call(event, caller):
    detail = json.loads(event["CloudTrailEvent"])
    return Call(
        at=_moment(event),
        caller=caller,
        service=event["EventSource"].removesuffix(".amazonaws.com"),
        action=event["EventName"],
        parameters=detail["requestParameters"] or {},
    )


def access_key(function_arn, role_arn):
    """Return the access key of a function's session: MiniStack makes it of the two names."""
    return f"ASIA{hashlib.sha256(f'{function_arn}:{role_arn}'.encode()).hexdigest()[:16].upper()}"


@contextmanager
def account() -> Iterator[Account]:
    """Give an empty account, until the block ends, with a folder of its own.

    MiniStack unpacks the artifact anew for each process of a function, 77 MB at a time: in memory where that is to be
    had, and nothing of it is left.
    """
    memory = Path("/dev/shm")  # noqa: S108  # the folder in it is private
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield from _account_in(Path(folder))


def _account_in(folder) -> Iterator[Account]:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    ca, chain, key = folder / "ca.pem", folder / "chain.pem", folder / "key.pem"
    authority.cert_pem.write_to_path(ca)
    certificate.cert_chain_pems[0].write_to_path(chain)
    certificate.private_key_pem.write_to_path(key)
    environment = {
        "AUTH": "true",
        "USE_SSL": "1",
        "MINISTACK_SSL_CERT": str(chain),
        "MINISTACK_SSL_KEY": str(key),
        "AWS_CA_BUNDLE": str(ca),  # the functions have MiniStack's environment
        "MINISTACK_REGION": REGION,
        "CLOUDTRAIL_RECORDING": "1",
        "CLOUDTRAIL_MAX_EVENTS": str(CALLS_MAX),
        "TMPDIR": str(folder),
    }
    with ministack(environment) as url:
        yield Account(url.replace("http:", "https:"), ca, folder)
