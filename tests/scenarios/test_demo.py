"""The demo: what it promises is true, its judge believes nothing, and it leaves nothing behind."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from moneta.application import queries
from moneta.application.documents import to_json
from moneta.entrypoints.demo.judge import Judge, UnprovenError
from moneta.entrypoints.demo.plan import KINDS, ORDERS, make_plan
from tests.running_hub import moneta
from tests.scenarios.play import Play
from tests.scenarios.test_cli_verify import CANCELLED, DECLINED, EXPIRED, FINALIZED, PENDING, TAMPERED, changed
from tests.scenarios.test_signing_flow import CAMPAIGN
from tests.signing_examples import key_of

LAST_LINE = re.compile(
    r"demo: 200 contracts, (\d+) finalized, (\d+) declined, (\d+) cancelled, (\d+) expired, "
    r"(\d+) refused as they must be, 0 wrong"
)
DEMO_S_MAX = 240


def ended(house, *words, template="transaction-contract", **members):
    """A contract's document, and a judge who knows its parties."""
    game = Play(house, template, **members)
    for word in words:
        assert game.does(word) == "processed"
    judge = Judge(
        hub=house.hub.base_url,
        parties={role: party.organization_id for role, party in game.parties.items()},
        keys={
            "moneta": house.hub.signer.current().public.jwk,
            **{role: party.key.public.jwk for role, party in game.parties.items()},
        },
        orders=ORDERS,
    )
    return json.loads(to_json(queries.contract_document(house.hub, game.contract))), judge


@pytest.mark.parametrize(
    ("words", "outcome", "signatures"),
    [
        (FINALIZED, "finalized", 3),
        (DECLINED, "declined", 2),
        (CANCELLED, "cancelled", 2),
        (EXPIRED, "expired", 2),
    ],
)
def test_the_judge_finds_every_end_proven(house, words, outcome, signatures):
    members = {"expires_at": house.hub.now_s() + 600} if words is EXPIRED else {}
    document, judge = ended(house, *words, **members)
    assert judge.check(document, contract_id="contract-1", outcome=outcome) == signatures


def test_the_judge_finds_a_step_in_parallel_proven(house):
    campaign = {"mpass_id": None, "payload": CAMPAIGN}
    document, judge = ended(house, *FINALIZED, template="joint-campaign-agreement", **campaign)
    assert judge.check(document, contract_id="contract-1", outcome="finalized") == 3


SHOWN_ONLY = ("payload.", "signatures_map", "publisher_id", "template_id", "version", "created_at", "next_signers")


@pytest.mark.parametrize("what", [what for what, (path, *_) in TAMPERED.items() if not path.startswith(SHOWN_ONLY)])
def test_the_judge_refuses_whatever_is_changed(house, what):
    path, value, _ = TAMPERED[what]
    document, judge = ended(house, *FINALIZED)
    with pytest.raises(UnprovenError):
        judge.check(changed(document, path, value), contract_id="contract-1", outcome="finalized")


@pytest.mark.parametrize(
    ("words", "outcome"), [(FINALIZED, "declined"), (DECLINED, "finalized"), (PENDING, "finalized")]
)
def test_the_judge_refuses_another_outcome(house, words, outcome):
    document, judge = ended(house, *words)
    with pytest.raises(UnprovenError):
        judge.check(document, contract_id="contract-1", outcome=outcome)


@pytest.mark.parametrize("role", ["mo", "moneta", "publisher"])
def test_the_judge_believes_no_other_key(house, role):
    document, judge = ended(house, *FINALIZED)
    judge.keys[role] = key_of("ES256", "other").public.jwk
    with pytest.raises(UnprovenError, match=f"{role} kid"):
        judge.check(document, contract_id="contract-1", outcome="finalized")


def test_the_judge_uses_nothing_of_the_hubs_own():
    script = (
        "import sys, moneta.entrypoints.demo.judge; print([name for name in sys.modules if name.startswith('moneta.')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "['moneta.entrypoints', 'moneta.entrypoints.demo', 'moneta.entrypoints.demo.judge']\n"


def test_the_plan_has_every_kind_that_was_asked_for():
    plan = make_plan()
    assert len({one.contract_id for one in plan}) == len(plan) == 200
    assert {kind.starter for kind in KINDS if kind.outcome == "finalized"} == {"mo", "publisher"}
    assert {kind.outcome for kind in KINDS} == {"finalized", "declined", "cancelled", "expired", "refused"}
    assert sum(kind.count for kind in KINDS if kind.outcome == "finalized") >= 50


@pytest.mark.slow
def test_the_demo_plays_200_contracts_and_none_goes_wrong(tmp_path):
    kept = tmp_path / "kept"
    done = subprocess.run(
        [sys.executable, "-m", "moneta", "demo", "--keep", kept],
        capture_output=True,
        text=True,
        timeout=DEMO_S_MAX,
        check=False,
    )
    last = done.stdout.splitlines()[-1]
    counts = LAST_LINE.fullmatch(last)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sum(map(int, counts.groups())) == 200
    assert int(counts[1]) >= 50
    listed = moneta("contracts", "list", "--data", kept, "--status", "finalized", "--limit", "200", "--json")
    assert listed.returncode == 0, listed.stderr
    assert len(json.loads(listed.stdout)["items"]) == int(counts[1])
    running = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(kept) in read(path)]
    assert running == []


def read(path):
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""  # it has ended meanwhile
