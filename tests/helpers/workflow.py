"""A workflow to test with: made and watched over HTTP; what no endpoint makes or shows, by SQL."""

from torc_server.schemas.fields import JOB_STATUSES

COMPLETE = ("completed", "failed", "canceled", "terminated")
NOT_COMPLETE = tuple(word for word in JOB_STATUSES if word not in COMPLETE)


class Workflow:
    """The `workflow` fixture makes one for a test and checks its invariants afterwards."""

    def __init__(self, client, database, **fields):
        self.client = client
        self.database = database
        self.created = client.post("/workflows", json={"name": "w", "user": "u"} | fields).json
        self.id = self.created["id"]
        self.path = f"/workflows/{self.id}"
        self.default_node = None  # of results; made when a result needs one

    def sql(self, statement, *values):
        """The rows of a statement; a plain list for one column."""
        rows = self.database.execute(statement, values).fetchall()
        return [row[0] for row in rows] if rows and len(rows[0]) == 1 else rows

    def violations(self):
        return self.sql("SELECT job_id, violation FROM torc.check_invariants(%s)", self.id)

    # Rows

    def job(self, *depends_on, **fields):
        """Create a job that depends on the given ones; return its id."""
        body = {"workflow_id": self.id, "name": "j", "command": "c"} | fields
        if depends_on:
            body["depends_on_job_ids"] = list(depends_on)
        return self.client.post("/jobs", json=body).json["id"]

    def job_in(self, status, *depends_on, run_id=0, **fields):
        """Create a job and move it to a status by the endpoints."""
        if status == "blocked" and not depends_on:
            depends_on = (self.job(name="never done"),)
        job = self.job(*depends_on, **fields)
        if status in COMPLETE:
            self.complete(job, status, run_id)
        else:
            self.manage(job, status, run_id)
        return job

    def file(self, name="f", **fields):
        body = {"workflow_id": self.id, "name": name, "path": f"/{name}"} | fields
        return self.client.post("/files", json=body).json["id"]

    def user_data(self, data=None, is_ephemeral=False):
        return self.sql(
            """
            INSERT INTO torc.user_data (workflow_id, name, data, is_ephemeral)
            VALUES (%s, 'd', %s::jsonb, %s)
            RETURNING id
            """,
            self.id, data, is_ephemeral,
        )[0]  # fmt: skip

    def requirements(self, num_cpus=1, memory="1g", num_gpus=0, num_nodes=1, runtime="PT1M"):
        return self.sql(
            """
            INSERT INTO torc.resource_requirements (
                workflow_id, name, num_cpus, num_gpus, num_nodes, memory, runtime, memory_bytes, runtime_s
            )
            VALUES (%s, 'r', %s, %s, %s, %s, %s, torc.parse_memory(%s), torc.parse_duration(%s))
            RETURNING id
            """,
            self.id, num_cpus, num_gpus, num_nodes, memory, runtime, memory, runtime,
        )[0]  # fmt: skip

    def node(self):
        """Create a compute node; return its id."""
        return self.sql(
            """
            INSERT INTO torc.compute_node (
                workflow_id, hostname, pid, start_time, is_active, num_cpus, memory_gb, num_gpus, num_nodes,
                compute_node_type
            )
            VALUES (%s, 'h', 1, '2026-01-01T00:00:00Z', true, 4, 8, 0, 1, 'local')
            RETURNING id
            """,
            self.id,
        )[0]

    # Calls

    def initialize(self, status=200, **params):
        return self.client.post(f"{self.path}/initialize_jobs", params=params, status=status).json

    def claim(self, **params):
        """The ids of the claimed jobs."""
        jobs = self.client.post(f"{self.path}/claim_next_jobs", params=params).json["jobs"]
        return [job["id"] for job in jobs]

    def start(self, job, node, run_id=0, status=200):
        return self.client.put(f"/jobs/{job}/start_job/{run_id}/{node}", status=status).json

    def manage(self, job, to, run_id=0, status=200):
        return self.client.put(f"/jobs/{job}/manage_status_change/{to}/{run_id}", status=status).json

    def retry(self, job, run_id=0, max_retries=9, status=200):
        return self.client.post(f"/jobs/{job}/retry/{run_id}", params={"max_retries": max_retries}, status=status).json

    def complete(self, job, to="completed", run_id=0, status=200, **result):
        """Complete a job; `result` replaces what the result would hold (status_of_result: its status)."""
        if "status_of_result" in result:
            result["status"] = result.pop("status_of_result")
        return self.client.post(
            f"/jobs/{job}/complete_job/{to}/{run_id}", json=self.result(job, to, run_id) | result, status=status
        ).json

    def result(self, job, to="completed", run_id=0):
        self.default_node = self.default_node or self.node()
        return {
            "job_id": job, "workflow_id": self.id, "run_id": run_id, "compute_node_id": self.default_node,
            "return_code": 0 if to == "completed" else 1, "exec_time_minutes": 0.5,
            "completion_time": "2026-01-01T00:00:00Z", "status": to,
        }  # fmt: skip

    def set_run(self, run_id, is_canceled=False):
        self.client.put(f"{self.path}/status", json={"run_id": run_id, "is_canceled": is_canceled})

    # What is seen

    def status(self, job):
        return self.client.get(f"/jobs/{job}").json["status"]

    def statuses(self, *jobs):
        return [self.status(job) for job in jobs]

    def depends_on(self, job):
        return self.client.get(f"/jobs/{job}").json.get("depends_on_job_ids", [])

    def results(self, job):
        """(run, attempt, status, return code, current) of each stored result."""
        return self.sql(
            """
            SELECT run_id, attempt_id, status::text, return_code, is_current
            FROM torc.result WHERE job_id = %s ORDER BY id
            """,
            job,
        )

    def active_on(self, node):
        """The jobs whose active compute node is the given one."""
        listed = self.client.get("/jobs", params={"workflow_id": self.id, "active_compute_node_id": node}).json
        return [job["id"] for job in listed["items"]]

    def events(self):
        """The data of the stored events."""
        return self.sql("SELECT data FROM torc.event WHERE workflow_id = %s ORDER BY id", self.id)
