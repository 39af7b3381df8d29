"""What a drain takes before and after a decision about how requests are served: those of the folder decisions that hold
a before.py and no after.py. It brings back the other way: the server's process runs it first. Two servers take turns.

    benchmarks/compare.py FOLDER …
"""

import argparse
from contextlib import ExitStack
from pathlib import Path

import runners
from own_server import own_server
from rows import FULL, Target, drained

DECISIONS = Path(__file__).with_name("decisions")
COUNTS = (8, 32)  # runners


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=5, help="of each server; the median counts (5)")
    options = parser.parse_args()
    for folder in options.folders:
        compare(folder, options.rounds)


def compare(folder, rounds):
    with ExitStack() as stack:
        prepare = {"before": (DECISIONS / folder / "before.py").read_text(), "after": ""}
        targets = {when: Target(stack.enter_context(own_server(code))) for when, code in prepare.items()}
        for count in COUNTS:
            found = {when: [] for when in targets}
            for _ in range(rounds):
                for when, target in targets.items():
                    found[when].append(drain(target, count))
            for when, figures in found.items():
                speed, server, postgres = sorted(figures)[rounds // 2]
                words = f"{speed:,.0f} jobs/s; {server:.2f} + {postgres:.2f} ms of CPU a job"
                print(f"{folder}, {when}, {count} runners: {words}")


def drain(target, count):
    """(jobs/s, CPU ms a job of the server, of PostgreSQL)."""
    measured = drained(target, "flat", runners.flat(FULL.jobs), count, runners.ONE_BY_ONE, FULL)
    cpu = measured.details["cpu_ms_per_job"]
    return measured.value, cpu["server"], cpu["postgres"]


if __name__ == "__main__":
    main()
