"""Random graphs and random calls, sent to the server and told to helpers/model.py: after each one both must agree.

For a longer search, with other seeds than the fixed ones:
HYPOTHESIS_EXAMPLES=5000 .venv/bin/pytest tests/transitions/test_model.py
"""

import itertools
import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from model import FAILED, Action, Job, Model, Refused, Requirements
from workflow import Workflow

from torc_server.schemas.fields import JOB_STATUSES

EXAMPLES = os.environ.get("HYPOTHESIS_EXAMPLES")
SETTINGS = settings(
    max_examples=int(EXAMPLES or 120),
    stateful_step_count=40,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
MOST_JOBS, MOST_ACTIONS = 12, 4
TRIGGERS = ("on_jobs_complete", "on_jobs_ready", "on_workflow_complete", "on_workflow_start", "on_worker_start")
WHOLE_WORKFLOW = (
    "process_changed_job_inputs", "process_changed_job_inputs", "begin_next_run", "begin_next_run", "cancel", "cancel",
    "reset_status", "reset_job_status", "reset_job_status", "delete_jobs",
)  # fmt: skip

picks = st.integers(0, 99)  # which job: taken modulo how many there are
few_picks = st.one_of(st.lists(picks, min_size=1, max_size=3), st.lists(picks, max_size=3))
statuses = st.sampled_from(JOB_STATUSES)
codes = st.integers(0, 1)
reported = st.sampled_from(["completed", "failed"])
node_numbers = st.integers(0, 1)
priorities = st.integers(0, 2)
schedulers = st.sampled_from([None, 7, 8])
requirements = st.sampled_from([
    Requirements(), Requirements(num_cpus=2, memory_gb=1), Requirements(num_gpus=1), Requirements(num_nodes=2),
    Requirements(num_cpus=4, memory_gb=4),
])  # fmt: skip
workers = st.builds(
    Requirements, num_cpus=st.integers(1, 6), memory_gb=st.integers(0, 6), num_gpus=st.integers(0, 2),
    num_nodes=st.integers(1, 4),
)  # fmt: skip
items = st.one_of(
    st.just([]), st.just([]), st.tuples(st.tuples(st.sampled_from(["file", "user_data"]), st.integers(0, 2)))
)  # fmt: skip
mostly_true = st.sampled_from([True, True, True, False])
labels = st.sampled_from([(), (), (), ("a",), ("b",), ("a", "b")])
jobs = st.tuples(few_picks, items, items, mostly_true, priorities, requirements, schedulers, labels)
start_on = st.sampled_from([None, None, 0, 1])  # numbers of nodes
names = st.sampled_from(["s0", "s1", "s2", "s3", "s4", "j0", "j1", "unknown"])
spawned = st.dictionaries(st.sampled_from(["s0", "s1", "s2", "s3", "s4"]), st.sets(names, max_size=2), max_size=3)
edges = st.tuples(picks, few_picks)


def has_jobs(machine):
    return bool(machine.model.jobs)


class Workflows(RuleBasedStateMachine):
    client = database = None  # set by the test

    @initialize(graph=st.lists(jobs, min_size=4, max_size=9), back=st.lists(edges, max_size=1), begin=mostly_true)
    def create_workflow(self, graph, back, begin):
        self.workflow = Workflow(self.client, self.database)
        self.model = Model()
        self.nodes = [self.workflow.node() for _ in range(2)]
        self.workflow.default_node = self.nodes[0]
        self.model.active_nodes = set(self.nodes)
        self.items = {("file", n): self.workflow.file(f"f{n}") for n in range(3)}
        self.items |= {("user_data", n): self.workflow.user_data("0") for n in range(3)}
        self.model.data = {self.items["user_data", n]: 0 for n in range(3)}
        self.requirement_ids = {}
        self.numbers = itertools.count()
        for job in graph:
            self.create_jobs([job])
        for number, dependencies in back:
            self.edit_edges(number, dependencies)
        if begin:
            self.initialize_jobs(False, False)

    def both(self, method, path, tell, **arguments):
        """Send a call and tell the model; return the answer and what the model said, both None if it was refused."""
        try:
            told, status = tell(), 200
        except Refused as refusal:
            told, status = None, refusal.status
        answer = self.client.request(method, path, status=status, **arguments).json
        return (answer, told) if status == 200 else (None, None)

    def pick(self, number, *preferred):
        """A job; two times in three one of the preferred statuses, if there is any."""
        jobs = [self.model.jobs[i] for i in sorted(self.model.jobs)]
        if number % 3:
            jobs = [job for job in jobs if job.status in preferred] or jobs
        return jobs[number // 3 % len(jobs)]

    def pick_ids(self, numbers):
        return {self.pick(number).id for number in numbers} if self.model.jobs else set()

    # The graph

    @precondition(lambda self: len(self.model.jobs) < MOST_JOBS)
    @rule(drawn=st.lists(jobs, min_size=1, max_size=3))
    def create_jobs(self, drawn):
        created = [self.draw_job(*values) for values in drawn]
        bodies = [self.body(job) for job in created]
        if len(created) == 1:
            ids = [self.client.post("/jobs", json=bodies[0]).json["id"]]
        else:
            ids = [job["id"] for job in self.client.post("/bulk_jobs", json={"jobs": bodies}).json["jobs"]]
        assert ids == sorted(ids)
        for job, job.id in zip(created, ids, strict=True):
            self.model.create(job)

    def draw_job(self, dependencies, inputs, outputs, cancel_on_failure, priority, requirements, scheduler, labels):
        return Job(
            None, requirements, f"j{next(self.numbers)}", labels, scheduler, priority, cancel_on_failure,
            dependencies=self.pick_ids(dependencies),
            inputs={(kind, self.items[kind, n]) for kind, n in inputs},
            outputs={(kind, self.items[kind, n]) for kind, n in outputs},
        )  # fmt: skip

    def body(self, job):
        def of_kind(related, kind):
            return sorted(i for k, i in related if k == kind)

        return self.update_body(job) | {
            "depends_on_job_ids": sorted(job.dependencies),
            "input_file_ids": of_kind(job.inputs, "file"), "output_file_ids": of_kind(job.outputs, "file"),
            "input_user_data_ids": of_kind(job.inputs, "user_data"),
            "output_user_data_ids": of_kind(job.outputs, "user_data"),
            "cancel_on_blocking_job_failure": job.cancel_on_failure, "priority": job.priority,
            "resource_requirements_id": self.requirements_id(job.requirements), "labels": list(job.labels),
        } | ({"scheduler_id": job.scheduler} if job.scheduler else {})  # fmt: skip

    def requirements_id(self, needed):
        key = tuple(vars(needed).items())
        if key not in self.requirement_ids:
            sizes = vars(needed) | {"memory": f"{needed.memory_gb}g"}
            del sizes["memory_gb"]
            self.requirement_ids[key] = self.workflow.requirements(**sizes)
        return self.requirement_ids[key]

    def update_body(self, job):
        return {"workflow_id": self.workflow.id, "name": job.name, "command": job.command}

    @precondition(has_jobs)
    @rule(number=picks, dependencies=few_picks)
    def edit_edges(self, number, dependencies):
        job = self.pick(number, "uninitialized")
        wanted = self.pick_ids(dependencies)
        body = self.update_body(job) | {"depends_on_job_ids": sorted(wanted)}
        self.both("PUT", f"/jobs/{job.id}", lambda: self.model.update(job, wanted), json=body)

    @precondition(has_jobs)
    @rule(
        number=picks, priority=priorities, cancel=st.booleans(), command=st.sampled_from(["c", "c", "d"]), labels=labels
    )
    def update_job(self, number, priority, cancel, command, labels):
        job = self.pick(number)
        body = self.update_body(job) | {
            "priority": priority, "cancel_on_blocking_job_failure": cancel, "command": command, "labels": list(labels)
        }  # fmt: skip
        changes = {"priority": priority, "cancel_on_failure": cancel, "command": command, "labels": labels}
        self.both("PUT", f"/jobs/{job.id}", lambda: self.model.update(job, **changes), json=body)

    @precondition(lambda self: 0 < len(self.model.jobs) < MOST_JOBS + 4)
    @rule(number=picks, lineage=st.sampled_from(["a", "b"]), wanted=spawned, cancel=mostly_true, priority=priorities)
    def spawn_jobs(self, number, lineage, wanted, cancel, priority):
        spawner = self.pick(number, "running")
        common = {"command": "c", "priority": priority, "cancel_on_blocking_job_failure": cancel}
        bodies = [common | {"name": name, "depends_on": sorted(needed)} for name, needed in wanted.items()]
        answer, told = self.both(
            "POST", f"/jobs/{spawner.id}/spawn_jobs",
            lambda: self.model.spawn(spawner, lineage, wanted), json={"jobs": bodies, "lineage": lineage},
        )  # fmt: skip
        if answer:
            ids, (known, generation) = answer["spawned_job_ids"], told
            assert answer["iteration"] == generation
            if known is None:
                default = Requirements(memory_gb=2**-10)
                jobs = [Job(id, default, priority=priority, cancel_on_failure=cancel) for id in ids]
                self.model.add_spawned(spawner, wanted, jobs)
            else:
                assert ids == known

    @rule(cancel=mostly_true, status=st.sampled_from(["completed", "failed"]))
    def spawn_from_all_running_jobs_and_complete_them(self, cancel, status):
        """By chance alone spawned jobs hardly ever run."""
        for job_id in sorted(i for i, job in self.model.jobs.items() if job.status == "running"):
            if len(self.model.jobs) < MOST_JOBS + 4:
                position = self.pick_position(job_id)
                self.spawn_jobs(3 * position, "a", {f"of {job_id}": {"s0"} & self.known_names()}, cancel, 0)
            job = self.model.jobs[job_id]
            if job.status == "running":
                self.send_completion(job, status, job.attempt, 0, self.nodes[0])

    def pick_position(self, job_id):
        return sorted(self.model.jobs).index(job_id)

    def known_names(self):
        return {job.name for job in self.model.jobs.values()}

    @precondition(has_jobs)
    @rule(number=picks)
    def disable(self, number):
        job = self.pick(number)
        body = self.update_body(job) | {"status": "disabled"}
        self.both("PUT", f"/jobs/{job.id}", lambda: self.model.update(job, disable=True), json=body)

    @precondition(has_jobs)
    @rule(number=picks)
    def delete_job(self, number):
        job = self.pick(number)
        self.both("DELETE", f"/jobs/{job.id}", lambda: self.model.delete([job]))
        self.client.get(f"/jobs/{job.id}", status=404)

    def delete_jobs(self):
        count = len(self.model.jobs)
        self.model.delete(self.model.jobs.values())
        assert self.client.delete("/jobs", params={"workflow_id": self.workflow.id}).json == {"count": count}

    @rule(number=st.integers(0, 2), data=st.integers(0, 1))
    def update_user_data(self, number, data):
        user_data = self.items["user_data", number]
        self.model.data[user_data] = data
        self.workflow.sql("UPDATE torc.user_data SET data = %s::jsonb WHERE id = %s RETURNING id", str(data), user_data)

    # Claims

    @rule(limit=st.integers(0, 4), labels=labels, start_on=start_on)
    def claim_next_jobs(self, limit, labels=(), start_on=None):
        node = None if start_on is None else self.nodes[start_on]
        self.claim(
            "claim_next_jobs", lambda: self.model.claim_next(limit, labels, node), node,
            {"limit": limit, "labels": ",".join(labels)},
        )  # fmt: skip

    @rule(
        limit=st.integers(0, 5), worker=workers, scheduler=schedulers, strict=st.booleans(), labels=labels,
        start_on=start_on,
    )  # fmt: skip
    def claim_jobs_based_on_resources(self, limit, worker, scheduler, strict, labels, start_on):
        node = None if start_on is None else self.nodes[start_on]
        body = vars(worker) | {"labels": list(labels)} | ({"scheduler_config_id": scheduler} if scheduler else {})
        self.claim(
            f"claim_jobs_based_on_resources/{limit}",
            lambda: self.model.claim_by_resources(limit, worker, scheduler, strict, labels, node), node,
            {"strict_scheduler_match": strict}, json=body,
        )  # fmt: skip

    def claim(self, call, tell, node, params, **arguments):
        params |= {"start_on": node} if node else {}
        answer, told = self.both("POST", f"{self.workflow.path}/{call}", tell, params=params, **arguments)
        if answer:
            assert [job["id"] for job in answer["jobs"]] == told
            assert all(job.get("compute_node_id") == node for job in answer["jobs"])

    # Transitions

    @precondition(has_jobs)
    @rule(number=picks, node=node_numbers)
    def start(self, number, node):
        self.start_job(self.pick(number, "pending"), self.nodes[node])

    def start_job(self, job, node):
        self.both("PUT", f"/jobs/{job.id}/start_job/{self.model.run}/{node}", lambda: self.model.start(job, node))

    @precondition(has_jobs)
    @rule(number=picks, status=statuses, code=codes, attempt=st.sampled_from([None, None, 1, 1, 2]), node=node_numbers)
    def complete(self, number, status, code, attempt, node):
        job = self.pick(number, "running", "blocked", "canceled")
        self.send_completion(job, status, attempt, code, self.nodes[node])

    @precondition(has_jobs)
    @rule(number=picks, status=reported, code=codes, node=node_numbers, again=st.booleans())
    def report_late(self, number, status, code, node, again):
        """A worker whose job was retried meanwhile reports the attempt before, once or twice."""
        job = self.pick(number, "running", "failed")
        attempt = job.attempt
        self.retry_job(job, 4)
        for _ in range(1 + again):
            self.send_completion(job, status, attempt, code, self.nodes[node])

    @precondition(has_jobs)
    @rule(number=picks, on_own_node=mostly_true, steps=st.integers(0, 3))
    def run_an_attempt_of_a_simple_client(self, number, on_own_node, steps):
        """One that always sends attempt 1: claimed, started on the second node, reported from there or elsewhere."""
        job = self.pick(number, "ready", "failed")
        if steps > 2:
            self.retry_job(job, 4)
        if steps > 0 and self.model.ready()[:1] == [job]:
            self.claim_next_jobs(1)
        if steps > 1:
            self.start_job(job, self.nodes[1])
        self.send_completion(job, "completed", 1, 0, self.nodes[on_own_node])

    @precondition(has_jobs)
    @rule(number=picks, status=st.sampled_from(["completed", "failed", "terminated"]), code=codes)
    def complete_again(self, number, status, code):
        """The same result twice, then one with another code."""
        job = self.pick(number, "running", "ready")
        for sent in (code, code, 1 - code):
            self.send_completion(job, status, job.attempt, sent, self.nodes[0])

    @rule(status=st.sampled_from(["failed", "completed", "terminated", "completed", "canceled", "pending_failed"]))
    def finish_ready_jobs(self, status):
        """What a worker does, for all jobs that are ready."""
        for labels in ((), ("a", "b")):
            for job_id in self.model.claim_next(99, labels):
                assert self.workflow.claim(limit=1, labels=",".join(labels)) == [job_id]
                job = self.model.jobs[job_id]
                self.start_job(job, self.nodes[0])
        running = sorted(i for i, job in self.model.jobs.items() if job.status == "running")
        for job_id in running:
            job = self.model.jobs[job_id]
            self.send_completion(job, status, job.attempt, 0 if status == "completed" else 1, self.nodes[0])

    def send_completion(self, job, status, attempt, code, node):
        answer, _ = self.both(
            "POST", f"/jobs/{job.id}/complete_job/{status}/{self.model.run}",
            lambda: self.model.complete(job, status, attempt, code, node),
            json=self.result(job, status, attempt, code, node),
        )  # fmt: skip
        assert answer is None or answer["status"] == job.status

    def result(self, job, status, attempt, code, node):
        result = self.workflow.result(job.id, status, self.model.run)
        return result | {"attempt_id": attempt, "return_code": code, "compute_node_id": node}

    @precondition(has_jobs)
    @rule(
        reports=st.lists(st.tuples(picks, statuses, codes, st.sampled_from([None, 1, 2]), node_numbers), max_size=5),
        everything=mostly_true,
    )  # fmt: skip
    def complete_batch(self, reports, everything):
        """Random reports; mostly behind those of all running jobs."""
        running = [job for job in self.model.jobs.values() if job.status == "running" and everything]
        completions = [(job, "completed", None, 0, self.nodes[0]) for job in running]
        for number, status, code, attempt, node in reports:
            job = self.pick(number, "running", "blocked", "canceled")
            completions.append((job, status, attempt, code, self.nodes[node]))
        entries = [
            {"job_id": job.id, "status": report[0], "run_id": self.model.run, "result": self.result(job, *report)}
            for job, *report in completions
        ]
        answer, told = self.both(
            "POST", f"{self.workflow.path}/batch_complete_jobs",
            lambda: self.model.complete_batch(completions), json={"completions": entries},
        )  # fmt: skip
        assert (answer["completed"], [error["job_id"] for error in answer["errors"]]) == told

    @precondition(has_jobs)
    @rule(number=picks, max_retries=st.integers(1, 4))
    def retry(self, number, max_retries):
        self.retry_job(self.pick(number, "running", "failed", "terminated"), max_retries)

    @precondition(has_jobs)
    @rule(number=picks, first_reset=st.booleans())
    def begin_the_next_run_after_a_retry(self, number, first_reset):
        """By chance alone a job is hardly ever retried and still waits, or starts over, in the next run."""
        self.retry_job(self.pick(number, "running", "failed", "terminated"), 4)
        if first_reset:
            self.reset_job_status(False)
        self.begin_next_run()

    def retry_job(self, job, max_retries):
        self.both(
            "POST", f"/jobs/{job.id}/retry/{self.model.run}",
            lambda: self.model.retry(job, max_retries), params={"max_retries": max_retries},
        )  # fmt: skip

    @precondition(has_jobs)
    @rule(number=picks, status=statuses)
    def manage_status_change(self, number, status):
        job = self.pick(number, *FAILED)
        self.both(
            "PUT", f"/jobs/{job.id}/manage_status_change/{status}/{self.model.run}",
            lambda: self.model.manage(job, status),
        )  # fmt: skip

    @precondition(has_jobs)
    @rule(number=picks, ahead=st.sampled_from([-1, 1]))
    def calls_of_another_run_are_refused(self, number, ahead):
        job, run = self.pick(number), self.model.run + ahead
        self.workflow.start(job.id, self.nodes[0], run, status=422)
        self.workflow.complete(job.id, run_id=run, status=422)
        self.workflow.retry(job.id, run, status=422)
        other = "ready" if job.status != "ready" else "pending"
        self.workflow.manage(job.id, other, run, status=422)

    # Actions

    @precondition(lambda self: len(self.model.actions) < MOST_ACTIONS)
    @rule(trigger=st.sampled_from(TRIGGERS + TRIGGERS[:2]), numbers=st.lists(picks, min_size=1, max_size=4))
    def create_action(self, trigger, numbers):
        job_ids = [self.pick(number).id for number in numbers] if self.model.jobs else []
        body = {"workflow_id": self.workflow.id, "trigger_type": trigger, "action_type": "x", "action_config": {}}
        path = f"{self.workflow.path}/actions"
        created = self.client.post(path, json=body | {"job_ids": job_ids}).json
        on_jobs = trigger in ("on_jobs_ready", "on_jobs_complete")
        assert created["required_triggers"] == (len(job_ids) if on_jobs else 1)
        self.model.actions[created["id"]] = Action(created["id"], trigger, job_ids, created["required_triggers"])

    @precondition(lambda self: self.model.actions)
    @rule(number=picks)
    def claim_action(self, number):
        actions = self.model.actions
        action = actions[sorted(actions)[number % len(actions)]]
        self.both(
            "POST", f"{self.workflow.path}/actions/{action.id}/claim",
            lambda: self.model.claim_action(action), json={},
        )  # fmt: skip

    # The whole workflow

    @rule(call=st.sampled_from(WHOLE_WORKFLOW), option=st.booleans())
    def call_for_the_whole_workflow(self, call, option):
        """One rule for all of these, so that they do not outnumber the ones that make progress."""
        if call in ("cancel", "begin_next_run", "delete_jobs"):
            getattr(self, call)()
        else:
            getattr(self, call)(option)

    @rule(only_uninitialized=st.booleans(), keep_running=st.booleans())
    def initialize_jobs(self, only_uninitialized, keep_running):
        answer, told = self.both(
            "POST", f"{self.workflow.path}/initialize_jobs",
            lambda: self.model.initialize(only_uninitialized, keep_running),
            params={"only_uninitialized": only_uninitialized, "keep_running": keep_running},
        )  # fmt: skip
        assert answer is None or (answer["jobs_taken_back"], answer["jobs_kept"]) == told

    @rule(node=node_numbers, is_active=st.booleans())
    def activate_node(self, node, is_active):
        """By SQL, for every test needs a node and the body of a PUT is long."""
        node = self.nodes[node]
        (self.model.active_nodes.add if is_active else self.model.active_nodes.discard)(node)
        self.workflow.sql("UPDATE torc.compute_node SET is_active = %s WHERE id = %s RETURNING id", is_active, node)

    def process_changed_job_inputs(self, dry_run):
        answer, changed = self.both(
            "POST", f"{self.workflow.path}/process_changed_job_inputs",
            lambda: self.model.process_changed(dry_run), params={"dry_run": dry_run},
        )  # fmt: skip
        assert len(answer["reinitialized_jobs"]) == len(changed)

    def reset_job_status(self, failed_only):
        answer, count = self.both(
            "POST", f"{self.workflow.path}/reset_job_status",
            lambda: self.model.reset_jobs(failed_only), params={"failed_only": failed_only},
        )  # fmt: skip
        assert answer["updated_count"] == count

    def reset_status(self, force):
        self.both(
            "POST", f"{self.workflow.path}/reset_status",
            lambda: self.model.reset_status(force), params={"force": force},
        )  # fmt: skip

    def cancel(self):
        self.both("PUT", f"{self.workflow.path}/cancel", self.model.cancel)

    def begin_next_run(self):
        self.model.begin_run(self.model.run + 1)
        self.workflow.set_run(self.model.run)

    # What both must agree on

    @invariant()
    def the_server_agrees(self):
        stored = self.workflow.sql(
            """
            SELECT id, status::text, attempt_id, active_compute_node_id, canceled_by_dependency, open_dependencies,
                failed_dependencies,
                ARRAY(SELECT depends_on_job_id FROM torc.job_depends_on WHERE job_id = job.id ORDER BY 1)
            FROM torc.job AS job WHERE workflow_id = %s ORDER BY id
            """,
            self.workflow.id,
        )
        assert stored == [self.expected_row(self.model.jobs[i]) for i in sorted(self.model.jobs)]
        assert self.workflow.violations() == []
        self.results_agree()
        is_complete = self.client.get(f"{self.workflow.path}/is_complete").json["is_complete"]
        assert is_complete == self.model.is_complete()

    @invariant()
    def the_server_agrees_about_actions(self):
        if self.model.actions:
            path = f"{self.workflow.path}/actions"
            stored = {action["id"]: action for action in self.client.get(path).json}
            for action in self.model.actions.values():
                got = stored[action.id]
                assert (got["job_ids"], got["trigger_count"], got["required_triggers"], got["executed"]) == (
                    action.job_ids, action.count, action.required, action.executed
                )  # fmt: skip
            assert [action["id"] for action in self.client.get(f"{path}/pending").json] == self.model.pending_actions()

    def results_agree(self):
        stored = self.workflow.sql(
            """
            SELECT job_id, run_id, attempt_id, status::text, return_code, compute_node_id, is_current
            FROM torc.result WHERE workflow_id = %s ORDER BY 1, 2, 3
            """,
            self.workflow.id,
        )
        current = set(self.model.current.values())
        assert stored == sorted((*key, *result, key in current) for key, result in self.model.results.items())

    def expected_row(self, job):
        return (
            job.id, job.status, job.attempt, job.node, job.marked, self.model.open(job), self.model.failed(job),
            sorted(job.dependencies),
        )  # fmt: skip

    def teardown(self):
        if hasattr(self, "workflow"):
            self.client.delete(self.workflow.path)


@pytest.mark.long
def test_random_calls_do_what_the_model_of_the_rules_says(client, database):
    class Machine(Workflows):
        pass

    Machine.client, Machine.database = client, database
    run_state_machine_as_test(Machine, settings=SETTINGS)
