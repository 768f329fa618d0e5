"""Keys in files, and the tokens that they sign."""

import json
import stat

import pytest

from moneta.client import ClientError, KeyFileError, Party, Role, Tokens, keys, load_party, system_clock
from moneta.signing import tokens
from moneta.signing.statements import verify_key_proof
from tests import client_world as world
from tests.client_world import HUB, KEYS, MO, MO_ID, NOW

ALGORITHMS = ["ES256", "EdDSA", "RS256", "PS256"]


@pytest.mark.parametrize("name", ["key.pem", "key.json"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_comes_back_from_its_file(tmp_path, algorithm, name):
    path, key = tmp_path / name, keys.generate(algorithm)
    keys.save(key, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    loaded = keys.load(path, algorithm if name == "key.pem" else None)
    assert loaded.public == key.public
    key.public.verify(loaded.sign(b"x"), b"x", algorithm=algorithm)


def test_a_key_is_never_written_over_another(tmp_path):
    path = tmp_path / "key.pem"
    keys.save(KEYS["mo"], path)
    with pytest.raises(KeyFileError, match="can't write"):
        keys.save(KEYS["publisher"], path)
    assert keys.load(path).public.key_id == keys.thumbprint(KEYS["mo"])


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_reach_is_not_used(tmp_path, mode):
    path = tmp_path / "key.pem"
    keys.save(KEYS["mo"], path)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        keys.load(path)


def private_jwk(tmp_path, algorithm="ES256", **changed):
    path = tmp_path / "made.json"
    keys.save(keys.generate(algorithm), path)
    members = {**json.loads(path.read_text()), **changed}
    return json.dumps({name: value for name, value in members.items() if value is not None})


@pytest.mark.parametrize(
    "content",
    [
        lambda path: "",
        lambda path: "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        lambda path: "{",
        lambda path: "{}",
        lambda path: json.dumps(KEYS["mo"].public.jwk),
        lambda path: private_jwk(path, alg="RS256"),
        lambda path: private_jwk(path, alg=None),
        lambda path: private_jwk(path, kid="A" * 43),
        lambda path: private_jwk(path, d="!"),
        lambda path: private_jwk(path, key_ops=["sign"]),
        lambda path: " " * 20_000,
    ],
    ids=["empty", "PEM", "half", "no members", "public", "alg", "no alg", "kid", "d", "a list", "large"],
)
def test_a_file_without_an_allowed_private_key_is_refused(tmp_path, content):
    path = tmp_path / "key"
    path.write_text(content(tmp_path))
    path.chmod(0o600)
    with pytest.raises(KeyFileError):
        keys.load(path)


def test_an_absent_file_is_refused_and_can_be_made(tmp_path):
    path = tmp_path / "key.pem"
    with pytest.raises(KeyFileError, match="can't read"):
        keys.load(path)
    made = keys.load_or_generate(path)
    assert keys.load_or_generate(path).public == made.public


def test_an_unknown_algorithm_makes_no_key():
    with pytest.raises(KeyFileError, match="ES256"):
        keys.generate("HS256")


def test_a_public_jwk_shows_nothing_private():
    assert set(keys.public_jwk(KEYS["publisher"])) == {"kty", "crv", "x", "alg", "kid"}
    assert "PrivateKey" not in repr(KEYS["publisher"]) or "numbers" not in repr(KEYS["publisher"])


def test_a_key_proves_itself():
    proof = keys.key_proof(KEYS["mo"], hub=HUB, subject="AURORA", now=NOW)
    verify_key_proof(proof, KEYS["mo"].public, audience=HUB, subject="AURORA", now=NOW)


# The party.


def test_a_token_is_kept_and_renewed_in_time():
    clock = world.Clock()
    kept = Tokens(MO, clock)
    first = kept.current()
    clock.now += 479
    assert kept.current() == first
    clock.now += 1
    second = kept.current()
    assert second != first
    token = tokens.parse_token(second)
    tokens.check_times(token, audience=HUB, now=clock.now)
    tokens.verify(token, KEYS["mo auth"].public)
    assert token.subject == MO_ID


@pytest.mark.parametrize(
    "hub",
    ["hub.example", "ftp://hub.example", "https://", "https://hub.example/", "https://h.example?x=1", "https://h/#x"],
)
def test_a_base_url_that_is_none_is_refused(hub):
    with pytest.raises(ClientError, match="base URL"):
        make_party(hub)


def make_party(hub, role=Role.MO, **options):
    key = KEYS["mo"]
    return Party(organization_id=MO_ID, role=role, hub=hub, auth_key=key, contract_key=key, **options)


def test_tokens_do_not_travel_in_the_clear():
    with pytest.raises(ClientError, match="in the clear"):
        make_party("http://hub.example")
    assert make_party("http://hub.example", allows_http=True)
    assert make_party("http://[::1]:8080")
    assert make_party("https://hub.example/moneta")


def test_nobody_is_moneta():
    with pytest.raises(ClientError, match="mo or publisher"):
        make_party(HUB, Role.MONETA)


def test_a_party_shows_no_private_key():
    assert "Private" not in repr(MO).replace("PrivateKey object", "")


def test_the_real_clock_gives_whole_seconds():
    assert isinstance(system_clock(), int)
    assert system_clock() > 1_600_000_000


# The party's file.


def party_file(folder, **changed):
    for name, key in (("auth.pem", KEYS["mo auth"]), ("contract.json", KEYS["mo"])):
        keys.save(key, folder / name)
    members = {
        "organization_id": MO_ID,
        "role": "mo",
        "hub": HUB,
        "auth_key": "auth.pem",
        "contract_key": "contract.json",
        **changed,
    }
    (folder / "party.json").write_text(json.dumps({name: value for name, value in members.items() if value != 0}))
    return folder / "party.json"


def test_a_party_is_loaded_with_its_keys(tmp_path):
    party = load_party(party_file(tmp_path))
    assert (party.organization_id, party.role, party.hub) == (MO_ID, Role.MO, HUB)
    assert party.contract_key.public == KEYS["mo"].public
    assert party.auth_key.public == KEYS["mo auth"].public


@pytest.mark.parametrize(
    "changed",
    [{"role": "editor"}, {"role": 0}, {"hub": 0}, {"hub": 5}, {"more": "x"}, {"auth_key": "absent.pem"}],
    ids=["role", "no role", "no hub", "hub is a number", "one too many", "no key file"],
)
def test_a_party_file_that_says_something_else_is_refused(tmp_path, changed):
    with pytest.raises(ClientError):
        load_party(party_file(tmp_path, **changed))


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"role":"mo","role":"mo"}'])
def test_a_party_file_that_is_no_object_is_refused(tmp_path, content):
    path = tmp_path / "party.json"
    path.write_bytes(content)
    with pytest.raises(ClientError, match="not a party's file"):
        load_party(path)
    with pytest.raises(ClientError):
        load_party(tmp_path / "absent.json")


def test_a_private_jwk_that_the_library_can_not_read_is_refused(tmp_path):
    path = tmp_path / "key"
    path.write_text(json.dumps({"kty": "EC", "crv": "P-256", "alg": "ES256", "x": "A", "d": "A"}))
    path.chmod(0o600)
    with pytest.raises(KeyFileError):
        keys.load(path)
