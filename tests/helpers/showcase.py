"""Workflows to look at: of all sizes, with jobs in all statuses, for tests of the dashboard and for its pictures.

The functions that clients call make all of it, except the times and the resource use of results: there is no call for
those.
"""

import json
import random
import uuid
from datetime import UTC, datetime, timedelta

GIB = 1 << 30
NODES = ("node-017", "node-018", "node-021", "laptop")


class Showcase:
    """`Showcase(connection, user="alice").study()` makes a workflow and returns its id. connection: psycopg's, in
    autocommit. The same seed makes the same rows."""

    def __init__(self, connection, user="alice", seed=4):
        self._connection = connection
        self._user = user
        self._random = random.Random(seed)

    def value(self, statement, *values):
        return self._connection.execute(statement, values).fetchone()[0]

    def workflow(self, name, **fields):
        body = {"name": name, "user": self._user} | fields
        return int(self.value("SELECT torc.create_workflow(%s) ->> 'id'", json.dumps(body)))

    def requirements(self, workflow, name, cpus=1, memory="8g", runtime="PT30M"):
        return self.value(
            """
            INSERT INTO torc.resource_requirements (
                workflow_id, name, num_cpus, memory, runtime, memory_bytes, runtime_s
            )
            VALUES (%s, %s, %s, %s, %s, torc.parse_memory(%s), torc.parse_duration(%s)) RETURNING id
            """,
            workflow, name, cpus, memory, runtime, memory, runtime,
        )  # fmt: skip

    def jobs(self, workflow, jobs):
        """Create jobs ({"name", "command", …, "after": their indexes in this list}); return their ids."""
        first = self.value("SELECT coalesce(max(id), 0) + 1 FROM torc.job")
        ids = []
        for start in range(0, len(jobs), 20_000):
            piece = []
            for job in jobs[start : start + 20_000]:
                job = {"workflow_id": workflow, "command": f"bash {job['name']}.sh"} | job
                after = job.pop("after", ())
                if after:
                    job["depends_on_job_ids"] = [(ids[i] if i < len(ids) else first + i) for i in after]
                piece.append(job)
            statement = "SELECT (job::json ->> 'id')::bigint FROM torc.create_jobs(%s, %s) AS job"
            ids += [row[0] for row in self._connection.execute(statement, [workflow, json.dumps(piece)])]
        return ids

    def node(self, workflow, host, is_active=True, cpus=16):
        return self.value(
            """
            INSERT INTO torc.compute_node (
                workflow_id, hostname, pid, start_time, is_active, num_cpus, memory_gb, num_gpus, num_nodes,
                compute_node_type
            )
            VALUES (%s, %s, 1, %s, %s, %s, 64, 0, 1, 'local') RETURNING id
            """,
            workflow, host, datetime.now(UTC).isoformat(), is_active, cpus,
        )  # fmt: skip

    def initialize(self, workflow):
        self.value("SELECT torc.initialize_jobs(%s)::text", workflow)

    def start(self, job, node):
        self._connection.execute("UPDATE torc.job SET status = 'pending' WHERE id = %s", [job])
        self.value("SELECT torc.start_job(%s, 0, %s)::text", job, node)

    def complete(self, workflow, job, node, ended, minutes, status="completed", code=0, **fields):
        self.start(job, node)
        result = {
            "job_id": job, "workflow_id": workflow, "run_id": 0, "compute_node_id": node, "return_code": code,
            "exec_time_minutes": minutes, "completion_time": ended.isoformat(), "status": status,
        } | fields  # fmt: skip
        statement = "SELECT torc.complete_job(%s, %s, 0, %s)::text"
        self.value(statement, job, status, json.dumps(result))

    # The workflows

    def empty(self):
        return self.workflow("nothing-yet", description="Made a moment ago; jobs will come.")

    def single(self):
        workflow = self.workflow("hello")
        self.jobs(workflow, [{"name": "hello", "command": "echo hello"}])
        return workflow

    def study(self):
        """117 jobs of a parameter study under way, with failures and their cancellations, files and actions."""
        workflow = self.workflow(
            "parameter-study", project="climate", description="Sensitivity of run-off to soil parameters."
        )
        small = self.requirements(workflow, "small", memory="8g", runtime="PT30M")
        large = self.requirements(workflow, "large", cpus=8, memory="64g", runtime="PT8H")
        jobs = [{"name": "split", "resource_requirements_id": small}]
        simulations = [{"name": f"simulate_{i:03}", "after": [0], "resource_requirements_id": small} for i in range(96)]
        reductions = [
            {"name": f"reduce_{i:02}", "after": list(range(1 + 8 * i, 9 + 8 * i)), "resource_requirements_id": small}
            for i in range(12)
        ]
        reductions[5]["cancel_on_blocking_job_failure"] = True
        for i in (0, 1, 2):
            reductions[i]["cancel_on_blocking_job_failure"] = False
        last = len(jobs) + 96
        jobs += simulations + reductions
        jobs.append({"name": "merge", "after": list(range(last, last + 12)), "resource_requirements_id": large})
        jobs += [
            {
                "name": f"plots_{i}",
                "after": list(range(last + 2 * i, last + 2 * i + 2)),
                "resource_requirements_id": large,
            }
            for i in range(6)
        ]
        jobs.append({"name": "report", "after": list(range(109, 116)), "resource_requirements_id": large})
        ids = self.jobs(workflow, jobs)
        self.initialize(workflow)
        nodes = [self.node(workflow, host) for host in NODES[:3]]
        now = datetime.now(UTC)
        self.complete(workflow, ids[0], nodes[0], now - timedelta(minutes=118), 1.5)
        for i, job in enumerate(ids[1:77]):
            ended = now - timedelta(minutes=112 - 1.45 * i - self._random.random())
            use = {
                "peak_memory_bytes": int(self._random.uniform(4, 7.5) * GIB), "peak_cpu_percent": 99.0,
                "avg_cpu_percent": 91.0,
            }  # fmt: skip
            node = nodes[i % 3]
            if i in (40, 43, 47, 61):
                use |= {"peak_memory_bytes": int(9.8 * GIB)}
                text = f"Step {400 + i}/1000  residual 3.1e-04\nStep {401 + i}/1000  residual 3.0e-04\nKilled\n"
                self.complete(workflow, job, nodes[1], ended, 4.2, "failed", 137, stderr=text, **use)
            else:
                self.complete(workflow, job, node, ended, self._random.uniform(2, 5), stdout="done\n", **use)
        for i, job in enumerate(ids[77:89]):
            self.start(job, nodes[i % 3])
            since = now - timedelta(minutes=self._random.uniform(0.2, 4))
            self._connection.execute("UPDATE torc.job SET start_time = %s WHERE id = %s", [since, job])
        self.value(
            """
            WITH stored AS (
                INSERT INTO torc.workflow_action (workflow_id, trigger_type, action_type, action_config)
                VALUES (%s, 'on_workflow_complete', 'run_commands', '{"commands": ["mail -s done alice"]}') RETURNING id
            )
            SELECT id FROM stored
            """,
            workflow,
        )
        return workflow

    def mixed(self, jobs=30):
        """Jobs in all statuses, a diamond of files and user data among them."""
        workflow = self.workflow("diamond", project="demo")
        files = [
            self.value(
                "INSERT INTO torc.file (workflow_id, name, path) VALUES (%s, %s, %s) RETURNING id", workflow, name,
                f"/scratch/demo/{name}",
            )
            for name in ("raw.nc", "left.nc", "right.nc")
        ]  # fmt: skip
        data = self.value(
            "INSERT INTO torc.user_data (workflow_id, name) VALUES (%s, 'summary') RETURNING id", workflow
        )
        ids = self.jobs(workflow, [
            {"name": "fetch", "output_file_ids": [files[0]]},
            {"name": "left", "input_file_ids": [files[0]], "output_file_ids": [files[1]]},
            {"name": "right", "input_file_ids": [files[0]], "output_file_ids": [files[2]]},
            {"name": "join", "input_file_ids": files[1:], "output_user_data_ids": [data]},
            {"name": "publish", "input_user_data_ids": [data]},
            *({"name": f"side_{i}", "after": [0]} for i in range(jobs - 5)),
        ])  # fmt: skip
        self.initialize(workflow)
        node = self.node(workflow, NODES[3])
        self.complete(workflow, ids[0], node, datetime.now(UTC) - timedelta(minutes=3), 2.0)
        self.complete(workflow, ids[5], node, datetime.now(UTC), 1.0, "failed", 1, stderr="boom\n")
        self.complete(workflow, ids[6], node, datetime.now(UTC), 1.0, "terminated", 15)
        self.complete(workflow, ids[7], node, datetime.now(UTC), 1.0, "pending_failed", 3)
        for job, status in ((ids[8], "disabled"), (ids[9], "pending")):
            self.value("SELECT torc.manage_status_change(%s, %s)::text", job, status)
        self.complete(workflow, ids[10], node, datetime.now(UTC), 1.0, "canceled", 1)
        self.start(ids[1], node)
        return workflow

    def large(self, jobs=100_000, name="sweep-2026-11"):
        """A fan of many jobs behind a few, in five levels, half of it done by plain SQL: the database's work at this
        size is what is tested, not that of each transition."""
        workflow = self.workflow(name, project="climate")
        fan = (jobs - 2) // 2
        ids = self.jobs(workflow, [
            {"name": "prepare"},
            *({"name": f"simulate_{i:06}", "after": [0]} for i in range(fan)),
            *(
                {"name": f"reduce_{i:06}", "after": sorted({1 + i, 1 + (i * 7 + 1) % fan, 1 + (i * 13 + 5) % fan})}
                for i in range(jobs - fan - 2)
            ),
            {"name": "report", "after": list(range(1 + fan, 1 + fan + min(jobs - fan - 2, 50)))},
        ])  # fmt: skip
        self.initialize(workflow)
        nodes = [self.node(workflow, f"n{i:03}") for i in range(24)]
        done = fan * 6 // 10
        self._connection.execute(
            """
            INSERT INTO torc.result (
                job_id, workflow_id, run_id, return_code, exec_time_minutes, completion_time, status, compute_node_id,
                peak_memory_bytes, peak_cpu_percent
            )
            SELECT
                id, %(workflow)s, 0, CASE WHEN place %% 997 = 5 THEN 1 ELSE 0 END, 1 + place %% 7,
                to_char(
                    now() - (%(done)s - place) * interval '0.3 s', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'
                ),
                CASE WHEN place %% 997 = 5 THEN 'failed' ELSE 'completed' END::torc.job_status,
                (%(nodes)s::bigint[])[1 + place %% 24], 900000 * (1 + place %% 3), 80 + place %% 20
            FROM unnest(%(ids)s::bigint[]) WITH ORDINALITY AS job (id, place)
            """,
            {"workflow": workflow, "done": done, "nodes": nodes, "ids": ids[: done + 1]},
        )
        for statement in (
            "UPDATE torc.job SET status = 'completed' WHERE id = ANY (%(ids)s)",
            "UPDATE torc.job SET status = 'failed' WHERE id IN ("
            "SELECT job_id FROM torc.result WHERE workflow_id = %(workflow)s AND status = 'failed')",
            "SELECT torc.recount_dependencies(%(workflow)s)",
        ):
            self._connection.execute(statement, {"ids": ids[: done + 1], "workflow": workflow})
        self._connection.execute("SELECT torc.initialize_jobs(%s)", [workflow])
        running = ids[done + 1 : done + 1 + min(512, fan // 4)]
        self._connection.execute(
            """
            UPDATE torc.job
            SET status = 'running', start_time = now(), active_compute_node_id = (%s::bigint[])[1 + id %% 24]
            WHERE id = ANY (%s)
            """,
            [nodes, running],
        )
        return workflow

    def finished(self, jobs=100_000, name="sweep-2026-10"):
        """The same with all jobs completed, so that each has a result."""
        workflow = self.large(jobs, name)
        values = {"workflow": workflow}
        for statement in (
            """
            INSERT INTO torc.result (
                job_id, workflow_id, run_id, return_code, exec_time_minutes, completion_time, status, compute_node_id,
                peak_memory_bytes
            )
            SELECT
                id, workflow_id, 0, 0, 1 + id %% 7,
                to_char(now() + (id %% 50000) * interval '0.3 s', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), 'completed',
                (SELECT min(node.id) FROM torc.compute_node AS node WHERE workflow_id = %(workflow)s) + id %% 24, 900000
            FROM torc.job
            WHERE workflow_id = %(workflow)s AND NOT EXISTS (SELECT 1 FROM torc.result WHERE job_id = job.id)
            """,
            "UPDATE torc.job SET status = 'completed', active_compute_node_id = NULL WHERE workflow_id = %(workflow)s",
            "UPDATE torc.result SET status = 'completed', return_code = 0 WHERE workflow_id = %(workflow)s",
            "UPDATE torc.compute_node SET is_active = false WHERE workflow_id = %(workflow)s",
            "SELECT torc.recount_dependencies(%(workflow)s)",
        ):
            self._connection.execute(statement, values)
        return workflow

    def hostile(self):
        """Every text that a user can give is an attack on the page that shows it."""
        text = (
            f"<script>window.attacked = 1</script>\"'><img src=x onerror='window.attacked = 1'>{uuid.uuid4().hex[:6]}"
        )
        workflow = self.workflow(text, description=text, project=text, metadata=text, env={text[:40]: text})
        requirement = self.requirements(workflow, text)
        file = self.value(
            "INSERT INTO torc.file (workflow_id, name, path) VALUES (%s, %s, %s) RETURNING id", workflow, text, text
        )
        data = self.value("INSERT INTO torc.user_data (workflow_id, name) VALUES (%s, %s) RETURNING id", workflow, text)
        ids = self.jobs(workflow, [
            {
                "name": text, "command": text, "invocation_script": text, "resource_requirements_id": requirement,
                "output_file_ids": [file], "labels": ["<script>alert(1)</script>"],
            },
            {"name": text, "after": [0], "input_file_ids": [file], "output_user_data_ids": [data], "env": {"A": text}},
            {"name": text + "3", "after": [0], "cancel_on_blocking_job_failure": True},
        ])  # fmt: skip
        self.initialize(workflow)
        node = self.node(workflow, text)
        self.complete(workflow, ids[0], node, datetime.now(UTC), 1, "failed", 1, stderr=text, stdout=text)
        self._connection.execute(
            "INSERT INTO torc.event (workflow_id, data) VALUES (%s, %s)",
            [workflow, json.dumps({"message": text, "category": text, "job_id": ids[0], "user": text})],
        )
        self._connection.execute(
            "INSERT INTO torc.workflow_action (workflow_id, trigger_type, action_type, action_config) "
            "VALUES (%s, %s, %s, '{}')",
            [workflow, text, text],
        )
        return workflow, ids
