"""Jobs drained per second: create a workflow, initialize it, let workers claim, start and complete until all is done.

    benchmarks/drain.py                      # starts a server of its own on a data folder that it removes
    benchmarks/drain.py URL                  # measures the server at URL, for example http://127.0.0.1:8080
    benchmarks/drain.py URL URL              # two servers in turns, and how they compare

Machines are shared and noisy: believe the ratios of one run, not the figures of two. Standard library only.
"""

import argparse
import contextlib
import http.client
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from urllib.parse import urlsplit

PREFIX = "/torc-service/v1"
LAYERS = 20
FAN_IN = 3  # dependencies of each job of a layer
CHAIN = 100  # jobs; one worker, so it shows latency: complete, release, claim
CALLS = ("claim", "start", "complete")
POLL_SECONDS = 0.01


def main():
    options = parse_arguments()
    with contextlib.ExitStack() as stack:
        urls = options.urls or [stack.enter_context(own_server())]
        for shape in options.shapes:
            measured = {url: [] for url in urls}
            for _ in range(options.rounds):
                for url in urls:
                    measured[url].append(measure(url, shape, options))
            report(shape, measured)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("urls", nargs="*", metavar="URL", help="one server or two; without: one of its own")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--jobs", type=int, default=2000, help="of the shapes flat and layers (%(default)s)")
    parser.add_argument("--workers", type=int, default=8, help="processes, except for chain (%(default)s)")
    parser.add_argument("--claim", type=int, default=10, help="jobs per claim (%(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="of each shape and server (%(default)s)")
    return parser.parse_args()


# Shapes: for each layer the jobs' dependencies, as indexes into the layer above.


def flat(jobs):
    return [[[]] * jobs]


def layers(jobs):
    width = max(jobs // LAYERS, FAN_IN)
    return [[[]] * width] + [[[(i + k) % width for k in range(FAN_IN)] for i in range(width)]] * (LAYERS - 1)


def chain(jobs):
    return [[[]]] + [[[0]]] * (CHAIN - 1)


SHAPES = {"flat": flat, "layers": layers, "chain": chain}


def measure(url, shape, options):
    """One workflow from creation to deletion: {"create": s, "initialize": s, "rate": jobs/s, "claim": [s, …], …}."""
    client = Client(url)
    workflow = client.post("/workflows", {"name": f"bench {shape}", "user": "bench"})["id"]
    started = time.monotonic()
    jobs = create_jobs(client, workflow, SHAPES[shape](options.jobs))
    created = time.monotonic()
    client.post(f"/workflows/{workflow}/initialize_jobs")
    result = {"create": created - started, "initialize": time.monotonic() - created}

    workers = 1 if shape == "chain" else options.workers
    with multiprocessing.Pool(workers) as pool:
        worked = pool.starmap(work, [(url, workflow, options.claim)] * workers, chunksize=1)
    result["rate"] = jobs / (max(last for _, last, _ in worked) - min(first for first, _, _ in worked))
    for call in CALLS:
        result[call] = [seconds for _, _, calls in worked for seconds in calls[call]]
    assert len(result["complete"]) == jobs, f"{len(result['complete'])} of {jobs} jobs completed"
    client.request("DELETE", f"/workflows/{workflow}")
    return result


def create_jobs(client, workflow, shape):
    above, count = [], 0
    for number, layer in enumerate(shape):
        jobs = [
            {
                "workflow_id": workflow,
                "name": f"job {number} {i}",
                "command": "true",
                "depends_on_job_ids": [above[k] for k in dependencies],
            }
            for i, dependencies in enumerate(layer)
        ]
        above = [job["id"] for job in client.post("/bulk_jobs", {"jobs": jobs})["jobs"]]
        count += len(jobs)
    return count


def work(url, workflow, limit):
    """A worker: when it began, when its last job was complete, and how long each of its calls took."""
    client = Client(url)
    node = client.post("/compute_nodes", {
        "workflow_id": workflow, "hostname": "bench", "pid": os.getpid(), "num_cpus": 1, "memory_gb": 1, "num_gpus": 0,
        "num_nodes": 1, "compute_node_type": "local", "start_time": "2026-01-01T00:00:00Z", "is_active": True,
    })["id"]  # fmt: skip
    took = defaultdict(list)
    first = last = time.monotonic()

    def timed(call, *request):
        started = time.perf_counter()
        answer = client.request(*request)
        took[call].append(time.perf_counter() - started)
        return answer

    while True:
        jobs = timed("claim", "POST", f"/workflows/{workflow}/claim_next_jobs?limit={limit}")["jobs"]
        for job in jobs:
            timed("start", "PUT", f"/jobs/{job['id']}/start_job/0/{node}")
            timed("complete", "POST", f"/jobs/{job['id']}/complete_job/completed/0", {
                "job_id": job["id"], "workflow_id": workflow, "run_id": 0, "compute_node_id": node, "return_code": 0,
                "exec_time_minutes": 0.1, "completion_time": "2026-01-01T00:00:00Z", "status": "completed",
            })  # fmt: skip
            last = time.monotonic()
        if not jobs:
            if client.request("GET", f"/workflows/{workflow}/is_complete")["is_complete"]:
                return first, last, took
            time.sleep(POLL_SECONDS)


class Client:
    """One kept connection; anything but 200 is an error."""

    def __init__(self, url):
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)

    def post(self, path, body=None):
        return self.request("POST", path, body)

    def request(self, method, path, body=None):
        headers = {} if body is None else {"Content-Type": "application/json"}
        self._connection.request(method, PREFIX + path, None if body is None else json.dumps(body), headers)
        response = self._connection.getresponse()
        text = response.read()
        if response.status != 200:
            raise RuntimeError(f"{method} {path}: {response.status} {text[:500].decode()}")
        return json.loads(text)


def report(shape, measured):
    rates = []
    for url, rounds in measured.items():
        rates.append(max(one["rate"] for one in rounds))
        once = "  ".join(f"{name} {min(one[name] for one in rounds):.2f} s" for name in ("create", "initialize"))
        calls = "  ".join(f"{call} {milliseconds(rounds, call)}" for call in CALLS)
        print(f"{shape:7} {url}  {rates[-1]:6.0f} jobs/s  {once}  p50/p99 ms: {calls}", flush=True)
    if len(rates) == 2:
        print(f"{shape:7} the first is {rates[0] / rates[1]:.2f} times as fast as the second", flush=True)


def milliseconds(rounds, call):
    times = sorted(seconds * 1000 for one in rounds for seconds in one[call])
    return f"{times[len(times) // 2]:.1f}/{times[len(times) * 99 // 100]:.1f}"


@contextlib.contextmanager
def own_server():
    """The URL of a server on a new data folder."""
    with tempfile.TemporaryDirectory(prefix="torc-bench-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL's account passes through
        with open(Path(folder, "log"), "wb") as log:
            server = subprocess.Popen(
                [Path(sys.executable).parent / "torc-server", "run", "--port=0", f"--data-dir={folder}/data"],
                env={k: v for k, v in os.environ.items() if not k.startswith("TORC_")}, stdout=subprocess.PIPE,
                stderr=log, text=True,
            )  # fmt: skip
        try:
            line = server.stdout.readline()
            if not line:
                sys.exit(Path(folder, "log").read_text())
            yield f"http://127.0.0.1:{line.strip().removeprefix('TORC_SERVER_PORT=')}"
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
