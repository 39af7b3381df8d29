"""Jobs drained per second: create a workflow, initialize it, let workers claim, start and complete until all is done.

    benchmarks/drain.py                      # starts a server on a temporary data folder
    benchmarks/drain.py URL                  # measures the server at URL, for example http://127.0.0.1:8080
    benchmarks/drain.py URL URL              # two servers in turns, and how they compare

Machines are shared and noisy: believe the ratios of one run, not the figures of two. Standard library only.
"""

import argparse
import contextlib
import time

import runners
from http_client import Client
from own_server import own_server

SHAPES = {
    "flat": runners.flat,
    "layers": lambda jobs: runners.layers(20, max(jobs // 20, runners.FAN_IN)),
    "chain": lambda _jobs: runners.chain(100),  # one runner, so it shows latency: complete, release, claim
}


def main():
    options = parse_arguments()
    with contextlib.ExitStack() as stack:
        urls = options.urls or [stack.enter_context(own_server())]
        for shape in options.shapes:
            rounds = [[measure(url, shape, options) for url in urls] for _ in range(options.rounds)]
            report(shape, urls, list(zip(*rounds, strict=True)))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("urls", nargs="*", metavar="URL", help="one server or two; without: one that it starts")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--jobs", type=int, default=2000, help="of the shapes flat and layers (%(default)s)")
    parser.add_argument("--workers", type=int, default=8, help="processes, except for chain (%(default)s)")
    parser.add_argument("--claim", type=int, default=10, help="jobs per claim (%(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="of each shape and server (%(default)s)")
    parser.add_argument("--seconds", type=float, default=300, help="of each drain at most (%(default)s)")
    return parser.parse_args()


def measure(url, shape, options):
    """One workflow from creation to deletion: {"create": s, "initialize": s, "rate": jobs/s, "claim": [s, …], …}."""
    with contextlib.closing(Client(url)) as client:
        started = time.monotonic()
        workflow = runners.create_workflow(client, SHAPES[shape](options.jobs))
        created = time.monotonic()
        client.post(f"/workflows/{workflow}/initialize_jobs")
        result = {"create": created - started, "initialize": time.monotonic() - created}
        count = 1 if shape == "chain" else options.workers
        result |= runners.drain(url, workflow, count, runners.Way(options.claim), options.seconds)
        client.delete(f"/workflows/{workflow}")
    return result | {"rate": result["jobs"] / result["seconds"]}


def report(shape, urls, measured):
    rates = []
    for url, rounds in zip(urls, measured, strict=True):
        rates.append(max(one["rate"] for one in rounds))
        once = "  ".join(f"{name} {min(one[name] for one in rounds):.2f} s" for name in ("create", "initialize"))
        calls = "  ".join(f"{call} {milliseconds(rounds, call)}" for call in runners.CALLS)
        print(f"{shape:7} {url}  {rates[-1]:6.0f} jobs/s  {once}  p50/p99 ms: {calls}", flush=True)
    if len(rates) == 2:
        print(f"{shape:7} the first is {rates[0] / rates[1]:.2f} times as fast as the second", flush=True)


def milliseconds(rounds, call):
    times = sorted(seconds * 1000 for one in rounds for seconds in one[call])
    return f"{times[len(times) // 2]:.1f}/{times[len(times) * 99 // 100]:.1f}"


if __name__ == "__main__":
    main()
