"""The guided ``orgs onboard``: what an operator does to take an organization in, checked as it goes.

Everything that it asks for is an option too. Nothing is sent before the plan was shown and agreed to.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import typer

from moneta import bootstrap
from moneta.application.documents import to_json
from moneta.bootstrap import data_directory
from moneta.domain.errors import InvalidProofError, Refused
from moneta.domain.identifiers import UnixSeconds
from moneta.domain.ijson import Value
from moneta.domain.keys import KeyUse
from moneta.domain.organizations import OrganizationKind, OrganizationStatus, check_code
from moneta.entrypoints.cli import directory, reading
from moneta.entrypoints.cli.failures import CommandError
from moneta.entrypoints.cli.reading import Place
from moneta.signing.keys import parse_public_jwk
from moneta.signing.statements import verify_key_proof

SECRET_MODE: Final = 0o600

Members = Mapping[str, Value]
Check = Callable[["Candidate"], str]
"""Returns what is well; raises CommandError with what is not, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Who is to be taken in, and where. ``base_url``: what the proofs of its keys must be for."""

    where: Place
    kind: OrganizationKind
    members: Members
    base_url: str

    @property
    def code(self) -> str:
        """Its MIC or MPC."""
        return str(self.members.get(directory.CODE_MEMBERS[self.kind]))

    @property
    def keys(self) -> list[Mapping[str, Any]]:
        """The keys that it offers."""
        keys = self.members.get("keys")
        return [key for key in keys if isinstance(key, dict)] if isinstance(keys, list) else []


def checks(candidate: Candidate) -> Iterator[str]:
    """Give a line for each thing that is well, as soon as it is known.

    Raises:
        CommandError: The first that is not.
    """
    for check in _CHECKS:
        yield check(candidate)


def plan(candidate: Candidate, *, activates: bool) -> list[str]:
    """Return what will be done, in order."""
    metadata = candidate.members.get("metadata")
    url = metadata.get("webhook_url") if isinstance(metadata, dict) else None
    steps = [
        f"register {candidate.members.get('name')} as {candidate.kind}, code {candidate.code}, for good",
        *(f"register the key {key['jwk'].get('kid', '')} for {' and '.join(key['use'])}" for key in candidate.keys),
        f"send its webhooks to {url}",
    ]
    return [*steps, "activate it"] if activates else steps


def candidate(where: Place, kind: str | None, registration: Path | None) -> Candidate:
    """Return who is to be taken in, asking on standard error for what is not given."""
    chosen = kind if kind is not None else ask("What is it, mo or publisher?")
    if chosen not in list(OrganizationKind):
        raise CommandError(f"expected mo or publisher, got {chosen}")
    file = registration or Path(ask("Where is what its `moneta registration` printed?"))
    base_url = where.url if where.data_dir is None else data_directory.stored_base_url(where.data_dir)
    members = directory.object_in(file) or {}
    return Candidate(where=where, kind=OrganizationKind(chosen), members=members, base_url=base_url)


def ask(question: str) -> str:
    """Return what is typed to ``question``, which stands on standard error: standard output is for the answer alone."""
    typer.echo(f"{question} ", nl=False, err=True)
    line = sys.stdin.readline()
    if not line:
        raise CommandError(f"{question} There was no answer; moneta orgs onboard --help shows the option for it")
    return line.strip()


def agrees(question: str) -> bool:
    """Tell whether the answer is y or yes; anything else is a no."""
    return ask(f"{question} [y/N]").lower() in {"y", "yes"}


def take_in(one: Candidate, identity_id: str, secret_file: Path | None, *, activates: bool) -> bytes:
    """Register it, keep its webhook secret, activate it, and return the hub's last document.

    The secret's file is made before anything is sent, since the hub shows the secret this once, and stays only if it
    holds it; without a file the secret stands in the document.

    Raises:
        CommandError: It is registered, and the answer with its secret was lost on the way.
    """
    with _new_file(secret_file) as keep:
        document = msgspec.json.decode(directory.create(one.where, one.kind, one.members, identity_id))
        secret = document.pop("webhook_secret")
        if secret is None:
            again = f"moneta orgs webhook-secret {one.kind} {document['id']}"
            raise CommandError(f"it is registered, and the answer with its secret was lost; make a new one: {again}")
        keep(f"{secret}\n")
    if activates:
        members = {"status": str(OrganizationStatus.ACTIVE)}
        changed = directory.change_status(one.where, one.kind, document["id"], members, identity_id)
        document = {"id": document["id"], **msgspec.json.decode(changed)}
    return to_json(document if secret_file else {**document, "webhook_secret": secret})


@contextmanager
def _new_file(path: Path | None) -> Iterator[Callable[[str], object]]:
    """Give what writes to a new file that only its owner reads, and remove it if nothing comes to be written."""
    if path is None:
        yield lambda _: None
        return
    with open(path, "x", encoding="ascii", opener=lambda name, flags: os.open(name, flags, SECRET_MODE)) as file:
        try:
            yield file.write
        except BaseException:
            path.unlink()
            raise


def _members_check(candidate: Candidate) -> str:
    wanted = ("name", directory.CODE_MEMBERS[candidate.kind], "metadata", "keys")
    for name in wanted:
        if not candidate.members.get(name):
            raise CommandError(f"the registration lacks {name}; `moneta registration` prints a whole one")
    return f"the registration is whole: {', '.join(wanted)}"


def _code_check(candidate: Candidate) -> str:
    member = directory.CODE_MEMBERS[candidate.kind]
    check_code(candidate.code, field=member)
    there = reading.organizations(candidate.where, candidate.kind, {member: candidate.code})
    if msgspec.json.decode(there)["items"]:
        raise CommandError(f"{member} {candidate.code} is taken, and is never given out again: choose another")
    return f"{member} {candidate.code} is free"


def _keys_check(candidate: Candidate) -> str:
    now = UnixSeconds(bootstrap.system_clock().now_ms() // 1000)
    for offered in candidate.keys:
        try:
            key = parse_public_jwk(offered.get("jwk"))
            verify_key_proof(offered.get("proof"), key, audience=candidate.base_url, subject=candidate.code, now=now)
        except InvalidProofError as error:
            raise CommandError(f"{error.detail}; a proof is good for five minutes: have it made anew") from error
        except Refused as error:
            raise CommandError(error.detail) from error
    return f"it holds the {len(candidate.keys)} key(s) that it offers"


def _uses_check(candidate: Candidate) -> str:
    uses = {use for key in candidate.keys for use in key.get("use") or ()}
    missing = sorted(set(KeyUse) - uses)
    if missing:
        raise CommandError(f"it has no key for {' and '.join(missing)}, and needs one before it can be active")
    return "there are keys for tokens and for contracts"


_CHECKS: Final[tuple[Check, ...]] = (_members_check, _code_check, _keys_check, _uses_check)
