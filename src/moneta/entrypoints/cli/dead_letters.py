"""What ``dlq redrive`` does."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeAlias
from urllib.parse import quote

import msgspec

from moneta import bootstrap
from moneta.application.authenticate import authenticate
from moneta.application.dead_letters import redrive
from moneta.application.documents import to_json
from moneta.domain.limits import LIST_LIMIT_MAX
from moneta.entrypoints.cli import reading
from moneta.entrypoints.cli.reading import Place, call
from moneta.entrypoints.cli.tokens import identity_token
from moneta.entrypoints.heartbeats import PROCESSOR
from moneta.entrypoints.pipes import WakeFile
from moneta.settings import Settings

TOKEN_LIFETIME_S: Final = 600

Redrive: TypeAlias = Callable[[str], bytes]


class _Letter(msgspec.Struct):
    id: str


class _Letters(msgspec.Struct):
    items: list[_Letter]
    next_cursor: str | None


def redrive_each(where: Place, letters: Sequence[str] | None, identity_id: str) -> Iterator[bytes]:
    """Redrive ``letters``, all that there are if None, and give the hub's document of each as soon as it is done.

    One that dies again meanwhile is another letter, and comes behind all these.
    """
    with _redriving(where, identity_id) as redrive_one:
        for letter in _all_letters(where) if letters is None else letters:
            yield redrive_one(letter)


@contextmanager
def _redriving(where: Place, identity_id: str) -> Iterator[Redrive]:
    if where.data_dir is None:
        yield lambda letter: call(where, "POST", f"/dlq/{quote(letter, safe='')}/redrive")
        return
    token = identity_token(where.data_dir, identity_id, lifetime_s=TOKEN_LIFETIME_S)
    with bootstrap.embedded(Settings(data_dir=where.data_dir)) as hub:
        caller = authenticate(hub, token)
        try:
            yield lambda letter: to_json(redrive(hub, caller, letter).body)
        finally:
            WakeFile(where.data_dir, PROCESSOR).leave()  # a hub that runs meanwhile would look within a minute


def _all_letters(where: Place) -> Sequence[str]:
    """Return the id of each letter that there is now."""
    found: list[str] = []
    cursor: str | None = None
    while True:  # ends with the last page: a letter that is written meanwhile comes behind, once
        filters = {"limit": LIST_LIMIT_MAX, "cursor": cursor}
        page = msgspec.json.decode(reading.dead_letters(where, filters), type=_Letters)
        found += [letter.id for letter in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return found
