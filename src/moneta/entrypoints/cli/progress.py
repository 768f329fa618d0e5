"""How far something long is, on a terminal; nothing where nobody looks."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

EVERY_S: Final = 0.1
MEBIBYTE: Final = 1024 * 1024


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """Give what shows a line on standard error, over and over, and wipes it at the end."""
    shown_at = 0.0

    def show(what: str, done: int, total: int) -> None:
        nonlocal shown_at
        now = time.monotonic()
        if now - shown_at >= EVERY_S or not total:
            shown_at = now
            far = f" {done // MEBIBYTE:,} of {total // MEBIBYTE:,} MiB" if total else ""
            sys.stderr.write(f"\r\x1b[K{what}{far}")
            sys.stderr.flush()

    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    try:
        yield show
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
