"""CPU that PostgreSQL takes for each call, before and after a decision: the folders beside this file.

    benchmarks/decisions/measure.py FOLDER …           # before.sql and after.sql of each, in turns
    benchmarks/decisions/measure.py --urls URL URL     # two databases that are migrated already, in turns

A folder holds work.txt, the names of the works below that it is about, and before.sql and after.sql, each run once on a
new database that has the schema and the functions of this checkout. Either may be empty: what is decided is in
the checkout, so that before.sql brings back the other way. Each database is worked on by one connection, set up as the
server sets up its own; what counts is the CPU of its backend from /proc, in µs for each job. The machine may be loaded,
so the two take turns, every ten jobs, and of all samples of a call the lowest tenth counts: trust the ratio, and no
difference under 5 %. Commits do not wait for the disk, unless --flush: that takes some 200 µs of CPU each, the same
before and after, which several connections share.
"""

import argparse
import contextlib
import itertools
import json
import os
import tempfile
import uuid
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from torc_server import embedded, migrations
from torc_server.connections import SETTINGS

HERE = Path(__file__).parent
ALONE = "(NULL, false, NULL)::torc.caller"  # without access control
RESULT = {"run_id": 0, "return_code": 0, "exec_time_minutes": 0.1, "completion_time": "2026-01-01T00:00:00Z"}
NODE = """
    INSERT INTO torc.compute_node (
        workflow_id, hostname, pid, start_time, num_cpus, memory_gb, num_gpus, num_nodes, compute_node_type, is_active
    )
    VALUES (%s, 'host', 1, '2026-01-01T00:00:00Z', 8, 32, 0, 1, 'local', true)
    RETURNING id
"""
PIECE = 2_500  # jobs of one statement, about as many as the server sends
WORKER = json.dumps({"num_cpus": 1000, "memory_gb": 1000, "num_gpus": 0, "num_nodes": 1})


class Backend:
    """One connection, and the CPU of its backend by name of what it did."""

    def __init__(self, url, flush=False):
        self.connection = psycopg.connect(url, autocommit=True, prepare_threshold=0)
        for name, setting in SETTINGS.items():
            self.connection.execute("SELECT set_config(%s, %s, false)", [name, setting])
        self.connection.execute("SET statement_timeout = '10min'")
        if not flush:
            self.connection.execute("SET synchronous_commit = off")
        self.seconds = {}

    def value(self, statement, *values):
        return self.connection.execute(statement, values).fetchone()[0]

    @contextlib.contextmanager
    def measured(self, name, jobs):
        started = self._cpu()
        yield
        self.seconds.setdefault(name, []).append((self._cpu() - started) / jobs)

    def _cpu(self):
        return int(Path(f"/proc/{self.connection.info.backend_pid}/schedstat").read_text().split()[0]) / 1e9

    def filled_workflow(self, jobs, dependencies=(), name="create", piece=PIECE, **more):
        """A workflow of so many jobs, each with dependencies on those so many places before it, of earlier pieces."""
        workflow = self.value('SELECT torc.create_workflow(\'{"name": "w", "user": "u"}\') ->> \'id\'')
        ids = []
        for start in range(0, jobs, piece):
            batch = [
                {"workflow_id": int(workflow), "name": f"job {i}", "command": f"echo {i}"} | more
                | ({"depends_on_job_ids": needed} if (needed := self._needed(i, start, ids, dependencies)) else {})
                for i in range(start, min(start + piece, jobs))
            ]  # fmt: skip
            text = json.dumps(batch)
            with self.measured(name, len(batch)):
                statement = f"SELECT job::json ->> 'id' FROM torc.create_jobs(%s, %s::json, {ALONE}) AS job"  # noqa: S608
                ids += [int(row[0]) for row in self.connection.execute(statement, [workflow, text])]
        return int(workflow), ids

    def _needed(self, i, start, ids, dependencies):
        return sorted({ids[i - back] for back in dependencies if start > i - back >= 0})

    def initialize(self, workflow, jobs, name="initialize"):
        with self.measured(name, jobs):
            self.value(f"SELECT torc.initialize_jobs(%s, false, false, false, {ALONE})::text", workflow)


def drain(backend, jobs=600, *, claim="claim_next_jobs(%s, 10, {})", batch=False, dependencies=(), piece=PIECE):
    """Claims of 10, each job started and completed, in a workflow of so many jobs. Yields where the other may go on."""
    workflow, _ = backend.filled_workflow(jobs, dependencies, "create (small)", piece)
    backend.initialize(workflow, jobs, "initialize (small)")
    node = backend.value(NODE, workflow)
    while True:
        with backend.measured("claim of 10", 10):
            claimed = backend.value(f"SELECT torc.{claim.replace('{}', ALONE)}::text", workflow)
        ids = [job["id"] for job in json.loads(claimed)["jobs"]]
        if not ids:
            return
        results = {
            job: RESULT | {"job_id": job, "workflow_id": workflow, "compute_node_id": node, "status": "completed"}
            for job in ids
        }
        with backend.measured("start", len(ids)):
            for job in ids:
                backend.value(f"SELECT torc.start_job(%s, 0, %s, {ALONE})::text", job, node)
        if batch:
            sent = [{"job_id": job, "status": "completed", "run_id": 0, "result": results[job]} for job in ids]
            statement = f"SELECT torc.batch_complete_jobs(%s, %s::jsonb, {ALONE})::text"
            with backend.measured("batch_complete of 10", len(ids)):
                backend.value(statement, workflow, json.dumps(sent))
            yield
            continue
        texts = {job: json.dumps(result) for job, result in results.items()}
        with backend.measured("complete", len(ids)):
            for job, text in texts.items():
                backend.value(f"SELECT torc.complete_job(%s, 'completed', 0, %s::jsonb, {ALONE})::text", job, text)
        yield


def flat(backend):
    return drain(backend)


def resources(backend):
    return drain(backend, claim=f"claim_jobs_based_on_resources(%s, 10, false, '{WORKER}'::jsonb, {{}})")


def batches(backend):
    return drain(backend, batch=True)


def layers(backend):
    """Layers of 50 jobs, each with three dependencies in the layer before."""
    return drain(backend, dependencies=(50, 49, 48), piece=50)


def layer_batches(backend):
    return drain(backend, batch=True, dependencies=(50, 49, 48), piece=50)


def chain(backend):
    return drain(backend, 60, dependencies=(1,), piece=1)


def beside(backend, finished=200_000):
    """As flat, beside finished jobs of other widths; what is dead is vacuumed after each round."""
    if not backend.value("SELECT EXISTS (SELECT 1 FROM torc.workflow WHERE name = 'finished 1')"):
        text = (HERE.parent / "growth.sql").read_text().format(jobs=finished, per_workflow=10_000)
        backend.connection.execute(text, prepare=False)
        backend.connection.execute("VACUUM ANALYZE")
    yield from drain(backend)
    backend.connection.execute("VACUUM torc.job")


def bulk(backend, jobs=100_000):
    """100,000 jobs with 180,000 edges, and what walks them."""
    workflow, _ = backend.filled_workflow(jobs, (10_000, 20_000))
    yield
    backend.initialize(workflow, jobs)
    yield
    with backend.measured("process_changed_job_inputs", jobs):
        backend.value(f"SELECT torc.process_changed_job_inputs(%s, true, {ALONE})::text", workflow)
    with backend.measured("delete_workflow", jobs):
        backend.value(f"SELECT torc.delete_workflow(%s, {ALONE})::text", workflow)


READS = {
    "get_workflow": f"SELECT torc.get_workflow(%(workflow)s, {ALONE})::text",
    "is_workflow_complete": f"SELECT torc.is_workflow_complete(%(workflow)s, {ALONE})::text",
    "get_job": f"SELECT torc.get_job(%(job)s, {ALONE})::text",
}


def reads(backend, jobs=100, calls=200):
    """Small reads of a workflow of so many jobs; µs a call."""
    workflow, ids = backend.filled_workflow(jobs)
    backend.initialize(workflow, jobs)
    for _ in range(20):
        for name, statement in READS.items():
            with backend.measured(name, calls):
                for _ in range(calls):
                    backend.connection.execute(statement, {"workflow": workflow, "job": ids[0]})
        yield


def summaries(backend, jobs=1000, calls=10):
    """The status summary of workflows of so many jobs: all ready; half of them completed; all of them. µs a call."""
    workflows = {}
    for name, done in (("summary, all ready", 0), ("summary, half done", jobs // 2), ("summary, all done", jobs)):
        workflow, ids = backend.filled_workflow(jobs)
        backend.initialize(workflow, jobs)
        result = RESULT | {"workflow_id": workflow, "compute_node_id": backend.value(NODE, workflow)}
        for job in ids[:done]:
            text = json.dumps(result | {"job_id": job, "status": "completed"})
            backend.value(f"SELECT torc.complete_job(%s, 'completed', 0, %s::jsonb, {ALONE})::text", job, text)
        workflows[name] = workflow
    for _ in range(20):
        for name, workflow in workflows.items():
            with backend.measured(name, calls):
                for _ in range(calls):
                    backend.value(f"SELECT torc.workflow_summary(%s, {ALONE})::text", workflow)
        yield


def outlines(backend, jobs=50_000, calls=2):
    """What the dashboard's list says of a workflow of so many jobs, a third of them done. µs a call."""
    workflow, ids = backend.filled_workflow(jobs)
    backend.initialize(workflow, jobs)
    backend.connection.execute(
        """
        INSERT INTO torc.result (
            job_id, workflow_id, run_id, attempt_id, return_code, exec_time_minutes, completion_time, status,
            compute_node_id, is_current
        )
        SELECT id, %(workflow)s, 0, 1, 0, 1, '2026-01-01T00:00:00Z', 'completed', %(node)s, true
        FROM unnest(%(done)s::bigint[]) AS id
        """,
        {"workflow": workflow, "node": backend.value(NODE, workflow), "done": ids[: jobs // 3]},
    )
    for status, some in (("completed", ids[: jobs // 3]), ("running", ids[jobs // 3 : jobs // 3 + 50])):
        backend.connection.execute("UPDATE torc.job SET status = %s WHERE id = ANY (%s::bigint[])", [status, some])
    for _ in range(5):
        with backend.measured("list, one workflow", calls):
            for _ in range(calls):
                backend.value("SELECT torc.dashboard_outline(%s)::text", workflow)
        yield


WORKS = {
    work.__name__: work
    for work in (flat, resources, batches, layers, layer_batches, chain, beside, bulk, reads, summaries, outlines)
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", metavar="FOLDER")
    parser.add_argument("--urls", nargs=2, metavar="URL")
    parser.add_argument("--works", nargs="+", choices=WORKS, default=["flat"], help="with --urls (%(default)s)")
    parser.add_argument("--flush", action="store_true", help="each commit waits for the disk, as in the server")
    parser.add_argument("--rounds", type=int, default=7, help="of each work and database (%(default)s)")
    options = parser.parse_args()
    if options.urls:
        compare("databases", options.urls, options.works, options)
    if options.folders:
        with own_postgresql() as server:
            for folder in options.folders:
                folder = HERE / folder
                urls = [decided(server, folder / f"{way}.sql") for way in ("before", "after")]
                compare(folder.name, urls, (folder / "work.txt").read_text().split(), options)


@contextlib.contextmanager
def own_postgresql():
    with tempfile.TemporaryDirectory(prefix="torc-decisions-") as folder:
        os.chmod(folder, 0o755)  # PostgreSQL's account passes through
        try:
            yield embedded.start(folder, {"autovacuum": "off"}, tie=True)
        finally:
            embedded.stop(folder)


def decided(server, file):
    """The URL of a new database with the schema of this checkout, changed by a file."""
    name = f"{file.stem}_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    url = make_conninfo(server, dbname=name)
    migrations.migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(file.read_text())
    return url


def compare(title, urls, works, options):
    for work in works:
        backends = [Backend(url, options.flush) for url in urls]
        for number in range(1 + options.rounds):
            for _ in itertools.zip_longest(*(WORKS[work](backend) for backend in backends)):
                pass
            if number == 0:  # has filled the caches
                for backend in backends:
                    backend.seconds.clear()
        print(f"\n{title}: {work}, µs of CPU a job\n{'':28}{'before':>10}{'after':>10}{'ratio':>8}")
        for name in backends[0].seconds:
            before, after = (undisturbed(backend.seconds[name]) * 1e6 for backend in backends)
            print(f"{name:28}{before:10.1f}{after:10.1f}{after / before:8.2f}", flush=True)
        for backend in backends:
            backend.connection.close()


def undisturbed(samples):
    """The upper end of the lowest tenth: what else runs on the machine adds to a sample, and nothing takes from it."""
    return sorted(samples)[len(samples) // 10]


if __name__ == "__main__":
    main()
