"""A hub on DynamoDB Local and MiniStack, and its functions under AWS's runtime client, as Lambda would call them.

What stands between a queue and its function is modelled: a batch is received, the function called with it, and deleted
what it does not keep. What it keeps comes again when it is visible again.
"""

import json
import threading
import time
import uuid
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from moneta import bootstrap
from moneta.adapters.aws.certificates import KMSRootKey
from moneta.adapters.aws.clients import Clients
from moneta.adapters.aws.hub_secret import HubSecret
from moneta.adapters.aws.key_rotation import KeyCustody
from moneta.adapters.aws.store import DynamoDBStore, Names
from moneta.adapters.system import SystemClock
from moneta.adapters.template_reader import builtin_templates
from moneta.application import organizations, templates
from moneta.settings import Settings
from tests.aws_lambda.gateway import gateway_event
from tests.aws_lambda.runtime_api import Function, function_environment
from tests.emulated import emulator_url
from tests.hub import Party, TestHub, key_of

VISIBLE_S = 2
QUIET_S = 30
"""A hub that is still at work after so long does not come to rest."""


class Receiver:
    """An endpoint that keeps what it is sent, and answers as it is told."""

    def __init__(self):
        self.got = []
        self.answer = lambda _message: b""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                message = json.loads(self.rfile.read(int(self.headers["content-length"])))
                body = receiver.answer(message)
                receiver.got.append(message)
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class Deployed:
    """The hub's services and functions; ``house`` prepares it, as an operator would through the API."""

    def __init__(self, environment, clients, exits):
        self._environment, self._clients, self._exits = environment, clients, exits
        self._functions = {}
        settings = Settings.from_environment(environment, data_dir=None)
        self.serverless = exits.enter_context(bootstrap.aws(settings, announces=True))
        self.house = TestHub(self.serverless.hub, store=None, clock=None)
        templates.publish_built_ins(self.serverless.hub, builtin_templates())
        self.receiver = Receiver()
        exits.callback(self.receiver.close)

    def function(self, name, **more):
        """Return a function, which is kept; ``more``: what else is in its environment."""
        key = (name, *more.items())
        if key not in self._functions:
            environment = {**self._environment, **more, "AWS_LAMBDA_FUNCTION_NAME": name}
            self._functions[key] = Function(f"moneta.entrypoints.aws_lambda.{name}.handler", environment)
            self._exits.callback(self._functions[key].close)
        return self._functions[key]

    def log(self):
        return "".join(function.logged for function in self._functions.values())

    def register(self, kind, code):
        members = self.house.organization_members(kind, code)
        members["metadata"]["webhook_url"] = self.receiver.url
        created = organizations.create_organization(self.house.hub, self.house.operator, kind, members).body
        party = Party(
            organization_id=created["id"],
            kind=kind,
            code=code,
            key=key_of("ES256", f"{code} contract"),
            auth_key=key_of("EdDSA", f"{code} auth"),
            webhook_secret=created["webhook_secret"],
        )
        self.house.set_status(party, "Active")
        return party

    def post_event(self, party, raw, **more):
        headers = [
            ("authorization", f"Bearer {self.house.token(party)}"),
            ("content-type", "application/cloudevents+json"),
        ]
        event = gateway_event("POST", "/event", headers=headers, body=raw)
        context = self.function("authorizer").invoke(event)["context"]
        event["requestContext"]["authorizer"] = {"lambda": context}
        return self.function("ingestor", **more).invoke(event)

    def get(self, party, path):
        headers = [("authorization", f"Bearer {self.house.token(party)}")]
        answer = self.function("management").invoke(gateway_event("GET", path, headers=headers))
        return answer["statusCode"], json.loads(answer["body"])

    def batch(self, queue):
        """Receive a batch from a queue, as the service hands it to a function; None if there is none."""
        received = self._clients.of("sqs").receive_message(
            QueueUrl=self._environment[f"MONETA_{queue}_QUEUE_URL"],
            MaxNumberOfMessages=10,
            VisibilityTimeout=VISIBLE_S,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
        )
        records = [self._record(queue, one) for one in received.get("Messages", ())]
        return {"Records": records} if records else None

    def done(self, queue, batch, response):
        """Delete what the function did not keep."""
        kept = {one["itemIdentifier"] for one in response["batchItemFailures"]}
        for record in batch["Records"]:
            if record["messageId"] not in kept:
                self._clients.of("sqs").delete_message(
                    QueueUrl=self._environment[f"MONETA_{queue}_QUEUE_URL"], ReceiptHandle=record["receiptHandle"]
                )

    def run_until_quiet(self):
        """Let processor and dispatcher work until both queues have been empty for longer than a message is hidden."""
        began_at = quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < VISIBLE_S + 1:
            assert time.monotonic() - began_at < QUIET_S, self.log()
            for queue, name in (("EVENTS", "processor"), ("WEBHOOKS", "dispatcher")):
                batch = self.batch(queue)
                if batch is not None:
                    self.done(queue, batch, self.function(name).invoke(batch))
                    quiet_since = time.monotonic()
            time.sleep(0.05)

    def _record(self, queue, message):
        attributes = {
            name: {"stringValue": value["StringValue"], "dataType": value["DataType"]}
            for name, value in message.get("MessageAttributes", {}).items()
        }
        name = self._environment[f"MONETA_{queue}_QUEUE_URL"].rpartition("/")[2]
        return {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": message["Attributes"],
            "messageAttributes": attributes,
            "eventSource": "aws:sqs",
            "eventSourceARN": f"arn:aws:sqs:us-east-1:000000000000:{name}",
            "awsRegion": "us-east-1",
        }


@contextmanager
def deployed():
    """Give a hub of its own on the emulators."""
    dynamodb, ministack = emulator_url("MONETA_DYNAMODB_URL"), emulator_url("MONETA_MINISTACK_URL")
    name = f"fn-{uuid.uuid4().hex[:12]}"
    with ExitStack() as exits:
        # This process is one of the hub's too, and botocore reads its environment.
        exits.enter_context(pytest.MonkeyPatch.context()).setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb)
        environment = function_environment("", ministack) | {
            "AWS_ENDPOINT_URL_DYNAMODB": dynamodb,
            "MONETA_TABLE_PREFIX": f"{name}-",
            "MONETA_SECRET_ID": f"{name}-keys",
            "MONETA_ALLOW_HTTP_WEBHOOKS": "true",
            "MONETA_ALLOW_PRIVATE_WEBHOOKS": "true",
        }
        clients = Clients(region="us-east-1", endpoint_url=ministack)
        exits.callback(clients.close)
        for queue in ("events", "webhooks"):
            url = clients.of("sqs").create_queue(QueueName=f"{name}-{queue}")["QueueUrl"]
            environment[f"MONETA_{queue.upper()}_QUEUE_URL"] = url
            exits.callback(clients.of("sqs").delete_queue, QueueUrl=url)
        kms, secrets = clients.of("kms"), clients.of("secretsmanager")
        root = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
        secrets.create_secret(Name=f"{name}-keys")
        environment["MONETA_ROOT_KEY_ID"] = root
        custody = KeyCustody(secret=HubSecret(secrets, f"{name}-keys"), root=KMSRootKey(kms, root))
        custody.make_first(base_url="https://hub.example", now=SystemClock().now_ms() // 1000)
        names = Names(
            table_prefix=f"{name}-", events_queue_url="", webhooks_queue_url="", region="us-east-1", announces=False
        )
        store = DynamoDBStore.on(clients.of("dynamodb"), clients.of("sqs"), names, SystemClock())
        store.create_tables()
        exits.callback(store.delete_tables)
        yield Deployed(environment, clients, exits)
