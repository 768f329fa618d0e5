"""``docs/lifecycles.md``: the state tables, drawn from the rows that the hub itself follows.

An mPass has no table of states: its status derives from facts. So every fact that can be is tried with every event by
every holder of a lock, and what comes of it is drawn.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations, product
from typing import Final

from moneta import bootstrap
from moneta.domain.errors import TransitionRefusedError
from moneta.domain.identifiers import MPassId, OrganizationId, UnixMillis, UnixSeconds
from moneta.domain.keys import KEY_LIFECYCLE
from moneta.domain.lifecycle import Actor, Event, Lifecycle, State
from moneta.domain.mpasses import Facts, Lock, MPass, MPassEvent, MPassStatus
from moneta.domain.organizations import CAPABILITIES, ORGANIZATION_LIFECYCLE
from moneta.domain.pending_changes import CHANGE_LIFECYCLE
from moneta.domain.template_graphs import EXPIRED, graph_of
from moneta.domain.templates import TEMPLATE_LIFECYCLE, Template

_EXPIRES_AT: Final = UnixSeconds(10)
_BEFORE, _AFTER = UnixMillis(5_000), UnixMillis(20_000)
_LOCK_HOLDERS: Final = (Lock.USER, Lock.MO, Lock.ADMIN)
"""Who can set and lift a lock; ``org`` derives from the state of the MO."""

_HEAD: Final = (
    "# State tables",
    "",
    "Drawn by `python -m moneta.entrypoints.http.openapi` from the rows that the hub follows. Where there is no arrow",
    "there is no way: the call is refused with `transition_refused`, and `allowed` lists what is possible instead.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrow:
    """One way from a state to another, and what is written beside it."""

    source: str
    target: str
    label: str


def lifecycles_page() -> str:
    """Return ``docs/lifecycles.md``."""
    tables = (_organizations, _keys, _templates, _changes, _mpasses, _contracts)
    return "\n".join([*_HEAD, *(line for table in tables for line in table())]) + "\n"


def arrows_of(table: Lifecycle[State, Event, Actor]) -> list[Arrow]:
    """Return the rows of a state table as arrows; in brackets who can cause each."""
    return [
        Arrow(source=source, target=target, label=f"{event} ({', '.join(sorted(actors))})")
        for source, event, target, actors in table.rows
    ]


def mpass_arrows() -> list[Arrow]:
    """Return what each event does to each status, each arrow once, and what time does."""
    found: dict[tuple[str, str, str], None] = {}
    for mpass in _possible_mpasses():
        for moment, event, lock in product((_BEFORE, _AFTER), MPassEvent, _LOCK_HOLDERS):
            before = mpass.status_at(moment)
            try:
                after = mpass.changed(event, lock=lock, at=moment).status_at(moment)
            except TransitionRefusedError:
                continue
            found[before, after, _label(mpass, event, lock)] = None
        if mpass.status_at(_BEFORE) is not mpass.status_at(_AFTER):
            found[mpass.status_at(_BEFORE), mpass.status_at(_AFTER), "at expires_at"] = None
    order = list(MPassStatus)
    ranked = sorted(found, key=lambda one: (order.index(MPassStatus(one[0])), order.index(MPassStatus(one[1])), one[2]))
    return [Arrow(source=source, target=target, label=label) for source, target, label in ranked]


def _label(mpass: MPass, event: MPassEvent, lock: Lock) -> str:
    if event is not MPassEvent.ACTIVATE or not mpass.locks:
        return str(event)
    return "Active, lifting the only lock" if mpass.locks == {lock} else "Active, other locks stay"


def _possible_mpasses() -> Iterator[MPass]:
    locks = [frozenset(some) for size in range(len(_LOCK_HOLDERS) + 1) for some in combinations(_LOCK_HOLDERS, size)]
    for activated_at, revoked_at, held in product((None, UnixMillis(1)), (None, UnixMillis(2)), locks):
        facts = Facts(since=UnixMillis(2), activated_at=activated_at, revoked_at=revoked_at, locks=held)
        yield MPass(
            mpass_id=MPassId("m"),
            number="",
            mo_id=OrganizationId("mo"),
            sealed_member_ref=b"",
            tier=None,
            policy={},
            holder_jwk=None,
            issued_at=UnixMillis(0),
            expires_at=_EXPIRES_AT,
            history=(facts,),
        )


def _organizations() -> Iterator[str]:
    yield from _section("Organization", arrows_of(ORGANIZATION_LIFECYCLE), initial=ORGANIZATION_LIFECYCLE.initial)
    yield ""
    yield "| state | what it lets the organization do |"
    yield "|---|---|"
    for state, capabilities in CAPABILITIES.items():
        yield f"| {state} | {', '.join(sorted(capabilities)) or 'nothing: its tokens are invalid'} |"


def _keys() -> Iterator[str]:
    yield from _section("Key", arrows_of(KEY_LIFECYCLE), initial=KEY_LIFECYCLE.initial)


def _templates() -> Iterator[str]:
    yield from _section("Version of a template", arrows_of(TEMPLATE_LIFECYCLE), initial=TEMPLATE_LIFECYCLE.initial)
    yield ""
    yield "A version may also begin as published. A draft and a retired version take no new contracts."


def _changes() -> Iterator[str]:
    title = "What waits for a second operator"
    yield from _section(title, arrows_of(CHANGE_LIFECYCLE), initial=CHANGE_LIFECYCLE.initial)
    yield ""
    yield "Approved and refused by the state of then, it has failed. Who asked for it does not decide it."


def _mpasses() -> Iterator[str]:
    yield from _section("mPass", mpass_arrows(), initial=MPassStatus.PENDING)
    yield ""
    yield "The status derives from stored facts: Revoked > Expired > Locked (any lock) > Active > Pending. Each lock"
    yield "belongs to who set it; the lock `org` derives from the state of the MO and is neither set nor lifted."


def _contracts() -> Iterator[str]:
    yield ""
    yield "## Contract"
    yield ""
    yield "Each template makes a table of its own, drawn here for those that ship. The first arrow is the submission,"
    yield "with the initiator's signature. Any pending contract expires at its term, which is left out below. Moneta's"
    yield "turn passes in the commit that brings it, unless it declines. Any finalized contract becomes `superseded`"
    yield "with the finalization of a later one that names it."
    reader = bootstrap.template_reader()
    for payload in bootstrap.builtin_template_payloads():
        yield from _contract(reader.compile(payload).template)


def _contract(template: Template) -> Iterator[str]:
    graph = graph_of(template)
    arrows = [
        Arrow(source=arrow.source, target=arrow.target, label=f"{arrow.by} {arrow.event}")
        for arrow in graph.arrows
        if arrow.target != EXPIRED
    ]
    title = f"`{template.name}` {template.version}"
    yield from _section(title, arrows, initial=f"{graph.initial}: {template.initiator} submits", level="###")
    yield ""
    yield f"- requires {', '.join(f'`{name}`' for name in template.required_fields)}"
    yield f"- guards: {', '.join(f'`{guard}`' for guard in sorted(template.guards)) or 'none'}"
    for phase, verbs in template.effects.items():
        yield f"- `{phase}`: {', '.join(f'`{verb}`' for verb in verbs)}"


def _section(title: str, arrows: Iterable[Arrow], *, initial: str, level: str = "##") -> Iterator[str]:
    yield ""
    yield f"{level} {title}"
    yield ""
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield f"    [*] --> {initial}"
    for arrow in arrows:
        yield f"    {arrow.source} --> {arrow.target}: {arrow.label}"
    yield "```"
