"""``moneta changes`` beside a running hub that takes two: what one asks over HTTP, the other decides from the shell."""

import pytest

from moneta.client import Role, keys, registration, system_clock
from tests.running_hub import RunningHub, moneta
from tests.scenarios.test_cli import DONE, NO, run  # noqa: F401  # a fixture


class HubOfTwo(RunningHub):
    """A running hub that takes two, with a checker and one Pending organization."""

    def init(self):
        made = moneta("init", "--data", self.data, "--checkers", 2)
        assert "moneta identity add" in made.stderr
        assert moneta("identity", "add", "--data", self.data, "--role", "checker").returncode == 0

    def register(self):
        contract, auth = (keys.load_or_generate(self.data.parent / name) for name in ("contract.pem", "auth.pem"))
        offered = registration(
            Role.MO,
            name="An MO",
            code="ACME",
            webhook_url="https://mo.example/hooks",
            hub=self.url,
            auth_key=auth,
            contract_key=contract,
            now=system_clock(),
        )
        self.path = f"/organizations/mo/{self.operator().send('POST', '/organizations/mo', offered)['id']}"

    def ask(self, status="Active"):
        return self.operator().send("PUT", f"{self.path}/status", {"status": status})["change"]

    def status(self):
        return self.operator().get(self.path)["status"]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    hub = HubOfTwo(tmp_path_factory.mktemp("two") / "hub")
    hub.init()
    hub.start()
    try:
        hub.register()
        yield hub
    finally:
        hub.stop()


def test_what_waits_is_listed_shown_and_decided_at_the_store_and_over_http(run, two):  # noqa: F811  # the fixture
    checker = ("--token", run("token", "--data", two.data, "--as", "checker").out.strip(), "--url", two.url)
    first, second = two.ask(), two.ask()
    store, http = ("--data", two.data), checker
    listed = run("changes", "list", *store, "--state", "awaiting_checker", "--json")
    assert [one["id"] for one in listed.json["items"]] == [second, first]
    assert run("changes", "list", *http, "--state", "awaiting_checker", "--json").json == listed.json
    assert first in run("changes", "list", *store).out
    assert run("changes", "show", *store, first, "--json").json == listed.json["items"][1]
    own = run("changes", "approve", *store, "--as", "operator", first)
    assert (own.code, two.status()) == (NO, "Pending")
    refused = run("changes", "refuse", *http, second, "--reason", "twice", "--json")
    assert (refused.json["state"], refused.json["reason"]) == ("refused", "twice")
    approved = run("changes", "approve", *store, first, "--json")
    assert (approved.code, approved.json["state"]) == (DONE, "approved")
    assert two.status() == "Active"  # at once, for the running hub too
    late = run("changes", "approve", *http, first)
    assert (late.code, "transition_refused (409)" in late.err) == (NO, True)
    third = two.ask("Suspended")
    assert run("changes", "approve", *http, third).code == DONE
    assert two.status() == "Suspended"
