"""What is measured. Each row is a function of a Target and a Scale that yields Measurements, ends in bounded time and
deletes what it has made."""

import contextlib
import json
import multiprocessing
import os
import selectors
import time
from dataclasses import dataclass, field, replace

import runners
from http_client import Client, Refused
from machine import Machine, used
from runners import BATCHES, NODE, ONE_BY_ONE, RUNNING, RUNNING_100, WAITING, Unsupported

SMALL, LARGE = {"num_cpus": 1, "memory": "1g"}, {"num_cpus": 64, "memory": "512g"}
READERS = 8  # connections of the small reads
LIMIT = 100_000  # of a list


@dataclass(frozen=True)
class Scale:
    """How much is measured. seconds: of each drain and each kind of read, at most."""

    jobs: int = 4000
    seconds: float = 30
    runners: tuple = (1, 2, 4, 8, 16, 32, 64)
    layers: tuple = (40, 100)
    chain: int = 100
    bulk: int = 100_000
    edges: int = 180_000
    ready: tuple = (1_000, 4_000, 16_000, 64_000, 400_000)
    read_seconds: float = 5
    idle: int = 1000
    claims: int = 200


FULL = Scale()
QUICK = Scale(
    jobs=6, seconds=5, runners=(1, 2), layers=(2, 3), chain=3, bulk=30, edges=50, ready=(20, 40), read_seconds=0.05,
    idle=10, claims=3,
)  # fmt: skip


@dataclass
class Measurement:
    """One figure of a row: `name` says of what; more says whether more is better. details: latencies, CPU, memory."""

    name: str
    value: float
    unit: str
    more: bool
    details: dict = field(default_factory=dict)


class Target:
    """A server: its URL, what it says it is, and what the machine says of its processes."""

    def __init__(self, url, postmaster=None):
        self.url = url
        self.machine = Machine(url, postmaster)
        with contextlib.closing(Client(url)) as client:
            self.version = client.get("/version")
        if isinstance(self.version, dict):
            self.version = self.version.get("version")

    @contextlib.contextmanager
    def client(self):
        with contextlib.closing(Client(self.url, timeout=900)) as client:
            yield client

    @contextlib.contextmanager
    def workflow(self, shape, initialize=True, **job):
        """A workflow with the jobs of a shape, (client, id); deleted afterwards."""
        with self.client() as client:
            workflow = runners.create_workflow(client, shape, **job)
            try:
                if initialize:
                    client.post(f"/workflows/{workflow}/initialize_jobs")
                yield client, workflow
            finally:
                client.delete(f"/workflows/{workflow}")


# Drains


def drained(target, name, shape, count, way, scale):
    """Drain a workflow; jobs/s, with the latencies of the calls, CPU per job and memory by kind of process."""
    with target.workflow(shape) as (_, workflow):
        before = target.machine.cpu()
        done = runners.drain(target.url, workflow, count, way, scale.seconds)
        after = target.machine.cpu()
    jobs = done["jobs"]
    if not jobs:
        raise RuntimeError(f"no job was completed in {scale.seconds} s")
    details = {
        "jobs": jobs,
        "latency_ms": {call: quantiles(done[call]) for call in runners.CALLS if call in done},
        "cpu_ms_per_job": used(before, after, jobs),
        "memory_mb": target.machine.memory(),
    }
    return Measurement(name, jobs / done["seconds"], "jobs/s", True, details)


def flat(target, scale):
    shape = runners.flat(scale.jobs)
    for count in scale.runners:
        yield drained(target, f"flat, {runner_words(count)}, one by one", shape, count, ONE_BY_ONE, scale)


def flat_batches(target, scale):
    shape = runners.flat(scale.jobs)
    for count in scale.runners:
        yield drained(target, f"flat, {runner_words(count)}, completed in batches of 10", shape, count, BATCHES, scale)


def flat_running(target, scale):
    shape = runners.flat(scale.jobs)
    for count in scale.runners:
        yield drained(
            target, f"flat, {runner_words(count)}, claimed as running, batches of 10", shape, count, RUNNING, scale
        )


def flat_running_100(target, scale):
    for count in sorted({min(count, scale.runners[-1]) for count in (8, 32)}):
        name = f"flat, {runner_words(count)}, claimed as running, batches of 100"
        yield drained(target, name, runners.flat(4 * scale.jobs), count, RUNNING_100, scale)


def layers(target, scale):
    count = min(8, scale.runners[-1])
    name = f"{scale.layers[0]} layers × {scale.layers[1]}, fan {runners.FAN_IN}, {runner_words(count)}"
    yield drained(target, name, runners.layers(*scale.layers), count, ONE_BY_ONE, scale)


def chain(target, scale):
    yield drained(
        target, f"chain of {scale.chain}, 1 runner", runners.chain(scale.chain), 1, replace(ONE_BY_ONE, limit=1), scale
    )


def chain_waiting(target, scale):
    """Two runners whose claims wait: one gets the next job as soon as the other has completed its dependency."""
    yield drained(
        target, f"chain of {scale.chain}, 2 runners, waiting claims", runners.chain(scale.chain), 2, WAITING, scale
    )


def runner_words(count):
    return "1 runner" if count == 1 else f"{count} runners"


# Whole workflows


def bulk(target, scale):
    """Creating, initializing, reading and deleting one large workflow."""

    def timed(name, *request):
        before = target.machine.cpu()
        started = time.monotonic()
        text = client.request_text(*request)
        seconds = time.monotonic() - started
        details = {
            "mb": round(len(text) / 1e6, 1),
            "cpu_ms_per_job": used(before, target.machine.cpu(), scale.bulk),
            "memory_mb": target.machine.memory(),
        }
        return Measurement(name, seconds, "s", False, details)

    words = f"{scale.bulk:,} jobs"
    with target.client() as client:
        workflow = client.post("/workflows", {"name": "bench bulk", "user": "bench"})["id"]
        path = f"/workflows/{workflow}"
        try:
            before = target.machine.cpu()
            created = create_bulk(client, workflow, scale)
            created.details["cpu_ms_per_job"] = used(before, target.machine.cpu(), scale.bulk)
            yield created
            yield timed(f"initialize {words}", "POST", f"{path}/initialize_jobs")
            yield timed(f"list {words}", "GET", f"/jobs?workflow_id={workflow}&limit={LIMIT}")
            query = f"workflow_id={workflow}&limit={LIMIT}&include_relationships=true"
            yield timed(f"list {words} with relations", "GET", f"/jobs?{query}")
            yield timed(
                f"process_changed_job_inputs of {words}", "POST", f"{path}/process_changed_job_inputs?dry_run=true"
            )
        except BaseException:
            client.close()
            with target.client() as other:
                other.delete(path)
            raise
        yield timed(f"delete {words}", "DELETE", path)


def create_bulk(client, workflow, scale):
    """bulk_jobs in batches; each job depends on one or two of the batch before."""
    extra = scale.edges / scale.bulk - 1
    seconds, above = 0.0, []
    batch = min(runners.BATCH, max(1, scale.bulk // 10))
    for first in range(0, scale.bulk, batch):
        jobs = []
        for number in range(first, min(first + batch, scale.bulk)):
            count = 1 + (number % 10 < 10 * extra) if above else 0
            needed = [above[(number + k) % len(above)] for k in range(count)]
            jobs.append(
                {"workflow_id": workflow, "name": f"job {number}", "command": "true", "depends_on_job_ids": needed}
            )
        request = client.as_bytes("POST", "/bulk_jobs", {"jobs": jobs})
        started = time.monotonic()
        client.socket.sendall(request)
        status, text = client.answer()
        seconds += time.monotonic() - started
        if status != 200:
            raise Refused("POST /bulk_jobs", status, text[:500].decode(errors="replace"))
        above = [job["id"] for job in json.loads(text)["jobs"]]
    return Measurement(f"bulk_jobs {scale.bulk:,} jobs, {scale.edges:,} dependencies", seconds, "s", False)


# Small calls


def reads(target, scale):
    with target.workflow(runners.flat(min(scale.jobs, 1000))) as (client, workflow):
        job = client.get(f"/jobs?workflow_id={workflow}&limit=1")["items"][0]["id"]
        for name, path in {
            "GET workflow": f"/workflows/{workflow}",
            "GET job": f"/jobs/{job}",
            "GET is_complete": f"/workflows/{workflow}/is_complete",
            "GET status summary": f"/workflows/{workflow}/status",
        }.items():
            yield hammered(target, name, "GET", path, scale)


def idle_claims(target, scale):
    """Claims of runners for which nothing is ready."""
    with target.workflow(runners.chain(2)) as (client, workflow):
        client.post(f"/workflows/{workflow}/claim_next_jobs?limit=1")
        yield hammered(
            target, "claim of an idle runner", "POST", f"/workflows/{workflow}/claim_next_jobs?limit=10", scale
        )


def hammered(target, name, method, path, scale):
    """The same request over READERS connections: requests/s."""
    with contextlib.closing(Client(target.url)) as client:
        request = client.as_bytes(method, path)
        client.request_text(method, path)  # it must be answered at all
    context = multiprocessing.get_context("fork")
    before = target.machine.cpu()
    with context.Pool(READERS) as pool:
        found = pool.starmap(_hammer, [(target.url, request, scale.read_seconds)] * READERS, chunksize=1)
        pool.close()
        pool.join()
    after = target.machine.cpu()
    times = [seconds for some in found for seconds in some]
    details = {
        "latency_ms": {"request": quantiles(times)},
        "cpu_ms_per_request": used(before, after, len(times)),
    }
    return Measurement(name, len(times) / scale.read_seconds, "requests/s", True, details)


def _hammer(url, request, seconds):
    client, times = Client(url), []
    client.socket.sendall(request)
    size = len(client.socket.recv(1 << 18))  # answers are short, and alike but for a date
    end = time.monotonic() + seconds
    while (started := time.monotonic()) < end:
        client.socket.sendall(request)
        answer = client.socket.recv(1 << 18)
        while len(answer) < size:
            answer += client.socket.recv(1 << 18)
        times.append(time.monotonic() - started)
        if answer[9:12] != b"200":
            raise RuntimeError(f"{request.split()[:2]}: {answer[:200]}")
    return times


# Waiting claims


def idle_beside_drain(target, scale):
    """8 runners drain while idle ones wait on the same workflow for jobs that fit them; and the same without those."""
    count = min(8, scale.runners[-1])
    for idle in (0, scale.idle):
        name = f"flat, {runner_words(count)}, claimed as running, beside {idle:,} idle runners whose claims wait"
        with target.workflow(runners.flat(scale.jobs)) as (_, workflow):
            context = multiprocessing.get_context("fork")
            ready, stop = context.Event(), context.Event()
            waiting = context.Process(target=_wait_idly, args=(target.url, workflow, idle, ready, stop))
            waiting.start()
            try:
                while waiting.is_alive() and not ready.wait(0.2):
                    pass
                if not ready.is_set():
                    raise Unsupported("claims that wait")
                before = target.machine.cpu()
                done = runners.drain(target.url, workflow, count, RUNNING, scale.seconds)
                after = target.machine.cpu()
                details = {
                    "latency_ms": {call: quantiles(done[call]) for call in ("claim", "complete")},
                    "cpu_ms_per_job": used(before, after, done["jobs"]),
                    "memory_mb": target.machine.memory(),
                }
            finally:
                stop.set()
                waiting.join(60)
        yield Measurement(name, done["jobs"] / done["seconds"], "jobs/s", True, details)


def _wait_idly(url, workflow, count, ready, stop):
    """Idle runners with a label that no job has, so that nothing suits them. Their claims wait longer than a drain."""
    body = NODE | {"labels": ["bench-idle"]}
    body = {key: body[key] for key in ("num_cpus", "memory_gb", "num_gpus", "num_nodes", "labels")}
    selector, clients = selectors.DefaultSelector(), [Client(url) for _ in range(count)]
    path = f"/workflows/{workflow}/claim_jobs_based_on_resources/10?wait=60"
    for client in clients:
        client.send("POST", path, body)
        selector.register(client.socket, selectors.EVENT_READ)
    time.sleep(0.5 + count / 200)  # until all of them have found nothing
    if count and selector.select(0):  # answered at once: this server's claims do not wait
        os._exit(1)
    ready.set()
    stop.wait()


# Growth


def ready_jobs(target, scale):
    """Claims from ever more ready jobs, of which 80 % do not fit and half of the others want a label."""
    for count in scale.ready:
        with target.client() as client:
            workflow = client.post("/workflows", {"name": "bench ready", "user": "bench"})["id"]
            try:
                yield from _claims_of(client, workflow, count, scale)
            finally:
                client.delete(f"/workflows/{workflow}")


def _claims_of(client, workflow, count, scale):
    small, large = (
        _requirements(client, workflow, name, needs) for name, needs in (("small", SMALL), ("large", LARGE))
    )
    jobs = [
        {
            "workflow_id": workflow,
            "name": f"job {i}",
            "command": "true",
            "resource_requirements_id": small if i % 5 == 0 else large,
        }
        | ({"labels": ["gpu"]} if i % 10 == 0 else {})
        for i in range(count)
    ]
    runners.create_jobs(client, jobs)
    client.post(f"/workflows/{workflow}/initialize_jobs")
    fitting = {key: NODE[key] for key in ("num_cpus", "memory_gb", "num_gpus", "num_nodes")}
    for name, path, body in (
        ("claim_next_jobs", f"/workflows/{workflow}/claim_next_jobs?limit=1", None),
        ("claim_jobs_based_on_resources", f"/workflows/{workflow}/claim_jobs_based_on_resources/1", fitting),
    ):
        times, end = [], time.monotonic() + scale.seconds
        while len(times) < min(scale.claims, count // 20) and time.monotonic() < end:
            started = time.perf_counter()
            client.request_text("POST", path, body)
            times.append(time.perf_counter() - started)
        found = quantiles(times)
        yield Measurement(
            f"{name} of 1 from {count:,} ready jobs, p99", found["p99"], "ms", False, {"latency_ms": {"claim": found}}
        )


def _requirements(client, workflow, name, needs):
    body = {"workflow_id": workflow, "name": name, "num_gpus": 0, "num_nodes": 1, "runtime": "PT1M"} | needs
    return client.post("/resource_requirements", body)["id"]


# Cores


def cores(target, scale):
    """The same drain, the server and PostgreSQL on one core, on two, and so on; the driver has the others, if any."""
    available = sorted(os.sched_getaffinity(0))
    numbers = [n for n in (1, 2, 4, 8, 16) if n <= len(available)]
    count = min(8, scale.runners[-1])
    try:
        for number in numbers:
            try:
                target.machine.pin(available[:number])
            except (LookupError, OSError) as error:
                raise Unsupported(f"choosing its cores: {error}") from error
            os.sched_setaffinity(0, available[number:] or available)
            words = "1 core" if number == 1 else f"{number} cores"
            name = f"flat, {runner_words(count)}, one by one, server on {words}"
            yield drained(target, name, runners.flat(scale.jobs), count, ONE_BY_ONE, scale)
    finally:
        os.sched_setaffinity(0, available)
        with contextlib.suppress(LookupError, OSError):
            target.machine.pin(available)


def quantiles(seconds):
    """{"p50": ms, "p99": ms}."""
    ordered = sorted(seconds)
    return {
        name: round(1000 * ordered[min(len(ordered) - 1, int(len(ordered) * q))], 3)
        for name, q in (("p50", 0.5), ("p99", 0.99))
    }


ROWS = {
    row.__name__: row
    for row in (
        flat, flat_batches, flat_running, flat_running_100, layers, chain, chain_waiting, bulk, reads, idle_claims,
        idle_beside_drain, ready_jobs, cores,
    )
}  # fmt: skip
