"""Measures a torc server over plain HTTP, or two in turns: all rows of benchmarks/README.md.

    benchmarks/bench.py                                  # starts a server on a temporary data folder
    benchmarks/bench.py URL                              # the server at URL, for example http://127.0.0.1:8080
    benchmarks/bench.py URL --against URL                # two servers in turns, row by row, and the ratio
    benchmarks/bench.py --only flat chain --rounds 1     # some of the rows

Every row is bounded in time. What a server does not have is left out, with the reason. Progress goes to stderr, the
table to stdout; --out DIR gets results.json, table.md and the plots. Standard library only.
"""

import argparse
import contextlib
import json
import re
import resource
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import plots
from http_client import Refused
from machine import describe
from own_server import own_server
from rows import FULL, QUICK, ROWS, Target
from runners import Unsupported

RESULTS = Path(__file__).parent / "results"


def main():
    options = parse_arguments()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a thousand idle runners
    with contextlib.ExitStack() as stack:
        urls = [options.url or stack.enter_context(own_server())]
        urls += [options.against] if options.against else []
        targets = [Target(url, options.postgres) for url in urls]
        result = measure(targets, QUICK if options.quick else FULL, options)
    print(table(result))
    out = options.out or (None if options.quick or options.only else RESULTS)
    if out:
        write(result, out)
        print(f"written to {out}", file=sys.stderr)
    if any("failed" in row for row in result["rows"]):
        sys.exit(1)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", metavar="URL", help="the server to measure; without: one that it starts")
    parser.add_argument("--against", metavar="URL", help="another server, measured in turns with the first")
    parser.add_argument("--names", nargs="+", metavar="NAME", help="what to call the servers in tables and plots")
    parser.add_argument(
        "--postgres", type=int, metavar="PID", help="postmaster of a database that no server has started"
    )
    parser.add_argument("--only", nargs="+", choices=ROWS, metavar="ROW", help=f"some of: {', '.join(ROWS)}")
    parser.add_argument("--rounds", type=int, default=0, help="of each row and server; the median counts (3; quick: 1)")
    parser.add_argument("--quick", action="store_true", help="tiny workflows: shows that all rows work, not how fast")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: benchmarks/results for a run of all rows")
    return parser.parse_args()


def measure(targets, scale, options):
    """Everything that results.json holds."""
    rounds = options.rounds or (1 if options.quick else 3)
    names = [*(options.names or []), *[target.url for target in targets]][: len(targets)]
    found = {}  # name of a measurement: {"unit", "more", "values": [[of a server], …], …}
    skipped = []
    turns = [
        (row, number, target)
        for row in options.only or ROWS
        for number in range(rounds)
        for target in range(len(targets))
    ]
    began = time.monotonic()
    for done, (row, number, which) in enumerate(turns):
        left = (time.monotonic() - began) / done * (len(turns) - done) if done else 0
        say(
            f"[{done + 1}/{len(turns)}] {row}, round {number + 1}, {names[which]}"
            + (f", about {left / 60:.0f} min left" * bool(done))
        )
        if any(entry["row"] == row and entry["server"] == names[which] for entry in skipped):
            continue
        try:
            for one in ROWS[row](targets[which], scale):
                say(f"    {one.name}: {rounded(one.value)} {one.unit}")
                entry = found.setdefault(one.name, {"row": row, "unit": one.unit, "more": one.more, "servers": {}})
                entry["servers"].setdefault(names[which], []).append({"value": one.value, **one.details})
        except Unsupported as error:
            skipped.append({"row": row, "server": names[which], "reason": f"it does not have: {error}"})
        except (Refused, OSError, RuntimeError) as error:
            skipped.append({"row": row, "server": names[which], "reason": str(error)[:500], "failed": True})
        if skipped and skipped[-1]["row"] == row and skipped[-1]["server"] == names[which]:
            say(f"    left out: {skipped[-1]['reason']}")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe(),
        "servers": [{"name": n, "url": t.url, "version": t.version} for n, t in zip(names, targets, strict=True)],
        "rounds": rounds,
        "rows": [row_of(name, entry, names) for name, entry in found.items()]
        + [entry for entry in skipped if "failed" in entry],
        "left_out": skipped,
    }


def row_of(name, entry, names):
    """One row of the results: for each server the round with the median value, and all values; the ratio is that of
    the first to the second, turned so that more is better."""
    servers = {}
    for server, rounds in entry["servers"].items():
        middle = statistics.median_low(one["value"] for one in rounds)
        chosen = next(one for one in rounds if one["value"] == middle)
        servers[server] = {**chosen, "values": [round(one["value"], 4) for one in rounds]}
    row = {
        "name": name,
        "row": entry["row"],
        "unit": entry["unit"],
        "more_is_better": entry["more"],
        "servers": servers,
    }
    if len(names) == 2 and len(servers) == 2:
        first, second = (servers[server]["value"] for server in names)
        row["ratio"] = round(first / second if entry["more"] else second / first, 2)
    return row


def table(result):
    """The results in Markdown."""
    names = [server["name"] for server in result["servers"]]
    machine = result["machine"]
    lines = [
        f"{result['date']}, {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, "
        f"kernel {machine['kernel']}, Python {machine['python']}, commit {machine['commit']}; "
        f"median of {result['rounds']}. "
        + ", ".join(f"{server['name']}: version {server['version']}" for server in result["servers"])
        + ".",
        "",
        "| work | " + " | ".join(names) + " | ratio | CPU ms, server + PostgreSQL | p50 / p99 ms | memory MB |",
        "|---|" + "---|" * (len(names) + 4),
    ]
    for row in result["rows"]:
        if "servers" not in row:
            continue
        values = [f"{rounded(row['servers'][n]['value'])} {row['unit']}" if n in row["servers"] else "–" for n in names]
        first = next(iter(row["servers"].values()))
        cpu = first.get("cpu_ms_per_job") or first.get("cpu_ms_per_request") or {}
        latency = "; ".join(
            f"{call} {q['p50']:.1f} / {q['p99']:.1f}" for call, q in first.get("latency_ms", {}).items()
        )
        memory = " + ".join(str(round(megabytes)) for megabytes in first.get("memory_mb", {}).values())
        cells = [
            row["name"], *values, str(row.get("ratio", "")),
            f"{cpu['server']:.2f} + {cpu['postgres']:.2f}" if cpu.get("server") else "", latency, memory,
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", *[f"Left out: {each['row']} of {each['server']}: {each['reason']}" for each in result["left_out"]]]
    return "\n".join(lines).strip()


def write(result, folder):
    """results.json, table.md and the plots."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    (folder / "table.md").write_text(table(result) + "\n")
    for name, (rows, title, x_label, unit, pattern, log_y) in PLOTS.items():
        series = points(result, rows, pattern)
        if series:
            (folder / f"{name}.svg").write_text(plots.lines(title, x_label, unit, series, log_y))


# File: (rows, title, label of x, label of y, where x is in a measurement's name, whether y is logarithmic)
PLOTS = {
    "runners": (
        ("flat", "flat_batches", "flat_running"), "Throughput against runners", "runners", "jobs/s", r"(\d+) runner",
        False,
    ),
    "ready_jobs": (("ready_jobs",), "Claims against ready jobs, p99", "ready jobs", "ms", r"from ([\d,]+) ready", True),
    "cores": (("cores",), "Throughput against cores", "cores of the server", "jobs/s", r"on (\d+) core", False),
}  # fmt: skip
LABELS = {"flat": "one by one", "flat_batches": "batches of 10", "flat_running": "claimed as running", "cores": ""}


def points(result, rows, pattern):
    """{series: [(x, y)]} of a plot: one series for each server and way."""
    series = {}
    for row in result["rows"]:
        if row.get("row") not in rows or "servers" not in row:
            continue
        x = int(re.search(pattern, row["name"])[1].replace(",", ""))
        way = LABELS.get(row["row"], row["name"].partition(" ")[0].removesuffix("_jobs").replace("claim_jobs_", ""))
        for server, measured in row["servers"].items():
            series.setdefault(f"{server}, {way}".strip(" ,"), []).append((x, measured["value"]))
    return series


def rounded(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def say(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
