"""The settings: documented one by one, left for the operator's tools, and read from a function's environment."""

from dataclasses import fields
from pathlib import Path

import pytest
import typer

from moneta.domain.errors import MisconfiguredError
from moneta.entrypoints.cli.options import checked_otlp_endpoint
from moneta.settings import AWS_VARIABLES, TRACE_RATIO_OF_FUNCTIONS, AwsSettings, Settings, StoreKind

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_every_setting_has_its_heading():
    headings = {line.removeprefix("## ") for line in PAGE.read_text().splitlines() if line.startswith("## ")}
    assert headings == {field.name for field in fields(Settings)}


# A function's.

ENVIRONMENT = {
    "AWS_REGION": "eu-west-1",
    "MONETA_TABLE_PREFIX": "moneta-prod-",
    "MONETA_EVENTS_QUEUE_URL": "https://sqs.example/1/moneta-prod-events",
    "MONETA_WEBHOOKS_QUEUE_URL": "https://sqs.example/1/moneta-prod-webhooks",
    "MONETA_SECRET_ID": "moneta-prod-keys",
    "MONETA_ROOT_KEY_ID": "alias/moneta-prod-root",
    "MONETA_BASE_URL": "https://hub.example",
}
AWS = AwsSettings(
    region="eu-west-1",
    table_prefix="moneta-prod-",
    events_queue_url="https://sqs.example/1/moneta-prod-events",
    webhooks_queue_url="https://sqs.example/1/moneta-prod-webhooks",
    secret_id="moneta-prod-keys",  # noqa: S106  # its name
    root_key_id="alias/moneta-prod-root",
)
FOLDER = Path("scratch")


def from_environment(**changed):
    return Settings.from_environment({**ENVIRONMENT, **changed}, data_dir=FOLDER)


def test_a_functions_environment_gives_its_settings():
    expected = Settings(
        data_dir=FOLDER,
        base_url="https://hub.example",
        store=StoreKind.AWS,
        aws=AWS,
        trace_ratio=TRACE_RATIO_OF_FUNCTIONS,
    )
    assert from_environment() == expected
    assert from_environment(MONETA_ALLOW_HTTP_WEBHOOKS="", MONETA_LOG_LEVEL="") == expected
    more = from_environment(
        AWS_ENDPOINT_URL="http://127.0.0.1:4566",
        MONETA_ALLOW_HTTP_WEBHOOKS="true",
        MONETA_ALLOW_PRIVATE_WEBHOOKS="false",
        MONETA_LOG_LEVEL="debug",
        MONETA_RATE_LIMIT="7",
        MONETA_OTLP_ENDPOINT="http://127.0.0.1:4318",
        MONETA_TRACE_RATIO="0.5",
        MONETA_CHECKERS="2",
    )
    assert more.aws is not None
    assert more.aws.endpoint_url == "http://127.0.0.1:4566"
    assert (more.allow_http_webhooks, more.allow_private_webhooks) == (True, False)
    assert (more.log_level, more.rate_limit, more.checkers) == ("debug", 7, 2)
    assert (more.otlp_endpoint, more.trace_ratio) == ("http://127.0.0.1:4318", 0.5)


def test_every_variable_that_is_missing_is_named_at_once():
    with pytest.raises(MisconfiguredError) as refused:
        AwsSettings.from_environment({"AWS_REGION": "eu-west-1", "MONETA_SECRET_ID": ""})
    missing = set(AWS_VARIABLES.values()) - {"AWS_REGION"}
    assert all(variable in str(refused.value) for variable in missing)
    assert "AWS_REGION" not in str(refused.value)


@pytest.mark.parametrize(
    ("variable", "given"),
    [
        ("MONETA_BASE_URL", ""),
        ("MONETA_ALLOW_HTTP_WEBHOOKS", "yes"),
        ("MONETA_LOG_LEVEL", "loud"),
        ("MONETA_RATE_LIMIT", "-1"),
        ("MONETA_RATE_LIMIT", "\u0661"),
        ("MONETA_TRACE_RATIO", "1.1"),
        ("MONETA_TRACE_RATIO", "nan"),
        ("MONETA_TRACE_RATIO", "all"),
    ],
)
def test_a_variable_that_says_what_it_can_not_is_named(variable, given):
    with pytest.raises(MisconfiguredError, match=variable):
        from_environment(**{variable: given})


@pytest.mark.parametrize("settings", [{}, {"store": StoreKind.AWS, "aws": AWS}], ids=["embedded", "aws"])
def test_what_a_hub_was_started_with_is_read_as_it_was_saved(tmp_path, settings):
    saved = Settings(data_dir=tmp_path, port=9000, tls_cert=Path("cert.pem"), **settings)
    saved.save()
    assert Settings.last(tmp_path) == saved


@pytest.mark.parametrize("text", ["", "[]", '{"store": "x"}', '{"aws": {"x": 1}}', "\x00"])
def test_a_damaged_file_of_settings_is_named(tmp_path, text):
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(MisconfiguredError, match=r"settings\.json: can't be read"):
        Settings.last(tmp_path)


@pytest.mark.parametrize("url", ["http://[::1", "http://127.0.0.1:99999", "http://127.0.0.1:x", "127.0.0.1:4318", ""])
def test_traces_go_to_no_address_that_is_none(url):
    with pytest.raises(typer.BadParameter, match="expected a URL"):
        checked_otlp_endpoint(url)
