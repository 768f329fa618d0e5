"""How far something long is, for whoever waits: of a migration, which statement runs and how far it has come.

SQLite says when a statement begins, which rows it writes, and every so many of its operations that it still runs. How
many rows there will be it can't say, nor how many an index has yet: then the seconds show that it goes on.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import apsw

OnProgress = Callable[[str, int, int], None]
"""Called with what is being done, how far it is, and how far it goes, in bytes; 0 and 0 where the text says it."""

OPERATIONS: Final = 200_000
"""Between two looks: some milliseconds."""
TOLD_CHARS_MAX: Final = 60


@contextmanager
def told_statements(
    connection: apsw.Connection,
    name: str,
    count: int,
    on_progress: OnProgress,
    *,
    operations: int = OPERATIONS,
    clock_s: Callable[[], float] = time.monotonic,
) -> Iterator[None]:
    """Tell of each statement that runs in the block, by its first binding if it has one.

    ``name``: of the whole; ``count``: of its statements.
    """
    number, written, began_s, statement = 0, 0, clock_s(), ""

    def tell() -> bool:
        seconds, far = clock_s() - began_s, f", {written:,} rows" if written else ""
        shown = " ".join(statement.split())[:TOLD_CHARS_MAX]
        on_progress(f"{name}, {number} of {count}: {shown}{far}, {seconds:.0f} s", 0, 0)
        return False  # or SQLite would give up

    def begins(_cursor: apsw.Cursor, text: str, bindings: Any) -> bool:  # apsw has many types for them
        nonlocal number, written, began_s, statement
        number, written, began_s, statement = number + 1, 0, clock_s(), str(bindings[0]) if bindings else text
        tell()
        return True

    def writes(*_: object) -> None:
        nonlocal written
        written += 1

    connection.exec_trace = begins
    connection.set_update_hook(writes)
    connection.set_progress_handler(tell, operations)
    try:
        yield
    finally:
        connection.exec_trace = None
        connection.set_update_hook(None)
        connection.set_progress_handler(None)


def statement_count(statements: str) -> int:
    """Return how many statements a migration has, each of which ends its line."""
    return sum(1 for line in statements.splitlines() if line.rstrip().endswith(";"))
