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
import traceback
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

from tests.torture import full_disk, processes, sections
from tests.torture.bugs import BUGS
from tests.torture.course import Course, TrialFailedError, UnfinishedError, clock, played
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
    try:
        with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
            course, totals = torture(seed, form, pool, minutes=options.minutes)
    except UnfinishedError as error:
        return told(f"torture: seed {seed}: UNFINISHED: {error}\n", 2)
    except (TrialFailedError, Found) as error:
        traceback.print_exc()
        return told(f"torture: seed {seed}: FOUND: {error}\n", 1)
    cores = sum(map(cpu_s, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))) / course.passed_s
    return told(f"torture: seed {seed}, {totals}; {clock(course.passed_s)} on {cores:.1f} cores\n", 0)


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


def torture(seed: str, form: Form, pool: ProcessPoolExecutor, *, minutes: float) -> tuple[Course, str]:
    """Do every part, and return the totals."""
    trials = {
        "points": sections.points(seed, form.stride),
        "bugs": sections.bugs(seed, form.first),
        "faults": sections.faults(seed, scenarios=form.scenarios, stride=form.stride),
        "crashes": sections.crashes(seed, scenarios=form.scenarios, stride=form.stride),
    }
    goals = {"cuts": form.cuts, **{part: len(names) for part, names in trials.items()}}
    goals |= {"full disk": form.full_disk_s, "kills": form.kills}
    course, done = Course(goals, minutes=minutes), Tally()
    for part, names in {"cuts": sections.cuts(seed), **trials}.items():
        done.add(play_part(course, part, played(pool, names), goals[part]))
    filled = full_disk.play(seed, form.full_disk_s, partial(course.reached, "full disk"))
    killed = processes.kills(partial(course.reached, "kills"), cycles=form.kills)
    return course, totals_of(form, done, filled, killed)


def play_part(course: Course, part: str, tallies: Iterable[Tally], goal: int) -> Tally:
    """Play trials of one part until there are none left, or enough was done."""
    done = Tally()
    for number, tally in enumerate(tallies, start=1):
        done.add(tally)
        reached = done.power_cuts if part == "cuts" else number
        course.reached(part, reached, note="; ".join(tally.notes))
        if reached >= goal:
            break
    return done


def totals_of(form: Form, done: Tally, filled: Counter, killed: tuple[int, int]) -> str:
    """Return the totals. Whatever was lost or doubled has ended it before."""
    failed = done.failed_writes + done.failed_syncs + done.failed_others
    digest = hashlib.sha256("".join(done.digests).encode()).hexdigest()[:16]  # the same again for the same seed
    did = ", ".join(
        (
            f"{done.power_cuts:,} power cuts",
            f"{failed:,} I/O errors ({done.failed_writes:,} of writes, {done.failed_syncs:,} of syncs)",
            f"{done.crashes:,} crashes between operations on the disk",
            f"{done.points:,} named points x {len(sections.BLOW_KINDS)}",
            f"{done.kills:,} deaths of processes in worlds",
            f"{killed[0]:,} kill -9",
            f"{form.full_disk_s:.0f} s of full disk ({filled['filled']} times, {filled['refused']:,} answers 503)",
            f"{done.accepted + filled['acknowledged'] + killed[1]:,} events acknowledged",
            f"{done.answers_lost:,} of their answers lost",
            f"{done.doubled + filled['doubled']:,} sent twice",
            f"{done.out_of_order:,} out of order",
            f"{done.delivered:,} webhooks delivered",
            f"{done.sent_again:,} again",
        )
    )
    return f"{did}: 0 lost, 0 doubled; {done.bugs - 1} of {len(BUGS)} planted bugs and NORMAL found; worlds {digest}"


def cpu_s(whose: int) -> float:
    """Return the seconds of CPU that were used."""
    used = resource.getrusage(whose)
    return used.ru_utime + used.ru_stime


def some_seed() -> str:
    """Return a seed that nobody chose."""
    return str(random.SystemRandom().randrange(10**6))


if __name__ == "__main__":
    sys.exit(main())
