"""The relay on the stream of contracts: what a step brings with it is completed, should whoever put it have died.

A stream tells of every new step once the window is over. Almost all are complete by then, and cost one read each.
The records of a shard are done in their order, and from the first that is not done all come again.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import structlog

from moneta.application.ports import Relay
from moneta.domain.errors import TryAgainError
from moneta.domain.identifiers import ContractId, Revision
from moneta.entrypoints.aws_lambda import warm
from moneta.entrypoints.aws_lambda.invocation import Event, LambdaContext, Response, failed

INSERTED: Final = "INSERT"
HEAD: Final = 0
"""The ``seq`` of the item that follows the steps."""

log = structlog.get_logger()


class _ContractKey(msgspec.Struct):
    S: str


class _SeqKey(msgspec.Struct):
    N: str


class _Keys(msgspec.Struct):
    contract_id: _ContractKey
    seq: _SeqKey


class _Change(msgspec.Struct, rename="pascal"):
    keys: _Keys
    sequence_number: str


class _Record(msgspec.Struct, rename="camel"):
    dynamodb: _Change
    event_name: str

    @property
    def step(self) -> tuple[ContractId, Revision]:
        return ContractId(self.dynamodb.keys.contract_id.S), Revision(int(self.dynamodb.keys.seq.N))


def handler(event: Event, context: LambdaContext) -> Response:
    """Complete the steps of one batch."""
    with warm.call(context, event):
        return handle(warm.relay, event)


def handle(relay: Callable[[], Relay], event: Event) -> Response:
    """Return the first record that must come again, with all after it; ``relay`` gives the relay, if it can be had."""
    records = msgspec.convert(event["Records"], list[_Record])
    new = [one for one in records if one.event_name == INSERTED and one.step[1] > HEAD]
    again = _first_undone(relay, new)
    return failed(() if again is None else (again,))


def _first_undone(relay: Callable[[], Relay], records: Sequence[_Record]) -> str | None:
    """Complete what can be completed; return the sequence number of the first record that could not be."""
    if not records:
        return None
    try:
        completed = relay().complete([one.step for one in records])
    except TryAgainError as error:
        log.warning("store_unavailable", detail=str(error))
        return records[0].dynamodb.sequence_number
    except Exception as error:
        if len(records) == 1:
            contract_id, revision = records[0].step
            log.exception("step_not_completed", contract_id=contract_id, revision=revision, error=type(error).__name__)
            return records[0].dynamodb.sequence_number
        return next((undone for one in records if (undone := _first_undone(relay, [one])) is not None), None)
    if completed:
        log.info("steps_completed", count=completed)
    return None


warm.at_start(warm.serverless)
