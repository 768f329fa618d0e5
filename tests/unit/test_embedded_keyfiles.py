"""Key files: private, whole, and never overwritten."""

import json
import os
import stat

import pytest

from moneta.adapters.embedded.keyfiles import (
    SEALING_KEY_FILE,
    FileSealer,
    KeyFileError,
    read_private_file,
    replace_private_file,
    write_private_file,
)
from moneta.adapters.embedded.signing_key_files import (
    SIGNING_KEYS_FILE,
    SigningKeyFiles,
    make_first_key,
    rotate_key,
)
from moneta.adapters.signing_keys import RotatingSigner
from moneta.adapters.system import SystemClock, SystemRandomness
from moneta.application.ports import PublishedKey
from moneta.domain.identifiers import is_uuid4
from moneta.domain.limits import SIGNING_PERIOD_S
from moneta.signing.keys import generate

BEGIN = 1_795_000_000
PERIOD = {"not_before": BEGIN, "expires_at": BEGIN + SIGNING_PERIOD_S}


def signer_on(folder):
    return RotatingSigner(SigningKeyFiles(folder, SystemClock()).now, SystemClock())


@pytest.fixture
def signer(tmp_path):
    make_first_key(tmp_path, now=BEGIN)
    return signer_on(tmp_path)


def pem_of(folder):
    (path,) = folder.glob("signing-*.pem")
    return path


# Private files.


def test_a_private_file_is_its_owners_alone(tmp_path):
    path = tmp_path / "key"
    old_mask = os.umask(0)
    write_private_file(path, b"secret")
    os.umask(old_mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_private_file(path) == b"secret"
    assert [one.name for one in tmp_path.iterdir()] == ["key"]


def test_a_private_file_is_never_overwritten(tmp_path):
    write_private_file(tmp_path / "key", b"first")
    with pytest.raises(FileExistsError):
        write_private_file(tmp_path / "key", b"second")
    assert read_private_file(tmp_path / "key") == b"first"
    assert [one.name for one in tmp_path.iterdir()] == ["key"]


def test_a_list_takes_the_place_of_another_whole_and_its_owners_alone(tmp_path):
    path = tmp_path / "list"
    for content in (b"first", b"second"):
        replace_private_file(path, content)
        assert (stat.S_IMODE(path.stat().st_mode), read_private_file(path)) == (0o600, content)
    assert [one.name for one in tmp_path.iterdir()] == ["list"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601, 0o777], ids=oct)
def test_a_file_that_others_can_reach_is_refused_by_name(tmp_path, mode):
    path = tmp_path / "key"
    write_private_file(path, b"secret")
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=f"key: expected mode 0600, got {mode:04o}") as refusal:
        read_private_file(path)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("mode", [0o600, 0o400], ids=oct)
def test_a_stricter_mode_is_fine(tmp_path, mode):
    path = tmp_path / "key"
    write_private_file(path, b"secret")
    path.chmod(mode)
    assert read_private_file(path) == b"secret"


def test_what_is_no_file_of_its_own_is_refused(tmp_path):
    write_private_file(tmp_path / "key", b"secret")
    (tmp_path / "link").symlink_to(tmp_path / "key")
    (tmp_path / "folder").mkdir(mode=0o700)
    for name, why in (("missing", "can't be opened"), ("link", "can't be opened"), ("folder", "regular file")):
        with pytest.raises(KeyFileError, match=why):
            read_private_file(tmp_path / name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_another_users_file_is_refused(tmp_path):
    path = tmp_path / "key"
    write_private_file(path, b"secret")
    os.chown(path, 12345, 12345)
    with pytest.raises(KeyFileError, match="got one of 12345"):
        read_private_file(path)


# The signing key.


def test_the_signing_key_is_es256_and_signs_what_its_public_half_verifies(signer):
    assert signer.current().public.algorithm == "ES256"
    signer.current().public.verify(signer.current().sign(b"message"), b"message", algorithm="ES256")


def test_the_key_is_published_with_its_period(signer):
    assert list(signer.published()) == [PublishedKey(public=signer.current().public, **PERIOD)]


def test_the_same_key_is_opened_again(signer, tmp_path):
    opened = signer_on(tmp_path)
    assert (opened.current().public.key_id, opened.published()) == (signer.current().public.key_id, signer.published())
    opened.current().public.verify(opened.current().sign(b"message"), b"message", algorithm="ES256")


def test_the_private_half_is_pkcs8_in_a_file_named_by_its_kid(signer, tmp_path):
    assert pem_of(tmp_path).name == f"signing-{signer.current().public.key_id}.pem"
    assert pem_of(tmp_path).read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
    assert b'"d"' not in (tmp_path / SIGNING_KEYS_FILE).read_bytes()


def test_a_signing_key_is_made_once(signer, tmp_path):
    make_first_key(tmp_path, now=BEGIN + 1)
    assert signer_on(tmp_path).current().public.key_id == signer.current().public.key_id


def test_retired_keys_stay_published_without_their_private_half(signer, tmp_path):
    path = tmp_path / SIGNING_KEYS_FILE
    old = generate("ES256").public
    entries = json.loads(path.read_bytes())
    entries.append({"jwk": dict(old.jwk), "nbf": 1_700_000_000, "exp": 1_750_000_000, "revoked_at": 1_740_000_000})
    path.write_bytes(json.dumps(entries).encode())
    assert [(key.public.key_id, key.revoked_at) for key in signer_on(tmp_path).published()] == [
        (signer.current().public.key_id, None),
        (old.key_id, 1_740_000_000),
    ]


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"[{}]", b'[{"jwk":{"kty":"EC"},"nbf":1,"exp":2}]', b"\xff"])
def test_a_list_of_keys_that_is_none_is_refused(signer, tmp_path, content):
    (tmp_path / SIGNING_KEYS_FILE).write_bytes(content)
    with pytest.raises(KeyFileError, match=SIGNING_KEYS_FILE):
        signer_on(tmp_path)


def test_a_private_key_that_is_not_the_published_one_is_refused(signer, tmp_path):
    pem_of(tmp_path).write_bytes(generate("ES256").to_pem())
    with pytest.raises(KeyFileError, match=f"expected the key {signer.current().public.key_id}"):
        signer_on(tmp_path)


def test_a_pem_that_holds_no_key_is_refused(signer, tmp_path):
    pem_of(tmp_path).write_bytes(b"-----BEGIN NOTHING-----")
    with pytest.raises(KeyFileError, match="not an unencrypted private key"):
        signer_on(tmp_path)


@pytest.mark.parametrize("name", [SIGNING_KEYS_FILE, "signing-*.pem"])
def test_a_signing_key_that_others_could_read_is_refused(signer, tmp_path, name):
    (path,) = tmp_path.glob(name)
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="expected mode 0600"):
        signer_on(tmp_path)


def test_without_a_signing_key_there_is_no_signer(tmp_path):
    with pytest.raises(KeyFileError, match=SIGNING_KEYS_FILE):
        signer_on(tmp_path)


def test_a_running_process_takes_a_rotation_up_and_what_was_compromised_signs_no_more(signer, tmp_path):
    now = SystemClock().now_ms() // 1000
    old = signer.current().public.key_id
    waiting = rotate_key(tmp_path, now=now, is_compromised=False).key.public.key_id
    assert [one.public.key_id for one in signer.published()] == [old, waiting]
    new = rotate_key(tmp_path, now=now, is_compromised=True).key.public.key_id
    assert [one.public.key_id for one in signer.published()] == [new, waiting, old]
    assert signer.current().public.key_id == new


def test_a_running_process_whose_list_can_not_be_read_signs_nothing_and_goes_on_when_it_can(signer, tmp_path):
    path = tmp_path / SIGNING_KEYS_FILE
    path.rename(tmp_path / "away")
    for use in (signer.current, signer.published):
        with pytest.raises(KeyFileError, match="can't be opened"):
            use()
    (tmp_path / "away").rename(path)
    signer.current()


def test_a_list_is_read_once_however_often_is_signed(signer, tmp_path):
    pem_of(tmp_path).unlink()
    for _ in range(3):
        signer.current().sign(b"message")


def test_a_rotation_without_the_key_that_signs_changes_nothing(signer, tmp_path):
    pem_of(tmp_path).rename(tmp_path / "away")
    before = (tmp_path / SIGNING_KEYS_FILE).read_bytes()
    with pytest.raises(KeyFileError, match=f"signing-{signer.current().public.key_id}"):
        rotate_key(tmp_path, now=BEGIN + 1, is_compromised=False)
    assert (tmp_path / SIGNING_KEYS_FILE).read_bytes() == before
    assert not list(tmp_path.glob("signing-*.pem"))


# The sealing key.


@pytest.mark.parametrize("plain", [b"", b"secret", bytes(1000)], ids=len)
def test_what_was_sealed_is_unsealed(tmp_path, plain):
    sealed = FileSealer.create(tmp_path).seal(plain)
    assert plain == b"" or plain not in sealed
    assert FileSealer(tmp_path).unseal(sealed) == plain


def test_the_same_secret_is_never_sealed_alike(tmp_path):
    sealer = FileSealer.create(tmp_path)
    assert sealer.seal(b"secret") != sealer.seal(b"secret")


def test_what_was_changed_is_not_unsealed(tmp_path):
    sealer = FileSealer.create(tmp_path)
    sealed = sealer.seal(b"secret")
    changed = [sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :] for place in range(len(sealed))]
    for one in (*changed, *(sealed[:size] for size in range(len(sealed))), sealed + b"\x00"):
        with pytest.raises(ValueError, match="not sealed by this hub"):
            sealer.unseal(one)


def test_another_hubs_seal_is_not_opened(tmp_path):
    (tmp_path / "other").mkdir()
    sealed = FileSealer.create(tmp_path / "other").seal(b"secret")
    with pytest.raises(ValueError, match="not sealed by this hub"):
        FileSealer.create(tmp_path).unseal(sealed)


def test_a_sealing_key_is_made_once_and_must_be_whole(tmp_path):
    FileSealer.create(tmp_path)
    with pytest.raises(FileExistsError):
        FileSealer.create(tmp_path)
    (tmp_path / SEALING_KEY_FILE).write_bytes(b"short")
    with pytest.raises(KeyFileError, match="expected 32 bytes, got 5"):
        FileSealer(tmp_path)


# The system.


def test_the_systems_generator_gives_what_nobody_guesses():
    randomness = SystemRandomness()
    assert len(randomness.token(32)) == 32
    assert randomness.token(16) != randomness.token(16)
    assert is_uuid4(randomness.uuid4())


def test_the_systems_clock_counts_milliseconds():
    first, second = SystemClock().now_ms(), SystemClock().now_ms()
    assert 1_790_000_000_000 < first <= second < 10_000_000_000_000
