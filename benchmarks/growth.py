"""What finished jobs of other workflows in the database cost a small workflow.

    benchmarks/growth.py 10000000       # so many finished jobs

Starts two servers on temporary data folders, fills the database of one (growth.sql; 10 million take some 5 GB), and
measures both in turns. Machines are shared and noisy: believe the ratios, and the CPU rather than the time. What is
printed is written to results/growth.md.
"""

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import runners
from http_client import Client
from machine import describe, used
from own_server import server_on
from rows import Target, quantiles

from torc_server import embedded

PER_WORKFLOW = 10_000  # jobs of a finished workflow
LISTS = 50  # lists that are read in each round


def main():
    options = parse_arguments()
    with contextlib.ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="torc-bench-"))) for _ in range(2)]
        targets = [Target(stack.enter_context(server_on(folder))) for folder in folders]
        filled = fill(embedded.conninfo(folders[1] / "data"), options.finished)
        rounds = [[measure(target, options) for target in targets] for _ in range(1 + options.rounds)]
        lines = [*heading(options, filled), *report(list(zip(*rounds[1:], strict=True)))]  # the first fills the caches
    text = "\n".join(lines)
    print(text)
    options.output.mkdir(exist_ok=True)
    (options.output / "growth.md").write_text(text + "\n")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("finished", type=int, metavar="JOBS", help="finished jobs of other workflows")
    parser.add_argument("--jobs", type=int, default=2000, help="of the small workflow (%(default)s)")
    parser.add_argument("--runners", type=int, default=8, help="that drain it (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of each server; the median counts (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results", metavar="DIR")
    return parser.parse_args()


def fill(database, jobs):
    """Fill a database; {"seconds": until it is vacuumed, "gb": its size}."""
    started = time.monotonic()
    each = min(PER_WORKFLOW, jobs)
    text = Path(__file__).with_suffix(".sql").read_text().format(jobs=jobs, per_workflow=each)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(text)
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
        size = connection.execute("SELECT pg_database_size(current_database())").fetchone()[0]
    filled = {"seconds": time.monotonic() - started, "gb": size / 1e9}
    print(f"filled in {filled['seconds']:.0f} s, {filled['gb']:.1f} GB", file=sys.stderr)
    return filled


def measure(target, options):
    """One small workflow from creation to deletion: {what: (value, unit)}."""
    found = {}

    @contextlib.contextmanager
    def counted(name, count, kinds=("server", "postgres")):
        before = target.machine.cpu()
        yield
        cpu = used(before, target.machine.cpu(), count)
        found[f"{name}, CPU"] = (sum(cpu[kind] for kind in kinds) * 1000, "µs")

    with contextlib.closing(Client(target.url, timeout=900)) as client:
        with counted("create and initialize a job", options.jobs):
            workflow = runners.create_workflow(client, runners.flat(options.jobs))
            client.post(f"/workflows/{workflow}/initialize_jobs")
        with counted("drain a job", options.jobs):
            done = runners.drain(target.url, workflow, options.runners, runners.ONE_BY_ONE, 120)
        found["drain"] = (done["jobs"] / done["seconds"], "jobs/s")
        for call in runners.CALLS:
            for name, value in quantiles(done[call]).items():
                found[f"{call}, {name}"] = (value, "ms")
        times = []
        with counted("list 100 jobs", LISTS):
            for _ in range(LISTS):
                started = time.perf_counter()
                client.request_text("GET", f"/jobs?workflow_id={workflow}&status=completed&limit=100&offset=500")
                times.append(time.perf_counter() - started)
        found["list 100 jobs, p50"] = (quantiles(times)["p50"], "ms")
        started = time.perf_counter()
        with counted("delete a job", options.jobs):
            client.delete(f"/workflows/{workflow}")
        found["delete the workflow"] = ((time.perf_counter() - started) * 1000, "ms")
    return found


def heading(options, filled):
    machine = describe()
    return [
        f"# A workflow of {options.jobs:,} jobs beside {options.finished:,} finished ones",
        "",
        f"{datetime.now(UTC):%F}, {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, commit "
        f"{machine['commit']}; two servers in turns, median of {options.rounds}; {options.runners} runners. Filled in "
        f"{filled['seconds']:.0f} s, {filled['gb']:.1f} GB.",
        "",
        "| | empty database | filled | ratio |",
        "|---|---|---|---|",
    ]


def report(servers):
    """Lines of a table; servers: for each the rounds of measure()."""
    lines = []
    for name, (_, unit) in servers[0][0].items():
        empty, filled = (statistics.median(one[name][0] for one in rounds) for rounds in servers)
        ratio = f"{filled / empty:.2f}" if empty else "–"  # the clock of CPU ticks every 10 ms
        lines.append(f"| {name} | {empty:,.2f} {unit} | {filled:,.2f} {unit} | {ratio} |")
    return lines


if __name__ == "__main__":
    main()
