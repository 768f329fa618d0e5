"""What ``moneta mpass`` does: show an mPass as its holder, and verify one that was shown, offline.

Verifying takes files: the presentation, the hub's keys, and the status list that the pass names. Whoever runs it says
for whom and on which occasion the pass was to be shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from moneta.client import keys
from moneta.client.clock import system_clock
from moneta.client.errors import MessageRefusedError, StatusUnavailableError
from moneta.client.mpass import VerifiedMPass, present, read_status_list, verify_mpass
from moneta.client.trust import TrustedKey
from moneta.domain.limits import CREDENTIAL_BYTES_MAX, STATUS_LIST_TOKEN_BYTES_MAX
from moneta.entrypoints.cli.failures import FAILED, NOTHING_KNOWN, CommandError
from moneta.entrypoints.cli.trust import Trust, read_trust
from moneta.signing.chain import to_json

REMEDIES: Final = {
    "unknown_key": "fetch the hub's /.well-known/jwks.json anew, over a connection that you trust",
    "invalid_proof": "have it presented again, for this --audience and --nonce",
    "credential_expired": "its holder has to get a new one",
    "mpass_not_active": "do not honour it",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How a pass was to be shown: the hub that issued it, for whom, and on which occasion."""

    hub: str
    audience: str
    nonce: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of a presentation. ``code`` None: the pass is valid."""

    text: str
    exit_code: int
    code: str | None = None
    found: VerifiedMPass | None = None

    def to_json(self) -> str:
        """Return it for a program."""
        found = self.found
        told = {
            "is_valid": found is not None,
            "code": self.code,
            "conclusion": self.text,
            "claims": None if found is None else dict(found.claims),
            "holder_kid": None if found is None else found.holder_key_id,
            "expires_at": None if found is None else found.expires_at,
            "status_at": None if found is None else found.status_at,
        }
        return to_json(told).decode()


@dataclass(frozen=True, slots=True)
class _TrustedKeys:
    trust: Trust

    def hub_key(self, key_id: str) -> TrustedKey:
        if key_id not in self.trust.hub:
            raise MessageRefusedError(f"--trust: it has no key {key_id}", code="unknown_key")
        return self.trust.hub[key_id]


def present_mpass(credential: Path, key_file: Path, disclose: Sequence[str], asked: Asked) -> str:
    """Return what the holder shows of its credential."""
    key, now = keys.load(key_file), system_clock()
    text = _read_text(credential, bytes_max=CREDENTIAL_BYTES_MAX)
    return present(text, key, disclose=disclose, audience=asked.audience, nonce=asked.nonce, issued_at=now)


def verify_presented(file: Path, asked: Asked, *, trust: Path, status_list: Path) -> Verdict:
    """Return what comes of verifying what a holder showed.

    Raises:
        CommandError: A file is not what can be verified at all.
    """
    trusted, now = _TrustedKeys(read_trust(frozenset(), trust)), system_clock()
    shown = _read_text(file, bytes_max=CREDENTIAL_BYTES_MAX)
    listed = _read_text(status_list, bytes_max=STATUS_LIST_TOKEN_BYTES_MAX)
    try:
        found = verify_mpass(
            shown,
            lambda uri: read_status_list(listed, trusted, uri=uri, now=now),
            trusted,
            issuer=asked.hub,
            audience=asked.audience,
            nonce=asked.nonce,
            now=now,
        )
    except StatusUnavailableError as error:
        return Verdict(text=f"nothing is known: {error}", exit_code=NOTHING_KNOWN, code="status_list_stale")
    except MessageRefusedError as error:
        remedy = REMEDIES.get(error.code)
        text = f"refused: {error.code}: {error.detail}" + (f"; {remedy}" if remedy else "")
        return Verdict(text=text, exit_code=FAILED, code=error.code)
    return Verdict(text=_summary(found), exit_code=0, found=found)


def _summary(found: VerifiedMPass) -> str:
    lines = [f"valid: an mPass of {found.issuer}, shown by its holder {found.holder_key_id}"]
    lines += [f"  {name}: {to_json({'': value}).decode()[4:-1]}" for name, value in found.claims.items()]
    return "\n".join(lines)


def _read_text(file: Path, *, bytes_max: int) -> str:
    with file.open("rb") as opened:
        raw = opened.read(bytes_max + 1).strip()
    if len(raw) > bytes_max or not raw.isascii():
        raise CommandError(f"{file}: expected at most {bytes_max} ASCII characters")
    return raw.decode("ascii")
