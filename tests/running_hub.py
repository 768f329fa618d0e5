"""A real ``moneta up`` in processes of its own, and a trading pair of parties for it, in the test's own process.

On either store (``stores``); that on AWS needs the emulators (``make test-aws``).
"""

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock

from moneta.client import (
    HubClient,
    HubUnreachableError,
    Keyring,
    Later,
    Party,
    Receiver,
    Role,
    Sign,
    Verifier,
    WebhookServer,
    build_contract,
    build_event,
    keys,
    registration,
    sign_first,
    system_clock,
)
from moneta.client.caller import Caller
from moneta.domain.identifiers import OrganizationId
from tests.emulated import emulator_url
from tests.emulators import Urls

START_S_MAX = 60
STOP_S_MAX = 10
COMMAND_S_MAX = 60
SENDS_MAX = 10
CHILD = re.compile(r"hub-(web|processor|deliverer)\n")
CODES = {Role.MO: "MOA", Role.PUBLISHER: "PUBA"}


def moneta(*arguments, **options):
    """Run one command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "moneta", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=COMMAND_S_MAX,
        check=False,
        **options,
    )


class RunningHub:
    """``moneta up`` on a data directory, until ``stop`` or ``kill``."""

    environment = None

    def __init__(self, data, *options, port=0):
        self.data, self.options, self.port = data, options, port

    def init(self):
        """Make it; return the line that names its key."""
        made = moneta("init", "--data", self.data)
        assert made.returncode == 0, made.stderr
        return made.stdout

    def start(self):
        self.log = (self.data.parent / f"{self.data.name}.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "moneta", "up", "--data", self.data, "--port", str(self.port), *self.options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=self.environment,
        )
        started = time.monotonic()
        self.line = self.process.stdout.readline().decode()
        self.start_s = time.monotonic() - started
        assert self.line.startswith("ready "), Path(self.log.name).read_text(encoding="utf-8")
        self.url = self.line.split()[1]
        self.port = int(self.url.rpartition(":")[2])
        return self

    def stop(self):
        """Ask it to stop; return its exit code and how long it took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(STOP_S_MAX + 5)
        self._close()
        return code, time.monotonic() - started

    def kill(self):
        """End the supervisor as a crash would; its children have to notice."""
        children = self.children()
        self.process.kill()
        self.process.wait()
        self._close()
        return children

    def children(self):
        """The pids of the child processes, by name."""
        found = {}
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            for pid in (task / "children").read_text().split():
                with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                    match = CHILD.fullmatch(Path(f"/proc/{pid}/comm").read_text())
                    if match:
                        found[match[1]] = int(pid)
        return found

    def child(self, name):
        """The pid of a child process, once it is there."""
        found = {}
        wait_until(lambda: found.update(self.children()) or name in found)
        return found[name]

    def kill_child(self, name):
        pid = self.child(name)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: self.children().get(name) != pid)

    def operator(self):
        token = self.operator_token()
        return Caller(self.url, lambda: token)

    def operator_token(self):
        return moneta("token", "--data", self.data).stdout.strip()

    def read(self):
        """The options with which a command reads this hub from outside: the store itself, if that is in a folder."""
        return "--data", self.data

    def _close(self):
        self.process.stdout.close()
        self.log.close()


class RunningHubOnAWS(RunningHub):
    """``moneta up --store aws`` over emulators, with tables, queues and keys of its own."""

    def __init__(self, data, *options, port=0):
        urls = Urls(dynamodb=emulator_url("MONETA_DYNAMODB_URL"), ministack=emulator_url("MONETA_MINISTACK_URL"))
        self.environment = {**os.environ, **urls.environment()}
        self.prefix = f"up-{uuid.uuid4().hex[:12]}-"
        self.operator_key = data.parent / "operator.pem"
        super().__init__(data, "--store", "aws", "--table-prefix", self.prefix, *options, port=port)

    def init(self):
        told = ("--table-prefix", self.prefix, "--base-url", "http://127.0.0.1", "--operator-key", self.operator_key)
        made = moneta("aws", "init", "--local", *told, env=self.environment)
        assert made.returncode == 0, made.stderr
        return made.stdout.splitlines()[0]

    def operator_token(self):
        return moneta("token", "--key", self.operator_key, "--as", "operator", "--url", self.url).stdout.strip()

    def read(self):
        return "--url", self.url, "--token", self.operator_token()


@contextmanager
def running_hub(folder, *options, store="embedded"):
    """Give a new hub that takes webhooks to this machine; it is stopped at the end, if the test has not."""
    kind = {"embedded": RunningHub, "aws": RunningHubOnAWS}[store]
    hub = kind(folder / "hub", "--allow-http-webhooks", "--allow-private-webhooks", *options)
    hub.hub_key = hub.init().removeprefix("hub key ").strip()
    hub.start()
    try:
        yield hub
    finally:
        if hub.process.poll() is None:
            hub.stop()


class Trader:
    """A registered, active party with a webhook receiver that signs whatever it is asked to while ``signs``."""

    def __init__(self, hub, role, folder):
        self.role, self.folder = role, folder
        folder.mkdir(parents=True)
        self.key_file, self.auth_key_file = folder / "contract.pem", folder / "auth.pem"
        key, auth_key = keys.load_or_generate(self.key_file), keys.load_or_generate(self.auth_key_file)
        operator = hub.operator()
        path = f"/organizations/{role}"
        offered = registration(
            role,
            name=f"Trader {role}",
            code=CODES[role],
            webhook_url="https://not-yet.invalid/",
            hub=hub.url,
            auth_key=auth_key,
            contract_key=key,
            now=system_clock(),
        )
        made = operator.send("POST", path, offered)
        self.organization_id = str(made["id"])
        operator.send("PUT", f"{path}/{self.organization_id}/status", {"status": "Active"})
        self.party = Party(
            organization_id=OrganizationId(self.organization_id),
            role=role,
            hub=hub.url,
            auth_key=auth_key,
            contract_key=key,
        )
        self.client = HubClient(self.party)
        self.told = []
        self.signs = True
        self._lock = Lock()
        verifier = Verifier(self.party, Keyring(self.client.caller.get))
        receiver = Receiver(verifier, secrets=[str(made["webhook_secret"])], decide=self._decide, notice=self._notice)
        self.server = WebhookServer(receiver)
        self.client.caller.send("PUT", f"{path}/{self.organization_id}", {"metadata": {"webhook_url": self.server.url}})

    def _decide(self, _contract):
        return Sign() if self.signs else Later()

    def _notice(self, message):
        with self._lock:
            self.told.append((message.subject, message.type, message.webhook_id))

    def issue_mpass(self):
        issued = self.client.caller.send("POST", "/mpass", {"mo_id": self.organization_id, "member_ref": "member-1"})
        self.client.caller.send("PUT", f"/mpass/{issued['id']}/status", {"status": "Active"})
        return str(issued["id"])


class Market:
    """An MO and a publisher at a running hub."""

    def __init__(self, hub, folder):
        self.mo = Trader(hub, Role.MO, folder / "mo")
        self.publisher = Trader(hub, Role.PUBLISHER, folder / "publisher")
        self.mpass_id = self.mo.issue_mpass()

    def body(self, contract_id, **members):
        given = {"mpass_id": self.mpass_id, **members}
        return build_contract(
            template_id="transaction-contract",
            version=1,
            contract_id=contract_id,
            payload={"transaction": {"amount": "100.00", "currency": "USD"}},
            created_at=system_clock(),
            mo_id=self.mo.organization_id,
            publisher_id=self.publisher.organization_id,
            **given,
        )

    def submit(self, contract_id):
        """Send a contract of the MO's, the same bytes again while there is no answer."""
        now = system_clock()
        signed = sign_first(self.body(contract_id), self.mo.party, issued_at=now)
        event = build_event(self.mo.party, "submit", signed, now=now, event_id=f"submit-{contract_id}")
        for _ in range(SENDS_MAX - 1):
            with suppress(HubUnreachableError):
                return self.mo.client.post(event)
        return self.mo.client.post(event)


@contextmanager
def trading(hub, folder):
    """Give a market whose receivers are open."""
    market = Market(hub, folder)
    with market.mo.server, market.publisher.server:
        yield market


def wait_until(is_so, timeout_s=30):
    """Return once ``is_so()``; fail if it is not in time."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(0.02)
