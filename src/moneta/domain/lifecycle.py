"""A state table: rows of (from, event, to, by), checked when it is made, and asked by name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from moneta.domain.errors import TransitionRefusedError

State = TypeVar("State", bound=str)
Event = TypeVar("Event", bound=str)
Actor = TypeVar("Actor", bound=str)

Row = tuple[State, Event, State, frozenset[Actor]]


@dataclass(frozen=True, slots=True)
class Lifecycle(Generic[State, Event, Actor]):
    """The rows of one kind of thing. Where there is no row there is no way."""

    name: str
    initial: State
    rows: tuple[Row[State, Event, Actor], ...]

    def follow(self, state: State, event: Event, *, by: Actor) -> State:
        """Return the state that ``event`` leads to.

        Raises:
            TransitionRefusedError: No row for the pair, or none for the actor; ``allowed`` lists the events
                that this actor can cause from here.
        """
        for source, happening, target, actors in self.rows:
            if source == state and happening == event and by in actors:
                return target
        allowed = self.allowed(state, by=by)
        raise TransitionRefusedError(
            f"{self.name}: {event} is not possible for {by} in state {state}", state=state, allowed=allowed
        )

    def allowed(self, state: State, *, by: Actor) -> list[str]:
        """Return the events that ``by`` can cause in ``state``, in the table's order."""
        return [event for source, event, _, actors in self.rows if source == state and by in actors]

    def states(self) -> list[State]:
        """Return every state once: the initial one, then in order of appearance as a target or source."""
        named = [self.initial] + [state for source, _, target, _ in self.rows for state in (source, target)]
        return list(dict.fromkeys(named))


def lifecycle(name: str, initial: State, rows: Sequence[Row[State, Event, Actor]]) -> Lifecycle[State, Event, Actor]:
    """Make the table; two arrows for one (state, event) pair are refused, since the second could never be followed."""
    pairs = [(source, event) for source, event, _, _ in rows]
    doubled = {pair for pair in pairs if pairs.count(pair) > 1}
    if doubled:
        raise ValueError(f"{name}: more than one arrow for {sorted(doubled)}")
    return Lifecycle(name, initial, tuple(rows))
