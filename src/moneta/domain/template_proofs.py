"""What the lint proves of a signing order, over the graph of the states that it makes.

1. A contract begins with one signature, and each role signs once.
2. Every state reaches an end: from each, signatures can finalize the contract, with Moneta's ``deem`` where the
   template lets silence count. That it may also be declined, cancelled or expire does not save a state that can't.
3. No party completes a contract alone: Moneta signs, and a party.
4. No step is unreachable: some contract waits for each.

A fault names its place below ``signature_rules.signing_order``, so that an author is shown the line.
"""

from collections.abc import Collection, Iterator

from moneta.domain.template_graphs import ENDS, FINALIZED, state_graph
from moneta.domain.template_problems import Path
from moneta.domain.templates import Role, SigningOrder

Fault = tuple[Path, str]
"""Where, and what."""


def order_faults(
    order: SigningOrder,
    required: Collection[Role],
    *,
    acknowledging: tuple[Role, ...] = (),
    unable: Collection[Role] = (),
) -> Iterator[Fault]:
    """Give what keeps ``order`` from being one that a contract can be signed in, and that binds the parties.

    ``acknowledging``, ``unable``: see ``state_graph``.
    """
    roles = [role for step in order for role in step]
    if set(roles) != set(required):
        yield (), "expected the same roles as required_signatures"
    if Role.MONETA not in roles or not {*roles, *acknowledging} - {Role.MONETA}:
        yield (), "no party completes a contract alone, nor Moneta: moneta and at least one party sign"
    if order and len(order[0]) != 1:
        yield (0,), "the first step is one role, the initiator"
    elif order:
        yield from _doubled(order)
        yield from _state_faults(order, acknowledging, unable)


def _doubled(order: SigningOrder) -> Iterator[Fault]:
    seen: set[Role] = set()
    for index, step in enumerate(order):
        for place, role in enumerate(step):
            if role in seen:
                yield (index, place), f"each role signs once, and {role} has signed before"
            seen.add(role)


def _state_faults(order: SigningOrder, acknowledging: tuple[Role, ...], unable: Collection[Role]) -> Iterator[Fault]:
    graph = state_graph(order, acknowledging=acknowledging, unable=unable)
    for index in sorted(set(range(len(order))) - graph.steps_waited_for):
        yield (
            (index,),
            "no contract ever waits for this step: nobody in it has anything left to sign, or can be reached",
        )
    completing = graph.leading_to(FINALIZED, events={"signs", "deems"})
    for state in graph.states:
        if state not in completing | ENDS:
            yield (), f"nothing finalizes a contract that has come to {state}"
