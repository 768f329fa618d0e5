"""A batch in which one item that meets a bug does not take the others with it."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from moneta.domain.errors import TryAgainError

Given = TypeVar("Given")
Got = TypeVar("Got")


def isolating(
    do: Callable[[Sequence[Given]], Sequence[Got]], batch: Sequence[Given], on_bug: Callable[[Given, Exception], None]
) -> Sequence[Got]:
    """Return what ``do`` gives for a batch; if it fails with what is no error of ours, for each item by itself.

    ``on_bug`` is told of each that still fails, and of which nothing is returned.

    Raises:
        TryAgainError: ``do`` raised it. What was done stays done.
    """
    try:
        return do(batch)
    except TryAgainError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever the bug is, it must not take the other items with it
        if len(batch) == 1:
            on_bug(batch[0], error)
            return ()
    return [got for one in batch for got in isolating(do, [one], on_bug)]
