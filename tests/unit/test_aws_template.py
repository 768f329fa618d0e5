"""What the template says in its own words must be what the code says: tables, limits, figures, the runbook."""

import importlib
import json
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from moneta.adapters.aws.dynamodb import Table
from moneta.adapters.aws.lifetimes import FORGET_AT
from moneta.adapters.aws.tables import table_definition
from moneta.domain.limits import AUTHORIZATION_KEPT_S_MAX, PROCESS_TRIES_MAX
from moneta.entrypoints.telemetry.metrics import METRICS
from moneta.settings import AWS_VARIABLES, Settings

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "aws.md").read_text(encoding="utf-8")
BUILD = (ROOT / "infra" / "build.py").read_text(encoding="utf-8")
ACCOUNT_CONCURRENCY_MAX = 1_000
"""Of an account to begin with, of which Lambda keeps a hundred unreserved."""
UNRESERVED_MIN = 100
OUTAGE_S = 4 * 3600
ITS_OWN = "${AWS::StackName}"


def _short_form(loader, suffix, node):
    """Read ``!Ref x`` as CloudFormation does, as ``{"Ref": "x"}``."""
    if node.id == "scalar":
        value = loader.construct_scalar(node)
    else:
        value = getattr(loader, f"construct_{node.id}")(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".")
    return {suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}": value}


def _read_template():
    yaml = YAML(typ="safe", pure=True)
    yaml.constructor.add_multi_constructor("!", _short_form)
    return yaml.load((ROOT / "infra" / "template.yaml").read_text(encoding="utf-8"))


TEMPLATE = _read_template()
RESOURCES = TEMPLATE["Resources"]


def _of_type(kind):
    return {name: one["Properties"] for name, one in RESOURCES.items() if one["Type"] == kind}


FUNCTIONS = _of_type("AWS::Serverless::Function")
ALARMS = _of_type("AWS::CloudWatch::Alarm")
QUEUES = _of_type("AWS::SQS::Queue")


@pytest.mark.parametrize("table", Table)
def test_a_table_is_as_the_store_makes_it(table):
    expected = table_definition(table, f"{ITS_OWN}-{table}")
    found = _of_type("AWS::DynamoDB::Table")[f"{table.capitalize()}Table"]
    assert found["TableName"] == {"Fn::Sub": expected.pop("TableName")}
    assert _sorted_attributes(found) == _sorted_attributes(expected)
    assert {name: found[name] for name in expected if name != "AttributeDefinitions"} == {
        name: value for name, value in expected.items() if name != "AttributeDefinitions"
    }
    assert found["TimeToLiveSpecification"] == {"AttributeName": FORGET_AT, "Enabled": True}


def _sorted_attributes(definition):
    return sorted(definition["AttributeDefinitions"], key=lambda one: one["AttributeName"])


def test_there_is_no_table_that_the_store_does_not_know():
    assert len(_of_type("AWS::DynamoDB::Table")) == len(Table)


def test_contracts_alone_have_a_stream():
    streams = {name for name, one in _of_type("AWS::DynamoDB::Table").items() if "StreamSpecification" in one}
    assert streams == {"ContractsTable"}


def test_each_queue_refuses_what_comes_without_tls():
    guarded = [one for policy in _of_type("AWS::SQS::QueuePolicy").values() for one in policy["Queues"]]
    assert sorted(one["Ref"] for one in guarded) == sorted(QUEUES)
    for policy in _of_type("AWS::SQS::QueuePolicy").values():
        (queue,) = policy["Queues"]
        (statement,) = policy["PolicyDocument"]["Statement"]
        assert statement["Resource"] == {"Fn::GetAtt": [queue["Ref"], "Arn"]}


def test_a_message_stays_hidden_for_six_times_as_long_as_its_function_may_take():
    for name, function in FUNCTIONS.items():
        for event in function.get("Events", {}).values():
            if event["Type"] == "SQS":
                queue = event["Properties"]["Queue"]["Fn::GetAtt"][0]
                assert QUEUES[queue]["VisibilityTimeout"] >= 6 * function["Timeout"], name


def test_the_processor_gives_up_before_its_queue_does():
    assert QUEUES["EventsQueue"]["RedrivePolicy"]["maxReceiveCount"] > PROCESS_TRIES_MAX


@pytest.mark.parametrize("name", ["EventsQueue", "WebhooksQueue"])
def test_an_outage_of_four_hours_puts_no_message_aside(name):
    queue = QUEUES[name]
    assert queue["RedrivePolicy"]["maxReceiveCount"] * queue["VisibilityTimeout"] >= OUTAGE_S


def test_each_function_has_a_role_and_a_log_of_its_own():
    for name, function in FUNCTIONS.items():
        assert function["Role"] == {"Fn::GetAtt": [f"{name}Role", "Arn"]}
        assert function["LoggingConfig"] == {"LogGroup": {"Ref": f"{name}Logs"}}
        logs = RESOURCES[f"{name}Logs"]["Properties"]["LogGroupName"]["Fn::Sub"]
        assert logs == f"/aws/lambda/{function['FunctionName']['Fn::Sub']}"
        (first, *_) = RESOURCES[f"{name}Role"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
        assert first["Resource"] == {"Fn::GetAtt": [f"{name}Logs", "Arn"]}


def test_each_function_is_a_handler_that_there_is():
    for function in FUNCTIONS.values():
        module, _, name = function["Handler"].rpartition(".")
        assert callable(getattr(importlib.import_module(module), name))


def test_the_functions_environment_is_what_the_settings_ask_for():
    given = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    marks = {"ALLOW": "false", "REQUIRE": "true", "LEVEL": "info", "CHECKERS": "2", "RATIO": "0.25"}
    values = {name: next((text for mark, text in marks.items() if mark in name), "https://x.example") for name in given}
    read = Settings.from_environment({**values, "AWS_REGION": "eu-west-1"}, data_dir=Path())
    assert given.keys() >= set(AWS_VARIABLES.values()) - {"AWS_REGION"}  # which Lambda gives
    assert (read.allow_http_webhooks, read.log_level, read.base_url) == (False, "info", "https://x.example")
    assert (read.otlp_endpoint, read.trace_ratio) == ("https://x.example", 0.25)
    source = (ROOT / "src" / "moneta" / "settings.py").read_text(encoding="utf-8")
    assert [name for name in given if f'"{name}"' not in source] == []


@pytest.mark.parametrize("stage", TEMPLATE["Parameters"]["Stage"]["AllowedValues"])
def test_what_is_reserved_leaves_an_account_its_rest(stage):
    table = TEMPLATE["Mappings"]["Concurrency"][stage]
    reserved = [one["ReservedConcurrentExecutions"] for one in FUNCTIONS.values()]
    total = sum(one if isinstance(one, int) else table[one["Fn::FindInMap"][2]] for one in reserved)
    assert total <= ACCOUNT_CONCURRENCY_MAX - UNRESERVED_MIN


def test_every_parameter_of_the_function_with_a_snapshot_is_in_its_versions_description():
    environment = {**TEMPLATE["Globals"]["Function"]["Environment"], **FUNCTIONS["Management"]}
    described = FUNCTIONS["Management"]["VersionDescription"]["Fn::Sub"]
    named = _parameters_in({name: one for name, one in environment.items() if name != "VersionDescription"})
    assert named <= set(re.findall(r"\$\{(\w+)\}", described))
    assert {"BaseUrl", "LogLevel", "OtlpEndpoint", "Stage"} <= named


def _parameters_in(value):
    match value:
        case {"Ref": str(name)}:
            found = {name}
        case {"Fn::Sub": str(text)}:
            found = set(re.findall(r"\$\{(\w+)\}", text))
        case dict():
            found = set().union(*map(_parameters_in, value.values()))
        case list():
            found = set().union(*map(_parameters_in, value))
        case _:
            found = set()
    return found & TEMPLATE["Parameters"].keys()


def test_the_artifact_is_compiled_for_the_functions_python():
    (version,) = re.findall(r'^PYTHON_VERSION.* = "(.*)"$', BUILD, re.MULTILINE)
    assert TEMPLATE["Globals"]["Function"]["Runtime"] == f"python{version}"


@pytest.mark.parametrize("name", ALARMS)
def test_each_alarm_has_an_entry_in_the_runbook(name):
    anchor = re.sub(r"(?<!^)(?=[A-Z])", "-", name.removesuffix("Alarm")).lower()
    assert ALARMS[name]["AlarmName"] == {"Fn::Sub": f"{ITS_OWN}-{anchor}"}
    assert ALARMS[name]["AlarmDescription"].endswith(f": docs/aws.md#alarm-{anchor}")
    assert f"\n### Alarm: {anchor.replace('-', ' ')}\n" in GUIDE


def test_the_runbook_has_an_entry_of_no_other_alarm():
    assert len(re.findall(r"^### Alarm: ", GUIDE, re.MULTILINE)) == len(ALARMS)


def test_the_gateway_remembers_a_token_for_no_longer_than_a_revoked_key_may_count():
    parameter = TEMPLATE["Parameters"]["AuthorizerCacheSeconds"]
    assert (parameter["Default"], parameter["MaxValue"]) == (0, AUTHORIZATION_KEPT_S_MAX)


def test_every_parameter_is_explained_in_the_guide():
    assert [name for name in TEMPLATE["Parameters"] if f"| `{name}` |" not in GUIDE] == []


def test_alarms_and_dashboard_show_figures_that_there_are():
    dashboard = json.loads(RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"])
    panels = [one for widget in dashboard["widgets"] for one in widget["properties"]["metrics"]]
    shown = {one[1] for one in panels if one[0] == "Moneta"}
    shown |= {one["MetricName"] for one in ALARMS.values() if one.get("Namespace") == "Moneta"}
    assert shown
    assert shown <= {one.shown_name for one in METRICS}


def test_the_dashboard_names_every_function_queue_and_table():
    body = RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    queues = [one["QueueName"]["Fn::Sub"] for one in QUEUES.values()]
    tables = [one["TableName"]["Fn::Sub"] for one in _of_type("AWS::DynamoDB::Table").values()]
    functions = [one["FunctionName"]["Fn::Sub"] for one in FUNCTIONS.values()]
    assert [name for name in (*queues, *tables, *functions) if f'"{name}"' not in body] == []
