"""The real template and the host's build of the artifact, deployed into an account and made ready as the guide says."""

import json
import os
import re
import subprocess
import sys
import time
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from moneta.client.caller import Caller
from tests.aws_deployed.account import REGION, Account, access_key
from tests.aws_deployed.front_door import front_door

ROOT = Path(__file__).parents[2]
STACK = "moneta-e2e"
BUCKET = "artifacts"
BATCHED = {"sqs:SendMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"}
DEPLOY_S_MAX = 180
COMMAND_S_MAX = 120
FUNCTIONS = ("authorizer", "ingestor", "processor", "dispatcher", "relay", "sweep", "dead-letters", "management")


@dataclass
class Deployment:
    """A deployed hub."""

    account: Account
    url: str
    outputs: dict
    functions: tuple = FUNCTIONS

    @property
    def environment(self):
        """What ``moneta`` needs to act on this hub from outside."""
        return {
            **os.environ,
            **self.account.environment,
            "MONETA_TABLE_PREFIX": self.outputs["TablePrefix"],
            "MONETA_EVENTS_QUEUE_URL": self.outputs["EventsQueueUrl"],
            "MONETA_WEBHOOKS_QUEUE_URL": self.outputs["WebhooksQueueUrl"],
            "MONETA_SECRET_ID": self.outputs["SecretId"],
            "MONETA_ROOT_KEY_ID": self.outputs["RootKeyId"],
        }

    def moneta(self, *arguments):
        """Run one command to its end, and return what it printed."""
        ran = subprocess.run(
            [sys.executable, "-m", "moneta", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=COMMAND_S_MAX,
            check=False,
            env=self.environment,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    @cached_property
    def access_keys(self):
        """The functions' names, by the access keys of their sessions; of each version that a function may have."""
        client = self.account.client("lambda")
        found = {}
        for name in FUNCTIONS:
            function = client.get_function(FunctionName=f"{STACK}-{name}")["Configuration"]
            arns = [function["FunctionArn"], *(f"{function['FunctionArn']}:{version}" for version in range(1, 4))]
            found |= {access_key(arn, function["Role"]): name for arn in arns}
        return found

    def calls(self, *, since=0.0):
        """Return all calls of functions to services since that moment, the oldest first."""
        found = [one for key, name in self.access_keys.items() for one in self.account.calls(name, key, since=since)]
        return sorted(found, key=lambda one: one.at)

    def log(self, function):
        """Return what a function has logged, as it was written, the oldest first."""
        client = self.account.client("logs")
        group = f"/aws/lambda/{STACK}-{function}"
        found = []
        for stream in client.describe_log_streams(logGroupName=group)["logStreams"]:
            events = client.get_log_events(
                logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True, limit=10_000
            )["events"]
            found += [(one["timestamp"], line) for one in events for line in one["message"].splitlines()]
        return [line for _, line in sorted(found, key=lambda one: one[0])]

    @property
    def operator_key(self):
        return self.account.folder / "operator.pem"

    def initialize(self):
        """Make the keys and the operator, as the guide says."""
        printed = self.moneta("aws", "init", "--base-url", self.url, "--operator-key", self.operator_key)
        self.key_id = re.search(r"^hub key (\S+)$", printed, re.MULTILINE)[1]

    @contextmanager
    def takes_two(self):
        """Let what an operator asks wait for a checker, whom this makes, until the block ends; give the checker."""
        checker_key = self.account.folder / "checker.pem"
        options = ("--base-url", self.url, "--operator-key", self.operator_key, "--checker-key", checker_key)
        self.moneta("aws", "init", *options)
        client, name = self.account.client("lambda"), f"{STACK}-management"
        before = client.get_alias(FunctionName=name, Name="live")["FunctionVersion"]
        usual = client.get_function_configuration(FunctionName=name)["Environment"]
        two = {"Variables": {**usual["Variables"], "MONETA_CHECKERS": "2"}}
        client.update_function_configuration(FunctionName=name, Environment=two)
        version = client.publish_version(FunctionName=name)["Version"]
        client.update_alias(FunctionName=name, Name="live", FunctionVersion=version)
        arguments = ("token", "--key", checker_key, "--as", "checker", "--url", self.url)
        try:
            yield Caller(self.url, lambda: self.moneta(*arguments).strip())
        finally:
            client.update_alias(FunctionName=name, Name="live", FunctionVersion=before)
            client.update_function_configuration(FunctionName=name, Environment=usual)

    def operator_token(self):
        return self.moneta("token", "--key", self.operator_key, "--as", "operator", "--url", self.url).strip()

    def operator(self):
        return Caller(self.url, self.operator_token)

    def as_nobody(self):
        return Caller(self.url, lambda: "nobody")

    @contextmanager
    def processor_runs(self, handler):
        """Let the processor run another handler of the artifact until the block ends."""
        client, name = self.account.client("lambda"), f"{STACK}-processor"
        usual = client.get_function_configuration(FunctionName=name)["Handler"]
        client.update_function_configuration(FunctionName=name, Handler=handler)
        try:
            yield
        finally:
            client.update_function_configuration(FunctionName=name, Handler=usual)

    @contextmanager
    def queue_has(self, url, **attributes):
        """Give a queue other attributes until the block ends."""
        client = self.account.client("sqs")
        found = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        client.set_queue_attributes(QueueUrl=url, Attributes=attributes)
        try:
            yield
        finally:
            client.set_queue_attributes(QueueUrl=url, Attributes={name: found[name] for name in attributes})

    @contextmanager
    def processor_waits(self, **meanwhile):
        """Keep messages from the processor until the block ends; ``meanwhile``: what its source has from then on."""
        client = self.account.client("lambda")
        (source,) = client.list_event_source_mappings(FunctionName=f"{STACK}-processor")["EventSourceMappings"]
        client.update_event_source_mapping(UUID=source["UUID"], Enabled=False, **meanwhile)
        try:
            yield
        finally:
            client.update_event_source_mapping(UUID=source["UUID"], Enabled=True)

    @contextmanager
    def one_message_a_call(self):
        """Let each call of the processor have one message, so that as many run at once, until the block ends."""
        client = self.account.client("lambda")
        (source,) = client.list_event_source_mappings(FunctionName=f"{STACK}-processor")["EventSourceMappings"]
        client.update_event_source_mapping(UUID=source["UUID"], BatchSize=1)
        try:
            yield
        finally:
            client.update_event_source_mapping(UUID=source["UUID"], BatchSize=source["BatchSize"])

    def queue_url(self, name):
        return self.account.client("sqs").get_queue_url(QueueName=f"{STACK}-{name}")["QueueUrl"]

    def queue_arn(self, name):
        return f"arn:aws:sqs:{REGION}:000000000000:{STACK}-{name}"

    def depth(self, url):
        """Return how many messages a queue has, seen or unseen."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.account.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return sum(map(int, found.values()))

    def messages(self, url, count):
        """Take so many messages of a queue, and return them; they show again after its visibility."""
        client, found = self.account.client("sqs"), []
        while len(found) < count:
            found += client.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=10,
                WaitTimeSeconds=5,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["All"],
            ).get("Messages", [])
        return found

    def send_again(self, url, message):
        """Send a copy of a message."""
        self.account.client("sqs").send_message(
            QueueUrl=url,
            MessageBody=message["Body"],
            MessageAttributes=message.get("MessageAttributes", {}),
            MessageGroupId=message["Attributes"]["MessageGroupId"],
        )

    def letters(self):
        """Return every letter's document, by the contract that its event is about."""
        document = self.operator().get("/dlq", limit=200)
        return {one["contract_id"]: one for one in document["items"]}

    def steps(self, contract_id):
        """Return the items of a contract in its table, by ``seq``: the head is 0."""
        items = self.account.client("dynamodb").query(
            TableName=f"{self.outputs['TablePrefix']}contracts",
            KeyConditionExpression="contract_id = :id",
            ExpressionAttributeValues={":id": {"S": contract_id}},
            ConsistentRead=True,
        )["Items"]
        return {int(item["seq"]["N"]): item for item in items}


def parameters(url, code_key, **others):
    """Return what a test is deployed with. Its webhooks go to this machine, without TLS."""
    given = {
        "Stage": "test",
        "Region": REGION,
        "CodeBucket": BUCKET,
        "CodeKey": code_key,
        "BaseUrl": url,
        "DeletionProtection": "false",
        "AllowHttpWebhooks": "true",
        "AllowPrivateWebhooks": "true",
        "LogLevel": "debug",
        "Checkers": "1",
        "RequireEndpointCheck": "false",
        **others,
    }
    return [{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()]


def built_artifact(folder):
    """Return the host's build, with the crash that a test plants beside it: what Lambda gets has none."""
    printed = subprocess.run(
        [sys.executable, ROOT / "infra" / "build.py", "--host"], capture_output=True, text=True, check=True
    ).stdout
    artifact = folder / "artifact.zip"
    artifact.write_bytes(Path(printed.split()[0]).read_bytes())
    with zipfile.ZipFile(artifact, "a") as archive:
        archive.write(Path(__file__).with_name("crashing.py"), "crashing.py")
    return artifact


def _settled(formation, stack):
    """Wait for the stack, and return it; fail with what CloudFormation says."""
    deadline = time.monotonic() + DEPLOY_S_MAX
    while time.monotonic() < deadline:
        found = formation.describe_stacks(StackName=stack)["Stacks"][0]
        if not found["StackStatus"].endswith("IN_PROGRESS"):
            break
        time.sleep(0.2)
    reasons = [
        f"{one['LogicalResourceId']}: {one.get('ResourceStatusReason')}"
        for one in formation.describe_stack_events(StackName=stack)["StackEvents"]
        if "FAILED" in one["ResourceStatus"]
    ]
    assert found["StackStatus"] in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}, (found["StackStatus"], reasons)
    return {one["OutputKey"]: one["OutputValue"] for one in found["Outputs"]}


def _allow_batches(account):
    """Let the roles call in batches what they may call.

    In AWS the permission for an action of SQS is that for its batches; MiniStack has actions for those that AWS lacks.
    """
    client = account.client("iam")
    for role in client.list_roles()["Roles"]:
        (name,) = client.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]
        policy = client.get_role_policy(RoleName=role["RoleName"], PolicyName=name)["PolicyDocument"]
        for statement in policy["Statement"]:
            statement["Action"] += [f"{one}Batch" for one in statement["Action"] if one in BATCHED]
        client.put_role_policy(RoleName=role["RoleName"], PolicyName=name, PolicyDocument=json.dumps(policy))


@contextmanager
def deployment(account):
    """Give a hub that is deployed into ``account`` and has its keys."""
    storage, formation = account.client("s3"), account.client("cloudformation")
    storage.create_bucket(Bucket=BUCKET)
    storage.put_object(Bucket=BUCKET, Key="moneta.zip", Body=built_artifact(account.folder).read_bytes())
    template = (ROOT / "infra" / "template.yaml").read_bytes()
    storage.put_object(Bucket=BUCKET, Key="template.yaml", Body=template)
    with front_door(account.url, account.ca) as door:
        formation.create_stack(
            StackName=STACK,
            TemplateURL=f"{account.url}/{BUCKET}/template.yaml",
            Parameters=parameters(door.url, "moneta.zip"),
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        )
        outputs = _settled(formation, STACK)
        door.api_id = outputs["ApiId"]
        _allow_batches(account)
        yield Deployment(account, door.url, outputs)
