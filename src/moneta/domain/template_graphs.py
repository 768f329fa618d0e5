"""The states that a contract can have under a template, and what leads from each to the next.

Built from the signing order alone, by trying every signature and act from the first state on: so it holds what can
happen, and nothing that is only written down. The lint proves its claims over it, and the docs draw it.

A state is known by its name on the wire: who has signed decides both.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from moneta.domain.templates import Role, SigningOrder, Template, roles_of_initiator

FINALIZED: Final = "finalized"
DECLINED: Final = "declined"
CANCELLED: Final = "cancelled"
EXPIRED: Final = "expired"
ENDS: Final = frozenset({FINALIZED, DECLINED, CANCELLED, EXPIRED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrow:
    """One way on: what ``by`` does in ``source``. ``event``: signs, declines, cancels, expires or deems."""

    source: str
    event: str
    by: Role
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateGraph:
    """Every state that can come, the one after the first signature first, and every way on.

    ``steps_waited_for``: the indexes of the signing order's steps that some contract waits in, and that of the first,
    which begins the contract; after the order's own comes the acknowledging.
    """

    initial: str
    states: tuple[str, ...]
    arrows: tuple[Arrow, ...]
    steps_waited_for: frozenset[int]

    def leading_to(self, target: str, *, events: Collection[str]) -> frozenset[str]:
        """Return the states from which ``events`` alone can lead to ``target``."""
        found = {target}
        while True:  # ends, since each round finds one more of finitely many states or is the last
            more = {arrow.source for arrow in self.arrows if arrow.target in found and arrow.event in events}
            if more <= found:
                return frozenset(found)
            found |= more


def graph_of(template: Template) -> StateGraph:
    """Return the graph of the contracts under ``template``."""
    return state_graph(template.signing_order, acknowledging=tuple(role for role, _ in template.acknowledge))


def state_graph(
    order: SigningOrder, *, acknowledging: tuple[Role, ...] = (), unable: Collection[Role] = ()
) -> StateGraph:
    """Return the graph of a contract that is signed in ``order``, whose first step is one role.

    ``acknowledging``: roles that are asked once the order is complete, and whose silence Moneta deems to be agreement.
    ``unable``: roles that have no key to sign with.
    """
    return _Explorer((*order, acknowledging) if acknowledging else order, order, frozenset(unable)).explored()


@dataclass(frozen=True, slots=True)
class _Explorer:
    """``steps``: the signing order's, and a last one of the roles that acknowledge."""

    steps: SigningOrder
    order: SigningOrder
    unable: frozenset[Role]

    def explored(self) -> StateGraph:
        """Return what can be come to from the first signature on."""
        first = frozenset(self.order[0])
        pending, states, waited_for = [first], [self._name(first)], {0}
        arrows: list[Arrow] = []
        while pending:  # ends: each state is taken up once, and there are as many as sets of signers
            signed = pending.pop(0)
            step = self._step_after(signed)
            if step is None:
                continue
            waited_for.add(step)
            for arrow, after in self._ways_on(signed, step):
                arrows.append(arrow)
                if arrow.target not in states:
                    states.append(arrow.target)
                    pending.append(after)
        return StateGraph(
            initial=states[0], states=tuple(states), arrows=tuple(arrows), steps_waited_for=frozenset(waited_for)
        )

    def _ways_on(self, signed: frozenset[Role], step: int) -> Iterator[tuple[Arrow, frozenset[Role]]]:
        """Give each way on from where ``signed`` have signed, and who counts as having signed then."""
        source, initiator = self._name(signed), self.order[0][0]
        everybody = frozenset(role for one in self.steps for role in one)
        missing = [role for role in self.steps[step] if role not in signed]
        for role in missing:
            if role not in self.unable:
                yield Arrow(source=source, event="signs", by=role, target=self._name(signed | {role})), signed | {role}
        # A party may decline before its turn; Moneta does when it is its turn and a guard fails.
        for role in dict.fromkeys(role for later in self.steps[step:] for role in later if role not in signed):
            if role is not Role.MONETA or role in missing:
                yield Arrow(source=source, event="declines", by=role, target=DECLINED), everybody
        if signed <= roles_of_initiator(self.order) and initiator is not Role.MONETA:
            yield Arrow(source=source, event="cancels", by=initiator, target=CANCELLED), everybody
        if step == len(self.order):
            yield Arrow(source=source, event="deems", by=Role.MONETA, target=FINALIZED), everybody
        yield Arrow(source=source, event="expires", by=Role.MONETA, target=EXPIRED), everybody

    def _step_after(self, signed: frozenset[Role]) -> int | None:
        return next((index for index, step in enumerate(self.steps) if not signed.issuperset(step)), None)

    def _name(self, signed: frozenset[Role]) -> str:
        step = self._step_after(signed)
        if step is None:
            return FINALIZED
        return f"pending_{'_and_'.join(role for role in self.steps[step] if role not in signed)}_signature"
