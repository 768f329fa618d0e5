"""``moneta mpass``: what a holder shows verifies from files alone; what does not is named, with what to do."""

import json
import time

import pytest

from moneta.client import keys
from moneta.entrypoints.cli.main import main
from moneta.signing.sd_jwt import make_credential
from moneta.signing.status_list import make_status_list, pack_statuses
from tests.signing_examples import HUB, key_of

HUB_KEY, HOLDER = key_of("ES256", "moneta"), key_of("ES256", "holder")
URI = f"{HUB}/status-lists/mo-1.0"
ASKED = ("--audience", "publisher-1", "--nonce", "nonce-1")


class Desk:
    """The files of a holder and of a publisher, and the command."""

    def __init__(self, folder, capsys):
        self.folder, self.capsys, self.now = folder, capsys, int(time.time())
        keys.save(HOLDER, self.path("holder.pem"))
        self.write("trust.json", json.dumps({"keys": [dict(HUB_KEY.public.jwk)]}))
        self.write("pass.txt", self.credential())
        self.write_list({})

    def path(self, name):
        return self.folder / name

    def write(self, name, text):
        self.path(name).write_text(text + "\n", encoding="utf-8")

    def write_list(self, statuses, *, issued_at=None):
        packed = pack_statuses(statuses, bits=2, places=65_536)
        token = make_status_list(HUB_KEY, packed, bits=2, uri=URI, issued_at=issued_at or self.now)
        self.write("list.jwt", token)

    def credential(self):
        return make_credential(
            HUB_KEY,
            issuer=HUB,
            issued_at=self.now,
            expires_at=self.now + 1000,
            holder_jwk=HOLDER.public.jwk,
            status_uri=URI,
            status_index=7,
            disclosable={"number": "ACME1", "mo": {"mic": "ACME"}},
            salts=[bytes(16), bytes(16)],
        )

    def run(self, *words):
        """Return the exit code, and what was printed."""
        with pytest.raises(SystemExit) as ended:
            main(["mpass", *map(str, words)])
        printed = self.capsys.readouterr()
        return int(ended.value.code or 0), printed.out + printed.err

    def present(self, *claims):
        chosen = [word for claim in claims for word in ("--disclose", claim)]
        code, text = self.run("present", self.path("pass.txt"), "--key", self.path("holder.pem"), *chosen, *ASKED)
        assert code == 0, text
        self.write("shown.txt", text.strip())

    def verify(self, *more, asked=ASKED):
        files = ("--trust", self.path("trust.json"), "--status-list", self.path("list.jwt"))
        return self.run("verify", self.path("shown.txt"), "--hub", HUB, *files, *asked, *more)


@pytest.fixture
def desk(tmp_path, capsys):
    return Desk(tmp_path, capsys)


def test_what_its_holder_shows_is_valid(desk):
    desk.present("number", "mo")
    code, text = desk.verify()
    assert code == 0
    assert text.splitlines() == [
        f"valid: an mPass of {HUB}, shown by its holder {HOLDER.public.key_id}",
        '  number: "ACME1"',
        '  mo: {"mic":"ACME"}',
    ]


def test_a_program_reads_the_same(desk):
    desk.present("number")
    code, text = desk.verify("--json")
    told = json.loads(text)
    assert (code, told["is_valid"], told["code"], told["claims"]) == (0, True, None, {"number": "ACME1"})
    assert (told["holder_kid"], told["status_at"]) == (HOLDER.public.key_id, desk.now)


def stale(desk):
    desk.write_list({}, issued_at=desk.now - 3600)


def revoked(desk):
    desk.write_list({7: 1})


def strange_hub(desk):
    desk.write("trust.json", json.dumps({"keys": [dict(key_of("ES256", "stranger").public.jwk)]}))


def unbound(desk):
    desk.write("shown.txt", desk.credential())


def no_credential(desk):
    desk.write("shown.txt", "hello")


SPOILT = {
    "a list that has ended": (stale, 3, "status_list_stale", "fetch it again"),
    "a revoked pass": (revoked, 1, "mpass_not_active", "do not honour it"),
    "a key that nobody knows": (strange_hub, 1, "unknown_key", "jwks.json"),
    "nobody who presents it": (unbound, 1, "invalid_proof", "have it presented again"),
    "no credential": (no_credential, 1, "malformed_jws", "refused: malformed_jws"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_what_is_not_valid_is_named_with_what_to_do(desk, case):
    spoil, expected, code, words = SPOILT[case]
    desk.present()
    spoil(desk)
    assert desk.verify()[0] == expected
    assert words in desk.verify()[1]
    told = json.loads(desk.verify("--json")[1])
    assert (told["is_valid"], told["code"], told["claims"]) == (False, code, None)


def test_a_presentation_for_another_is_refused(desk):
    desk.present()
    assert desk.verify(asked=("--audience", "publisher-2", "--nonce", "nonce-1"))[0] == 1
    assert desk.verify(asked=("--audience", "publisher-1", "--nonce", "nonce-2"))[0] == 1


def test_a_file_that_can_be_none_is_not_read_to_its_end(desk):
    desk.write("pass.txt", "x" * 100_000)
    code, text = desk.run("present", desk.path("pass.txt"), "--key", desk.path("holder.pem"), *ASKED)
    assert (code, "expected at most" in text) == (1, True)


def test_what_a_pass_does_not_have_can_not_be_shown(desk):
    code, text = desk.run(
        *("present", desk.path("pass.txt"), "--key", desk.path("holder.pem"), "--disclose", "tier", *ASKED)
    )
    assert (code, "can't disclose tier" in text) == (1, True)
