"""Each of our rules is seen failing on a broken copy of the template, and only the one that is meant."""

import copy
import re

import pytest

from infra.check import RULES, TEMPLATE, broken_rules, translated, unused_rules

GONE = object()
ATTRIBUTES = ("DeletionPolicy", "UpdateReplacePolicy")
"""Of a resource; all else that is broken is among its properties."""
TEXT = TEMPLATE.read_text(encoding="utf-8")

WIDE = {"Effect": "Allow", "Action": ["dynamodb:Query"], "Resource": "*"}
STREAMS = {"Effect": "Allow", "Action": ["dynamodb:ListStreams", "dynamodb:Query"], "Resource": "*"}
NOT_ACTION = {"Effect": "Allow", "NotAction": ["iam:PassRole"], "Action": ["dynamodb:Query"], "Resource": "arn"}
NOT_RESOURCE = {"Effect": "Allow", "Action": ["dynamodb:Query"], "Resource": "arn", "NotResource": "arn"}
STATEMENT = "SweepRole.Policies.0.PolicyDocument.Statement"
TRUST = "SweepRole.AssumeRolePolicyDocument.Statement.0"
TLS_ONLY = "EventsQueuePolicy.PolicyDocument.Statement.0"
INDEX = "ContractsTable.GlobalSecondaryIndexes.4.Projection.ProjectionType"
LOCAL_INDEX = "ContractsTable.LocalSecondaryIndexes"
PITR = "EventsTable.PointInTimeRecoverySpecification"
REDRIVE = "EventsDeadQueue.RedriveAllowPolicy.redrivePermission"
SECURITY = "Domain.DomainNameConfigurations.0.SecurityPolicy"
SSE = "DirectoryTable.SSESpecification"
STAGE = "ApiStage"
EVENTS = "ProcessorMessages"
FOREIGN_POLICY = {"Type": "AWS::IAM::ManagedPolicy", "Properties": {}}

# fmt: off
BREAKS = {  # what is broken for a rule to fail, and how
    "queues_are_encrypted": [
        ("EventsQueue.SqsManagedSseEnabled",                        False),
        ("WebhooksDeadQueue.SqsManagedSseEnabled",                  GONE),
    ],
    "queues_keep_messages_for_fourteen_days": [
        ("EventsQueue.MessageRetentionPeriod",                      345_600),
        ("EventsDeadQueue.MessageRetentionPeriod",                  GONE),
    ],
    "queues_have_dead_queues": [
        ("WebhooksQueue.RedrivePolicy",                             GONE),
        (REDRIVE,                                                   "allowAll"),
    ],
    "queues_want_tls": [
        ("WebhooksDeadQueuePolicy",                                 GONE),
        (f"{TLS_ONLY}.Effect",                                      "Allow"),
        (f"{TLS_ONLY}.Principal",                                   {"AWS": "1"}),
        (f"{TLS_ONLY}.Action",                                      "sqs:SendMessage"),
        (f"{TLS_ONLY}.Condition",                                   GONE),
    ],
    "tables_are_encrypted_with_our_key": [
        (f"{SSE}.SSEEnabled",                                       False),
        (f"{SSE}.KMSMasterKeyId",                                   GONE),
        (SSE,                                                       GONE),
    ],
    "tables_can_be_restored_to_any_second": [
        (f"{PITR}.PointInTimeRecoveryEnabled",                      False),
        (PITR,                                                      GONE),
    ],
    "tables_are_not_deleted_by_mistake": [
        ("EventsTable.DeletionProtectionEnabled",                   False),
        ("EventsTable.DeletionPolicy",                              GONE),
        ("EventsTable.UpdateReplacePolicy",                         "Delete"),
    ],
    "tables_forget_what_has_ended": [
        ("DeliveriesTable.TimeToLiveSpecification.Enabled",         False),
    ],
    "indexes_hold_keys_only": [
        (INDEX,                                                     "ALL"),
        (LOCAL_INDEX,                                               [{"IndexName": "x"}]),
    ],
    "functions_run_on_arm64": [
        ("Ingestor.Architectures.0",                                "x86_64"),
    ],
    "functions_have_reserved_concurrency": [
        ("Relay.ReservedConcurrentExecutions",                      GONE),
    ],
    "functions_have_a_role_and_a_log_of_their_own": [
        ("Ingestor.LoggingConfig",                                  GONE),
        ("Ingestor.Role",                                           "arn:aws:iam::1:role/admin"),
    ],
    "sources_keep_what_failed": [
        (f"{EVENTS}.FunctionResponseTypes",                         GONE),
        (f"{EVENTS}.ScalingConfig",                                 GONE),
        ("RelaySteps.StartingPosition",                             "LATEST"),
    ],
    "callers_are_named": [
        ("IngestorPermission.SourceArn",                            GONE),
    ],
    "roles_have_no_policy_of_others": [
        ("SweepRole.ManagedPolicyArns",                             ["arn:aws:iam::aws:policy/x"]),
        ("Foreign",                                                 FOREIGN_POLICY),
    ],
    "no_action_is_a_wildcard": [
        (f"{STATEMENT}.1.Action.0",                                 "dynamodb:*"),
        (f"{STATEMENT}.1.Action",                                   "*"),
        (f"{STATEMENT}.1",                                          NOT_ACTION),
        (f"{STATEMENT}.1.Effect",                                   "Deny"),
    ],
    "no_resource_is_a_wildcard": [
        (f"{STATEMENT}.1.Resource",                                 "*"),
        (f"{STATEMENT}.1.Resource.0",                               "*"),
        (f"{STATEMENT}.1",                                          WIDE),
        (f"{STATEMENT}.1",                                          STREAMS),
        (f"{STATEMENT}.1",                                          NOT_RESOURCE),
    ],
    "roles_are_for_one_service": [
        (f"{TRUST}.Principal",                                      {"AWS": "*"}),
        (f"{TRUST}.Principal.Service",                              "ec2.amazonaws.com"),
    ],
    "logs_end_and_are_encrypted": [
        ("ApiLogs.RetentionInDays",                                 GONE),
        ("SweepLogs.KmsKeyId",                                      GONE),
    ],
    "keys_outlive_the_stack": [
        ("RootKey.DeletionPolicy",                                  GONE),
        ("RootKey.UpdateReplacePolicy",                             GONE),
        ("DataKey.EnableKeyRotation",                               False),
        ("DataKey.PendingWindowInDays",                             7),
    ],
    "secrets_are_encrypted_and_outlive_the_stack": [
        ("KeysSecret.KmsKeyId",                                     GONE),
        ("KeysSecret.SecretString",                                 "{}"),
        ("KeysSecret.DeletionPolicy",                               "Delete"),
    ],
    "topics_are_encrypted": [
        ("AlarmTopic.KmsMasterKeyId",                               GONE),
    ],
    "alarms_tell_somebody_who_can_read_what_to_do": [
        ("ApiSlowAlarm.AlarmActions",                               GONE),
        ("ApiSlowAlarm.AlarmDescription",                           "It is slow"),
        ("ApiSlowAlarm.TreatMissingData",                           GONE),
    ],
    "requests_are_logged_and_throttled": [
        (f"{STAGE}.AccessLogSettings.DestinationArn",               GONE),
        (f"{STAGE}.AccessLogSettings.Format",                       "$context.Authorization"),
        (f"{STAGE}.DefaultRouteSettings.ThrottlingRateLimit",       GONE),
        (f"{STAGE}.RouteSettings.POST /event.ThrottlingBurstLimit", GONE),
    ],
    "domains_want_tls_1_2": [
        (SECURITY,                                                  "TLS_1_0"),
        (SECURITY,                                                  GONE),
    ],
}
# fmt: on
CASES = [(rule, place, value) for rule, breaks in BREAKS.items() for place, value in breaks]


def _broken(template, place, value):
    template = copy.deepcopy(template)
    name, *way = place.split(".")
    at = template["Resources"]
    if way:
        at = at[name] if way[0] in ATTRIBUTES else at[name]["Properties"]
    *way, last = way or [name]
    for step in way:
        at = at[int(step)] if isinstance(at, list) else at[step]
    last = int(last) if isinstance(at, list) else last
    if value is GONE:
        del at[last]
    else:
        at[last] = value
    return template


@pytest.fixture(scope="module")
def template():
    return translated(TEXT)


def test_the_template_keeps_every_rule(template):
    assert broken_rules(template) == []
    assert unused_rules(template) == []


@pytest.mark.parametrize(("rule", "place", "value"), CASES, ids=[f"{i}-{rule}" for i, (rule, *_) in enumerate(CASES)])
def test_a_rule_fails_when_it_is_broken(template, rule, place, value):
    assert broken_rules(_broken(template, place, value)) == [rule]


def test_every_rule_is_seen_failing():
    rules = re.findall(r"^rule (\w+)", RULES.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rules) == sorted(BREAKS)


def test_another_artifact_is_another_version_of_the_function_with_a_snapshot(template):
    other = translated(TEXT, CodeKey="other.zip")
    before, after = ({name for name in one["Resources"] if "Version" in name} for one in (template, other))
    assert len(before) == len(after) == 1
    assert before != after
