"""The dashboard: how long its pages take with workflows of 100,000 jobs, and whether open pages slow a drain.

    benchmarks/dashboard.py             # starts a server on a temporary data folder
    benchmarks/dashboard.py --jobs N --times N --open N --only-drain --only-pages

A page is asked for by one client after the other; the times are those until its last byte, the CPU is that of the
server and its PostgreSQL. One workflow is half done, in the other all jobs have results. In Chromium a page is open
when its pictures are there. For the drain, so many pages follow its workflow (their stream is open), in turns with
none. Machines are shared and noisy: compare, in one run, and believe the CPU rather than the time. What is printed is
written to results/dashboard.md.
"""

import argparse
import http.client
import os
import socket
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import psutil
import psycopg

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "helpers"))

import drain
from browser import Browser, chromium, chromium_program
from showcase import Showcase
from support import Server

from torc_server import embedded

PAGES = {
    "workflows": "/", "workflow": "/ui/workflows/{id}", "jobs": "/ui/workflows/{id}/jobs",
    "jobs, page 900": "/ui/workflows/{id}/jobs?offset=90000", "jobs by name": "/ui/workflows/{id}/jobs?sort=name",
    "jobs that failed": "/ui/workflows/{id}/jobs?status=failed", "job": "/ui/jobs/{job}",
    "use": "/ui/workflows/{id}/use", "graph": "/ui/workflows/{id}/graph",
    "graph unfolded": "/ui/workflows/{id}/graph?open=simulate_*",
    "graph by level": "/ui/workflows/{id}/graph?fold=level", "over time": "/ui/workflows/{id}/progress",
    "timeline": "/ui/workflows/{id}/timeline", "nodes": "/ui/nodes", "CSV": "/ui/workflows/{id}/jobs.csv",
}  # fmt: skip
ALLOWED_MS = {None: 300, "graph": 1000, "graph unfolded": 1000, "graph by level": 1000, "CSV": None}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=40, help="that each page is asked for (%(default)s)")
    parser.add_argument("--open", type=int, default=100, help="pages during a drain (%(default)s)")
    parser.add_argument("--only-drain", action="store_true")
    parser.add_argument("--only-pages", action="store_true")
    parser.add_argument("--rounds", type=int, default=3, help="of the drain with pages and without (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    lines = []
    with tempfile.TemporaryDirectory(prefix="torc-bench-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL's account passes through
        server = Server(Path(folder, "server")).wait_until_it_listens()
        try:
            with psycopg.connect(embedded.conninfo(server.data_dir), autocommit=True) as connection:
                showcase = Showcase(connection)
                showcase.empty()
                if not options.only_drain:
                    workflows = make_workflows(showcase, options.jobs)
                    connection.execute("VACUUM ANALYZE")
                    lines += time_pages(server, workflows, options.times)
                    lines += open_in_chromium(server, workflows, Path(folder))
            if not options.only_pages:
                lines += drain_with_pages(server, options)
        finally:
            server.stop()
    options.output.mkdir(exist_ok=True)
    heading = [f"# Pages of the dashboard with {options.jobs:,} jobs", "", f"{datetime.now(UTC):%F}, {machine()}.", ""]
    (options.output / "dashboard.md").write_text("\n".join([*heading, *lines, ""]))


def make_workflows(showcase, jobs):
    """{name: {"id": a workflow, "job": one of its jobs}}."""
    made = {"half done": showcase.large(jobs), "finished": showcase.finished(jobs)}
    newest = "SELECT max(id) FROM torc.job WHERE workflow_id = %s"
    return {name: {"id": id, "job": showcase.value(newest, id)} for name, id in made.items()}


def time_pages(server, workflows, times):
    yield from written("| page | workflow | p50 ms | p99 ms | CPU ms | p99 allowed |", "|---|---|---|---|---|---|")
    for name, path in PAGES.items():
        for state, ids in workflows.items():
            before = cpu_seconds(server)
            took = sorted(once(server, path.format(**ids)) * 1000 for _ in range(times))
            cpu = (cpu_seconds(server) - before) * 1000 / times
            p50, p99 = took[times // 2], took[min(times * 99 // 100, times - 1)]
            allowed = ALLOWED_MS.get(name, ALLOWED_MS[None])
            allowed = f"{allowed}{' **missed**' if p99 > allowed else ''}" if allowed else ""
            yield from written(f"| {name} | {state} | {p50:.0f} | {p99:.0f} | {cpu:.0f} | {allowed} |")


def open_in_chromium(server, workflows, folder):
    """How long it takes until a page and its pictures are there, five times each."""
    if not chromium_program():
        yield from written("", "There is no Chromium on this machine.")
        return
    yield from written(
        "", "| in Chromium | workflow | seconds until it is there, median and longest of 5 |", "|---|---|---|"
    )
    with chromium(folder) as address:
        for name, path, there in (
            ("workflow", "/ui/workflows/{id}", "document.querySelectorAll('.included svg').length == 2"),
            ("graph", "/ui/workflows/{id}/graph", "!!document.querySelector('#picture [data-node]')"),
        ):
            for state, ids in workflows.items():
                took = []
                for _ in range(5):
                    browser = Browser(address)
                    browser.call("Network.setCacheDisabled", cacheDisabled=True)
                    started = time.perf_counter()
                    browser.open(server.url + path.format(**ids))
                    browser.wait_for(f"document.readyState == 'complete' && {there}")
                    took.append(time.perf_counter() - started)
                    browser.close()
                yield from written(f"| {name} | {state} | {sorted(took)[2]:.2f}, {max(took):.2f} |")


def machine():
    """The machine in words. When its load is above its cores, times are those of waiting."""
    return f"{os.cpu_count()} cores, load {os.getloadavg()[2]:.1f}"


def written(*lines):
    """The lines, which are printed too."""
    for line in lines:
        print(line, flush=True)
        yield line


def once(server, path):
    started = time.perf_counter()
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.request("GET", path, headers={"Accept": "text/html"})
        answer = connection.getresponse()
        answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{path}: {answer.status}")
    return time.perf_counter() - started


def drain_with_pages(server, options):
    settings = SimpleNamespace(jobs=4000, workers=4, claim=10, seconds=60)
    rates = {0: [], options.open: []}
    for _ in range(options.rounds):
        for pages, found in rates.items():
            with ExitStack() as stack:
                ended = threading.Event()
                stack.callback(ended.set)
                if pages:
                    threading.Thread(target=follow, args=(server, pages, ended, stack), daemon=True).start()
                before = cpu_seconds(server)
                rate = drain.measure(server.url, "layers", settings)["rate"]
                found.append((rate, (cpu_seconds(server) - before) * 1000 / settings.jobs))
    yield from written("", "| pages open during a drain | jobs/s at best | ms of CPU a job at least |", "|---|---|---|")
    for pages, found in rates.items():
        best, least = max(rate for rate, _ in found), min(cpu for _, cpu in found)
        yield from written(f"| {pages} | {best:.0f} | {least:.2f} |")


def cpu_seconds(server):
    """The CPU that the server and its PostgreSQL have taken so far. The server's processes are forked from this one,
    and have its command line."""
    folder = str(server.data_dir)
    roots = [psutil.Process(server.process.pid)]
    roots += [
        process for process in psutil.process_iter(["cmdline"]) if folder in " ".join(process.info["cmdline"] or [])
    ]
    family = {child for root in roots for child in (root, *root.children(recursive=True))}
    total = 0.0
    for process in family:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def follow(server, pages, ended, stack):
    """Open that many streams of the workflow that comes next, and read them."""
    address = urlsplit(server.url)
    client = server.client.__class__(server.url)
    newest = "/workflows?limit=1&sort_by=id&reverse_sort=true"
    before = client.get(newest).json["items"][0]["id"]
    while (workflow := client.get(newest).json["items"][0]["id"]) == before:
        time.sleep(0.02)
    streams = []
    for _ in range(pages):
        stream = stack.enter_context(socket.create_connection((address.hostname, address.port)))
        head = f"GET /ui/workflows/{workflow}/live HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n"
        stream.sendall(head.encode())
        stream.setblocking(False)
        streams.append(stream)
    while not ended.wait(0.2):
        for stream in streams:
            with suppress(BlockingIOError):
                stream.recv(1 << 16)


if __name__ == "__main__":
    main()
