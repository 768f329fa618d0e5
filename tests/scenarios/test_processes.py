"""The hub as processes: it starts, stops, and loses nothing that it answered 202, whichever of them is killed."""

import json
import os
import signal
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import httpx
import pytest
import trustme

from moneta.client.messages import MessageType
from tests.running_hub import RunningHub, moneta, running_hub, trading, wait_until
from tests.stores import STORES

KILLS = int(os.environ.get("MONETA_KILLS", "0"))  # of each process, for a long run; 0 for the short ones
CONTRACTS = 12
THREADS = 4
STOP_S_MAX = 10
numbers = count(1)


@pytest.fixture(scope="module", params=STORES)
def hub(tmp_path_factory, request):
    with running_hub(tmp_path_factory.mktemp("processes"), store=request.param) as running:
        yield running


@pytest.fixture(scope="module")
def market(hub, tmp_path_factory):
    with trading(hub, tmp_path_factory.mktemp("market")) as made:
        yield made


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def read_store(hub, *arguments):
    """Read as an outsider would, in another process."""
    read = moneta(*arguments, *hub.read(), "--json")
    assert read.returncode == 0, read.stderr
    return json.loads(read.stdout)


def statuses(hub):
    """How every contract stands."""
    found, cursor = {}, ()
    while True:
        page = read_store(hub, "contracts", "list", "--limit", "200", *cursor)
        found.update({one["contract_id"]: one["status"] for one in page["items"]})
        if page["next_cursor"] is None:
            return found
        cursor = ("--cursor", page["next_cursor"])


def test_it_says_ready_in_one_line_and_then_it_is(hub):
    assert hub.line == f"ready http://127.0.0.1:{hub.port}\n"
    assert httpx.get(f"{hub.url}/ready").status_code == 200
    assert httpx.get(f"{hub.url}/health").status_code == 200


def test_a_second_hub_on_the_same_data_is_refused(hub):
    second = moneta("up", "--data", hub.data, "--port", "0")
    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr == f"moneta: another moneta up runs on {hub.data}; stop it first\n"


def test_an_address_in_use_is_named(tmp_path):
    moneta("init", "--data", tmp_path / "hub")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = moneta("up", "--data", tmp_path / "hub", "--port", port)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == f"moneta: 127.0.0.1:{port}: Address already in use; choose another --host or --port\n"


def test_a_directory_without_a_store_is_named_and_left_as_it_is(tmp_path):
    refused = moneta("up", "--data", tmp_path / "none")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == f"moneta: {tmp_path}/none holds no store; moneta init makes one\n"
    assert not (tmp_path / "none").exists()


def test_a_hub_that_was_stopped_by_sigterm_exits_0_and_starts_again(tmp_path):
    with running_hub(tmp_path) as hub:
        children = hub.children()
        code, duration_s = hub.stop()
        assert code == 0
        assert duration_s < STOP_S_MAX
        assert all(map(is_gone, children.values()))
        assert RunningHub(hub.data, port=hub.port).start().stop()[0] == 0


def test_ctrl_c_stops_it_too(tmp_path):
    with running_hub(tmp_path) as hub:
        hub.process.send_signal(signal.SIGINT)
        assert hub.process.wait(STOP_S_MAX) == 0
        hub.process.stdout.close()
        hub.log.close()


@pytest.mark.parametrize("name", ["web", "processor", "deliverer"])
def test_a_child_that_dies_is_started_again(hub, name):
    before = hub.child(name)
    hub.kill_child(name)
    wait_until(lambda: hub.children().get(name, before) != before)
    # The socket is the supervisor's: what connects meanwhile waits, and is answered.
    assert httpx.get(f"{hub.url}/health", timeout=30).status_code == 200
    wait_until(lambda: httpx.get(f"{hub.url}/ready", timeout=30).status_code == 200)


def descriptors_of(pid):
    return {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}


def listening_sockets(descriptors):
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = {f"socket:[{fields[9]}]" for fields in lines if fields[3] == "0A"}  # proc_pid_net(5): TCP_LISTEN
    return descriptors & listening


def test_the_supervisor_forks_from_one_thread_without_an_open_store(hub):
    assert len([*Path(f"/proc/{hub.process.pid}/task").iterdir()]) == 1
    assert not [path for path in descriptors_of(hub.process.pid) if path.startswith(f"{hub.data}/moneta.db")]


def test_only_the_web_process_and_the_supervisor_hold_the_socket(hub):
    """Else what connects to a hub that is stopping would wait in its backlog for nobody."""
    wait_until(lambda: sorted(hub.children()) == ["deliverer", "processor", "web"])
    held = {name: listening_sockets(descriptors_of(pid)) for name, pid in hub.children().items()}
    assert {name: len(sockets) for name, sockets in held.items()} == {"web": 1, "processor": 0, "deliverer": 0}
    assert held["web"] == listening_sockets(descriptors_of(hub.process.pid))


def test_the_children_of_a_killed_supervisor_stop(tmp_path):
    with running_hub(tmp_path) as hub:
        children = hub.kill()
        assert sorted(children) == ["deliverer", "processor", "web"]
        wait_until(lambda: all(map(is_gone, children.values())), timeout_s=STOP_S_MAX)


def kill(hub, name):
    """Kill one process; return the hub that runs afterwards."""
    if name == "supervisor":
        hub.kill()
        hub.start()  # on the same port, which its web process may still be leaving
    else:
        hub.kill_child(name)


def killed_under_load(hub, market, name, *, cycles):
    """Send contracts while ``name`` is killed again and again; return those that were answered 202."""
    contract_ids = [f"killed-{name}-{next(numbers)}" for _ in range(CONTRACTS * cycles)]
    with ThreadPoolExecutor(THREADS) as pool:
        sent = [pool.submit(market.submit, contract_id) for contract_id in contract_ids]
        for cycle in range(1, cycles + 1):
            wait_until(lambda enough=cycle * CONTRACTS // 2: sum(one.done() for one in sent) >= enough)
            kill(hub, name)
        return [one.result().contract_id for one in sent]


@pytest.mark.parametrize(
    ("name", "cycles"),
    [
        ("web", 1),
        ("processor", 1),
        ("deliverer", 1),
        ("supervisor", 1),
        pytest.param("web", KILLS or 5, marks=pytest.mark.slow),
        pytest.param("processor", KILLS or 4, marks=pytest.mark.slow),
        pytest.param("deliverer", KILLS or 4, marks=pytest.mark.slow),
        pytest.param("supervisor", KILLS or 4, marks=pytest.mark.slow),
    ],
)
def test_what_was_answered_202_ends_exactly_once_whatever_is_killed(hub, market, name, cycles):
    accepted = killed_under_load(hub, market, name, cycles=cycles)
    assert len(accepted) == CONTRACTS * cycles
    wait_until(lambda: {(one, "finalized") for one in accepted} <= statuses(hub).items(), timeout_s=90 + KILLS)
    operator = hub.operator()
    for contract_id in accepted:
        shown = operator.get(f"/contracts/{contract_id}")
        events = [line["event"] for line in shown["event_logs"]]
        assert events.count("contract_finalized") == 1
        assert [*shown["signatures_map"]] == ["mo", "moneta", "publisher"]
        event = operator.get(f"/events/submit-{contract_id}", source=market.mo.organization_id)
        assert event["status"] == "processed"
    for trader in (market.mo, market.publisher):
        wait_until(lambda one=trader: {subject for subject, kind, _ in one.told} >= {*accepted}, timeout_s=60 + KILLS)
        ends = [webhook_id for subject, kind, webhook_id in trader.told if subject in accepted]
        assert len(ends) == len(set(ends)) == len(accepted)  # one message an end, heard once
        assert all(kind is MessageType.FINALIZED for subject, kind, _ in trader.told if subject in accepted)


def test_sigterm_under_load_exits_0_in_time_and_what_was_answered_202_is_there(tmp_path):
    with running_hub(tmp_path) as hub, trading(hub, tmp_path / "market") as market:
        contract_ids = [f"drained-{number}" for number in range(100)]
        accepted = []

        def send(contract_id):
            accepted.append(market.submit(contract_id).contract_id)

        with ThreadPoolExecutor(THREADS) as pool:
            sent = [pool.submit(send, contract_id) for contract_id in contract_ids]
            wait_until(lambda: len(accepted) >= THREADS)
            code, duration_s = hub.stop()
            for one in sent:
                one.cancel()
            hub.start()  # those that were under way are sent again, and end the sooner
        assert code == 0
        assert duration_s < STOP_S_MAX
        operator = hub.operator()
        for contract_id in accepted:
            event = operator.get(f"/events/submit-{contract_id}", source=market.mo.organization_id)
            assert event["status"] in {"accepted", "processed"}


def test_it_serves_tls_with_a_certificate_of_its_own(tmp_path):
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with running_hub(tmp_path, "--tls-cert", str(cert), "--tls-key", str(key)) as hub:
        assert hub.url == f"https://127.0.0.1:{hub.port}"
        assert httpx.get(f"{hub.url}/ready", verify=context).status_code == 200
