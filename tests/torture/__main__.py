"""``python -m tests.torture``: all of it, with progress on standard error and the totals as the last line.

``--seed N`` plays the same again: worlds are made from their seeds alone, in one thread, on a clock of their own. When
one of them finds something, the last line is the command that plays that one again. What is killed and what is filled
is real, and never the same twice.

It ends with 0 when nothing was found, with 1 when something was, and with 2 when the time was over before.
"""

import argparse
import hashlib
import os
import random
import resource
import sys
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

from tests.torture import full_disk, processes, sections
from tests.torture.course import Course, UnfinishedError, clock, played
from tests.torture.world import Found, Tally


@dataclass(frozen=True)
class Form:
    """How much of everything. ``stride``: every n-th operation and point; ``first``: where a bug is looked for."""

    cuts: int
    scenarios: int
    stride: int
    kills: int
    full_disk_s: float
    first: Mapping[str, int]


LONG = Form(cuts=1_200, scenarios=1, stride=1, kills=500, full_disk_s=60, first={})
FOUND_MAX = 10
"""Enough to look into."""
SHORT_SEED = "ci"
SHORT = Form(
    cuts=60,
    scenarios=1,
    stride=40,
    kills=8,
    full_disk_s=6,
    first={
        # The worlds of SHORT_SEED that find them: a hint that saves time, since any later one will do as well.
        "a conflict is written over": 4,
        "an answer is accepted after its attempt": 7,
        "a sweep is remembered before it is done": 19,
        "a failed sync is ignored": 6,
    },
)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", help="play the worlds of this seed (default: one by chance, and told)")
    parser.add_argument("--short", action="store_true", help="some of everything, with a seed that is known")
    parser.add_argument("--minutes", type=float, default=40.0, help="give up after so many (default: 40)")
    parser.add_argument(
        "--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes (default: a core each)"
    )
    parser.add_argument("--bugs", action="store_true", help="list the bugs that are planted, and stop")
    parser.add_argument("--world", metavar="NAME", help="play one world again, whose name was told with what was found")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    if options.bugs:
        return told("".join(f"{name}\n" for name in sections.PLANTED), 0)
    if options.world:
        return play_again(options.world)
    form = SHORT if options.short else LONG
    seed = options.seed or (SHORT_SEED if options.short else some_seed())
    done, ending, code = Tally(), "0 lost, 0 doubled", 0
    started = time.monotonic()
    try:
        with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
            torture(seed, form, pool, done, minutes=options.minutes)
    except UnfinishedError as error:
        ending, code = f"UNFINISHED: {error}", 2
    if done.found:
        ending, code = f"FOUND {len(done.found)}: {' | '.join(done.found)}", 1
    passed_s = time.monotonic() - started
    cores = sum(map(cpu_s, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))) / passed_s
    line = f"torture: seed {seed}, {totals_of(form, done)}; {clock(passed_s)} on {cores:.1f} cores"
    return told(f"{line}: {ending}\n", code)


def told(line: str, code: int) -> int:
    """Tell the last line, and return the exit code."""
    sys.stderr.flush()
    sys.stdout.write(line)
    return code


def play_again(name: str) -> int:
    """Play one world, and tell what it finds."""
    try:
        tally = sections.play(name)
    except Found as found:
        return told(f"torture: {name}: FOUND: {found}\n", 1)
    return told(f"torture: {name}: {'; '.join(tally.notes) or 'nothing found'}\n", 0)


def torture(seed: str, form: Form, pool: ProcessPoolExecutor, done: Tally, *, minutes: float) -> None:
    """Do every part, and add to ``done`` what it did and found.

    Raises:
        UnfinishedError: The time was over before.
    """
    trials = {
        "points": sections.points(seed, form.stride),
        "bugs": sections.bugs(seed, form.first),
        "faults": sections.faults(seed, scenarios=form.scenarios, stride=form.stride),
        "crashes": sections.crashes(seed, scenarios=form.scenarios, stride=form.stride),
    }
    goals = {"cuts": form.cuts, **{part: len(names) for part, names in trials.items()}}
    goals |= {"full disk": form.full_disk_s, "kills": form.kills}
    course = Course(goals, minutes=minutes)
    for part, names in {"cuts": sections.cuts(seed), **trials}.items():
        play_part(course, part, played(pool, names), goals[part], done)
    for play in (
        partial(full_disk.play, seed, form.full_disk_s, partial(course.reached, "full disk")),
        partial(processes.kills, partial(course.reached, "kills"), cycles=form.kills),
    ):
        try:
            done.add(play())
        except AssertionError as error:  # what was found, or waited for in vain
            done.found.append(str(error))


def play_part(course: Course, part: str, tallies: Iterable[Tally], goal: int, done: Tally) -> None:
    """Play trials of one part until there are none left, or enough was done; add them to ``done``."""
    cuts_before = done.power_cuts
    for number, tally in enumerate(tallies, start=1):
        done.add(tally)
        reached = done.power_cuts - cuts_before if part == "cuts" else number
        course.reached(part, reached, note="; ".join(tally.notes + tally.found))
        if reached >= goal or len(done.found) >= FOUND_MAX:
            break


def totals_of(form: Form, done: Tally) -> str:
    """Return the totals, as far as it came."""
    failed = done.failed_writes + done.failed_syncs + done.failed_others
    digest = hashlib.sha256("".join(done.digests).encode()).hexdigest()[:16]  # the same again for the same seed
    return ", ".join(
        (
            f"{done.power_cuts:,} power cuts",
            f"{failed:,} I/O errors ({done.failed_writes:,} of writes, {done.failed_syncs:,} of syncs)",
            f"{done.crashes:,} crashes between operations on the disk",
            f"{done.points:,} named points x {len(sections.BLOW_KINDS)}",
            f"{done.kills:,} deaths of processes in worlds",
            f"{done.killed:,} kill -9",
            f"{form.full_disk_s:.0f} s of full disk ({done.filled} times, {done.refused:,} answers 503)",
            f"{done.accepted:,} events acknowledged",
            f"{done.answers_lost:,} of their answers lost",
            f"{done.doubled:,} sent twice",
            f"{done.out_of_order:,} out of order",
            f"{done.delivered:,} webhooks delivered",
            f"{done.sent_again:,} again",
            f"{done.bugs} of {len(sections.PLANTED)} planted bugs found (NORMAL is one)",
            f"worlds {digest}",
        )
    )


def cpu_s(whose: int) -> float:
    """Return the seconds of CPU that were used."""
    used = resource.getrusage(whose)
    return used.ru_utime + used.ru_stime


def some_seed() -> str:
    """Return a seed that nobody chose."""
    return str(random.SystemRandom().randrange(10**6))


if __name__ == "__main__":
    sys.exit(main())
