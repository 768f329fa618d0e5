"""What is being done now: a line that is rewritten on a terminal, a line a step where there is none."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TypeAlias

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

Tell: TypeAlias = Callable[[str, int, int], None]
"""Says which step it is, how much of it is done, and of how much; 0 of 0 where that can't be said."""


@contextmanager
def progress_line(console: Console, part_count: int) -> Iterator[Callable[[str, int], Tell]]:
    """Give what begins a part, by its name and number, and returns what tells of its steps."""
    started = monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[count]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as line:
        task = line.add_task("", total=None, count="")
        last = ""

        def begin(part: str, number: int) -> Tell:
            def tell(step: str, done: int, count: int) -> None:
                nonlocal last
                shown = f"{number} of {part_count}, {part}: {step}"
                if shown != last and not console.is_terminal:
                    console.print(f"{monotonic() - started:4.0f} s  {shown}", highlight=False)
                if shown != last:
                    line.reset(task, total=count or None)  # its clock tells how long this step has taken
                last = shown
                of = f"{done:,} of {count:,}" if count else ""
                line.update(task, description=shown, completed=done, total=count or None, count=of)

            return tell

        yield begin
