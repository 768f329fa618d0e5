"""Faults that no emulator gives, put between a client and the wire by seed: what a network and a busy service do.

They stand below botocore's own retries, where they happen in truth, so that what is tested is the whole way up from
there: a call that was throttled is made again, one whose answer got lost may have been done, and is made again too.
"""

import json
import random
import socket
import threading
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ReadTimeoutError
from botocore.httpsession import URLLib3Session

from moneta.adapters.aws.dynamodb import Table
from moneta.adapters.aws.tables import KEYS

FAULTS_OF_A_CALL_MAX = 2
"""Fewer than botocore's tries, so that a call comes through in the end: what does not has tests of its own."""
CALLS_REMEMBERED = 1_000
NO_DELAY = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
"""As botocore's own connections have it: without, each call of more than a packet takes 40 ms longer."""
CONTROL = {"CreateTable", "DeleteTable", "DescribeTable", "UpdateTimeToLive", "CreateQueue", "DeleteQueue"}
UNTOUCHED: Mapping[str, set[str]] = {
    "ReceiveMessage": {"lost", "twice"},  # what was received and not heard of is hidden until its lease ends
    "DeleteMessage": {"lost", "twice"},  # a second one is refused by the emulator, though not by the service
}
THROTTLED = {
    "dynamodb": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
    "sqs": "com.amazonaws.sqs#RequestThrottled",
}


@dataclass
class Faults:
    """How often what happens, each a share of all calls; ``happened`` counts it.

    ``throttled``: refused undone. ``failed``: a 500, undone. ``lost``: done, and the answer never comes. ``twice``:
    done, and done again before anybody hears of it. ``lag``: how many calls it takes an index to show a write.
    """

    seed: int
    throttled: float = 0.02
    failed: float = 0.01
    lost: float = 0.03
    twice: float = 0.02
    lag: int = 0
    happened: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311  # replays by its seed, guards nothing
        self._wire = URLLib3Session(socket_options=NO_DELAY)
        self._lock = threading.Lock()
        self._faults_of: OrderedDict[str, int] = OrderedDict()
        self._written: dict[tuple[str, str], int] = {}
        self._calls = 0

    def beset(self, client: Any) -> None:
        """Let them happen to every call of a client from now on."""
        client.meta.events.register("before-send", self._send)

    def _send(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse | None:
        service, operation = _called(request)
        if operation in CONTROL:
            return None
        fault = self._chosen(request, operation)
        if fault is not None:
            self.happened[fault] += 1
        if fault in {"throttled", "failed"}:
            return _refusal(request, service, fault)
        answer = self._wire.send(request)
        self._note(operation, request)
        if fault == "lost":
            raise ReadTimeoutError(endpoint_url=request.url)
        if fault == "twice":
            answer = self._wire.send(request)
        return self._lagging(operation, request, answer)

    def _chosen(self, request: AWSPreparedRequest, operation: str) -> str | None:
        with self._lock:
            self._calls += 1
            drawn = self._random.random()
            call = str(request.headers["amz-sdk-invocation-id"])
            if self._faults_of.get(call, 0) >= FAULTS_OF_A_CALL_MAX:
                return None
            for name in ("throttled", "failed", "lost", "twice"):
                drawn -= getattr(self, name)
                if drawn < 0:
                    break
            else:
                return None
            if name in UNTOUCHED.get(operation, ()):
                return None
            self._faults_of[call] = self._faults_of.get(call, 0) + 1
            if len(self._faults_of) > CALLS_REMEMBERED:
                self._faults_of.popitem(last=False)
            return name

    # Indexes that lag.

    def _note(self, operation: str, request: AWSPreparedRequest) -> None:
        if not self.lag:
            return
        arguments = json.loads(request.body)
        actions = arguments.get("TransactItems", [{operation: arguments}])
        with self._lock:
            for action in actions:
                for one in action.values():
                    if item := one.get("Item") or one.get("Key"):
                        self._written[one["TableName"], _key_of(one["TableName"], item)] = self._calls

    def _lagging(self, operation: str, request: AWSPreparedRequest, answer: AWSResponse) -> AWSResponse:
        """Return the answer of an index as it would have been some calls ago, but for what has left it since."""
        if not self.lag or operation not in {"Query", "Scan"} or answer.status_code != 200:
            return answer
        arguments = json.loads(request.body)
        if "IndexName" not in arguments:
            return answer
        found = json.loads(answer.content)
        with self._lock:
            shown = [item for item in found["Items"] if not self._is_recent(arguments["TableName"], item)]
        if len(shown) == len(found["Items"]):
            return answer
        self.happened["lag"] += 1
        found |= {"Items": shown, "Count": len(shown)}
        return _answer(request, 200, found, answer.headers["content-type"])

    def _is_recent(self, table: str, item: Mapping[str, Any]) -> bool:
        return self._calls - self._written.get((table, _key_of(table, item)), -self.lag) < self.lag


def _called(request: AWSPreparedRequest) -> tuple[str, str]:
    """Return the service and the operation of a request in AWS's JSON protocol."""
    target = request.headers["X-Amz-Target"]
    name, operation = (target.decode() if isinstance(target, bytes) else target).split(".", 1)
    return {"DynamoDB_20120810": "dynamodb", "AmazonSQS": "sqs"}.get(name, name), operation


def _key_of(table_name: str, item: Mapping[str, Any]) -> str:
    table = next(table for table in Table if table_name.endswith(f"-{table}"))
    return json.dumps([item.get(name) for name in KEYS[table]])


def _refusal(request: AWSPreparedRequest, service: str, fault: str) -> AWSResponse:
    kind = THROTTLED[service] if fault == "throttled" else "InternalServerError"
    body = {"__type": kind, "message": f"{fault}, for a test"}
    return _answer(request, 400 if fault == "throttled" else 500, body, "application/x-amz-json-1.0")


def _answer(request: AWSPreparedRequest, status: int, body: Mapping[str, Any], content_type: str) -> AWSResponse:
    answer = AWSResponse(request.url, status, {"content-type": content_type}, None)
    answer._content = json.dumps(body).encode()  # what it would have read from the wire
    return answer
