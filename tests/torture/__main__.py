"""``python -m tests.torture``: all of it, with progress on standard error and the totals as the last line.

``--seed N`` plays the same again: worlds are made from their seeds alone, in one thread, on a clock of their own. The
killed processes are real ones, and never die twice at the same instruction.
"""

import argparse
import sys
import time

from tests.torture import processes, sections
from tests.torture.bugs import BUGS
from tests.torture.storm import storm, world_of
from tests.torture.world import Found, Tally

SHARES = {"cuts": 0.3, "faults": 0.3, "points": 0.1, "kills": 0.6}
"""Of the minutes, at most; what a part does not need is there for the ones after it."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", default=None, help="play the runs of this seed (default: one by chance, and told)")
    parser.add_argument("--minutes", type=float, default=38.0, help="stop every part in time (default: 38)")
    parser.add_argument("--cuts", type=int, default=1_000, help="power cuts (default: 1000)")
    parser.add_argument("--kills", type=int, default=500, help="killed processes (default: 500)")
    parser.add_argument("--stride", type=int, default=1, help="every n-th operation and point (default: 1, all)")
    parser.add_argument("--bugs", action="store_true", help="list the bugs that are planted, and stop")
    parser.add_argument("--world", help="play one world of cuts again, whose seed was told with what was found")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    if options.bugs:
        sys.stdout.write("".join(f"{name}\n" for name in BUGS))
        return 0
    if options.world:
        with world_of(options.world) as world:
            storm(world, sections.kinds_of(int(options.world.rpartition("/")[2])), count=sections.BLOWS)
        return 0
    seed, started = options.seed or sections.some_seed(), time.monotonic()
    try:
        totals = torture(seed, options)
    except Found as found:
        sys.stdout.write(f"FOUND: {found}; python -m tests.torture --seed {seed} plays it again\n")
        return 1
    sys.stdout.write(f"seed {seed}, {time.monotonic() - started:.0f} s: {totals}\n")
    return 0 if "NOT FOUND" not in totals else 1


def torture(seed: str, options: argparse.Namespace) -> str:
    """Do every part, and return the totals."""
    tally, minutes = Tally(), options.minutes

    def progress(part: str):
        return lambda text: print(f"{part}: {text}", file=sys.stderr, flush=True)  # noqa: T201  # a program's progress

    def over(part: str):
        return sections.deadline(minutes * SHARES[part])

    found = dict(sections.bugs(seed, progress("bugs")))
    missed = [name for name, what in found.items() if what is None]
    sections.cuts(seed, tally, progress("cuts"), least=options.cuts, is_over=over("cuts"))
    failed = sections.faults(seed, tally, progress("faults"), stride=options.stride, is_over=over("faults"))
    struck = sections.points(seed, tally, progress("points"), stride=options.stride, is_over=over("points"))
    killed, acknowledged = processes.kills(progress("kills"), cycles=options.kills, is_over=over("kills"))
    return ", ".join(
        (
            f"{tally.power_cuts} power cuts",
            f"{tally.kills} kills within worlds",
            f"{failed['write']} failed writes",
            f"{failed['sync']} failed syncs",
            f"{sum(map(bool, struck.values()))} named points",
            f"{killed} kill -9 of real processes",
            f"{tally.accepted + acknowledged} acknowledged",
            f"{tally.replayed} sent again",
            f"{tally.delivered} delivered",
            f"{tally.sent_again} delivered again",
            "lost 0",
            "doubled 0",
            f"bugs found {len(found) - len(missed)}/{len(found)}" + (f", NOT FOUND: {missed}" if missed else ""),
        )
    )


if __name__ == "__main__":
    sys.exit(main())
