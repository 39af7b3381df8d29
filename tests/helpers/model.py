"""The rules of jobs and dependencies a second time: for a handful of jobs, without regard to speed.

Where the server keeps counters and carries changes from job to job, this derives everything again from edges and
statuses. tests/transitions/test_model.py sends the same calls to both.
"""

from copy import deepcopy
from dataclasses import dataclass, field, replace

COMPLETE = {"completed", "failed", "canceled", "terminated"}
FAILED = COMPLETE - {"completed"}
WAITING = {"uninitialized", "blocked", "ready"}
ACTIVE = {"pending", "running"}
RETRYABLE = {"running", "failed", "terminated"}
OPEN = WAITING | ACTIVE | {"pending_failed"}
RESTARTABLE = {"uninitialized", "pending", "running", "terminated", "pending_failed"}
TERMINAL = COMPLETE | {"pending_failed"}
UNSUCCESSFUL = TERMINAL - {"completed"}
ENDED_BY_ITSELF = {"completed", "failed"}
INITIALIZED = COMPLETE | OPEN - {"uninitialized"}


class Refused(Exception):
    """The call is answered with this HTTP status, and nothing has changed."""

    def __init__(self, status):
        self.status = status


@dataclass
class Requirements:
    """What a job needs (a worker offers the same, per node)."""

    num_cpus: int = 1
    memory_gb: int = 0
    num_gpus: int = 0
    num_nodes: int = 1


@dataclass
class Action:
    """An action as stored. counted: how much of count came from each job."""

    id: int
    trigger: str
    job_ids: list
    required: int
    count: int = 0
    executed: bool = False
    counted: dict = field(default_factory=dict)

    @property
    def is_on_jobs(self):
        return self.trigger in ("on_jobs_ready", "on_jobs_complete")


@dataclass
class Job:
    """A job as stored. marked: canceled by a dependency."""

    id: int
    requirements: Requirements
    name: str = "j"
    labels: tuple = ()
    scheduler: int | None = None
    priority: int = 0
    cancel_on_failure: bool = True
    command: str = "c"
    status: str = "uninitialized"
    attempt: int = 1
    retried_in: int | None = None  # the run that raised the attempt
    node: int | None = None
    marked: bool = False
    dependencies: set = field(default_factory=set)
    inputs: set = field(default_factory=set)  # ("file" | "user_data", id)
    outputs: set = field(default_factory=set)
    initialized_with: tuple | None = None  # what the input hash was made of


class Model:
    """One workflow."""

    def __init__(self):
        self.jobs = {}
        self.run = 0
        self.is_canceled = False
        self.active_nodes = set()
        self.results = {}  # (job, run, attempt) -> (status, return code, node)
        self.current = {}  # job -> key of its current result
        self.data = {}  # user data id -> value
        self.generations = {}  # lineage -> how many
        self.actions = {}

    # What follows from statuses and edges

    def open(self, job):
        """How many dependencies a job waits for."""
        return sum(self.jobs[d].status not in COMPLETE for d in job.dependencies)

    def failed(self, job):
        """How many of its dependencies are failed, canceled or terminated."""
        return sum(self.jobs[d].status in FAILED for d in job.dependencies)

    def dependents(self, job):
        return [j for j in self.jobs.values() if job.id in j.dependencies]

    def downstream(self, jobs):
        """The jobs and all that wait for them, directly or not."""
        found = {}
        waiting = list(jobs)
        while waiting:
            job = waiting.pop()
            if job.id not in found:
                found[job.id] = job
                waiting += self.dependents(job)
        return found.values()

    def settle(self, changes=None):
        """Blocked jobs with nothing open move on; marked jobs without a cause go back; until nothing moves. Then these
        moves, and the given changes, trigger actions."""
        changes = changes or {}  # job id -> (status before, status now)
        moved = True
        while moved:
            moved = False
            for job in self.jobs.values():
                before = job.status
                if job.status == "blocked" and not self.open(job):
                    job.marked = job.cancel_on_failure and self.failed(job) > 0
                    job.status = "canceled" if job.marked else "ready"
                elif job.marked and (self.open(job) or not self.failed(job)):
                    job.marked = False
                    job.status = "blocked" if self.open(job) else "ready"
                if job.status != before:
                    changes[job.id] = (changes.get(job.id, (before,))[0], job.status)
                    moved = True
        self.trigger(changes)

    def move(self, job, status):
        """Any change of status but the ones above takes the mark away."""
        job.status, job.marked = status, False

    def take_back(self, job, status):
        """A change of status after which no node has the job."""
        if job.status != status:
            job.node = None
        self.move(job, status)

    def restart_attempts(self, jobs):
        """Attempts are counted within a run: jobs retried in another one, and without a result in this, begin again."""
        for job in jobs:
            if job.retried_in not in (None, self.run) and not any(k[:2] == (job.id, self.run) for k in self.results):
                job.attempt, job.retried_in = 1, None

    def restart_attempts_of_waiting_jobs(self):
        self.restart_attempts(j for j in self.jobs.values() if j.status in WAITING)

    # Actions

    def trigger(self, changes):
        for action in self.actions.values():
            delta = {"on_jobs_ready": ready_trigger_delta, "on_jobs_complete": complete_trigger_delta}.get(
                action.trigger
            )
            if not delta:
                continue
            steps = {i: action.job_ids.count(i) * delta(*changes[i]) for i in {*action.job_ids} & changes.keys()}
            total = sum(steps.values())
            if total < 0 or total > 0 and action.count < action.required:
                action.count = max(action.count + total, 0)
                for i, number in steps.items():
                    action.counted[i] = max(action.counted.get(i, 0) + number, 0)

    def trigger_workflow_complete(self):
        if self.is_complete():
            for action in self.actions.values():
                if action.trigger == "on_workflow_complete" and action.count < action.required:
                    action.count += 1

    def reset_actions(self, only_uninitialized):
        for action in self.actions.values():
            complete = sum(self.jobs[i].status in COMPLETE for i in action.job_ids)
            keeps = action.trigger == "on_workflow_start" or (
                action.is_on_jobs and action.job_ids and complete >= action.required
            )
            action.executed = action.executed and only_uninitialized and bool(keeps)
            satisfying = COMPLETE | {"ready"} if action.trigger == "on_jobs_ready" else COMPLETE
            action.counted = {
                i: action.job_ids.count(i)
                for i in action.job_ids
                if action.is_on_jobs and self.jobs[i].status in satisfying
            }
            action.count = sum(action.counted.values())
            if action.trigger == "on_workflow_start":
                action.count = 1
            if action.trigger == "on_worker_start":
                action.count = action.required

    def pending_actions(self):
        def is_pending(action):
            jobs = [self.jobs[i] for i in action.job_ids]
            all_canceled = action.trigger == "on_jobs_ready" and jobs and all(job.marked for job in jobs)
            return action.count >= action.required and not action.executed and not all_canceled

        return sorted(action.id for action in self.actions.values() if is_pending(action))

    def claim_action(self, action):
        if action.executed:
            raise Refused(409)
        action.executed = True

    def is_complete(self):
        return self.is_canceled or not any(job.status in OPEN for job in self.jobs.values())

    # Claims

    def ready(self, labels=()):
        """The ready jobs that a worker with these labels may have, in claim order."""
        ready = [j for j in self.jobs.values() if j.status == "ready" and may_have({*labels}, {*j.labels})]
        return sorted(ready, key=lambda j: (-j.priority, j.id))

    def claim_next(self, limit, labels=(), start_on=None):
        self.check_active(start_on)
        return self.hand_out([] if self.is_canceled else self.ready(labels)[:limit], start_on)

    def check_active(self, node):
        if node and node not in self.active_nodes:
            raise Refused(422)

    def claim_by_resources(self, limit, worker, scheduler, strict, labels=(), start_on=None):
        self.check_active(start_on)
        if self.is_canceled:
            return []
        fitting = sorted((job for job in self.ready(labels) if fits(job.requirements, worker)), key=by_need)
        own = [job for job in fitting if job.scheduler in (None, scheduler)]
        candidates = own if own or strict else fitting
        taken = pack(candidates[:limit], worker)
        others = [job for job in candidates if job not in taken and fits_rest(job.requirements, worker, taken)]
        return self.hand_out(pack(others[: limit - len(taken)], worker, taken), start_on)

    def hand_out(self, jobs, start_on=None):
        for job in jobs:
            self.move(job, "running" if start_on else "pending")
            job.node = start_on or job.node
        return [job.id for job in jobs]

    # Transitions of one job

    def start(self, job, node):
        if job.status == "running" and job.node == node:
            return
        if job.status != "pending":
            raise Refused(409)
        self.move(job, "running")
        job.node = node

    def complete(self, job, status, attempt, code, node):
        """attempt None: not sent."""
        if status not in TERMINAL:
            raise Refused(422)
        attempt, result = attempt or job.attempt, (status, code, node)
        if result in (self.result_of(job, a) for a in {attempt, max(attempt, job.attempt)}):
            return
        if job.status == "running" and job.node == node:
            attempt = max(attempt, job.attempt)
        is_stale = attempt < job.attempt
        if not is_stale:
            self.check_completable(job)
        if self.result_of(job, attempt):
            raise Refused(422)
        key = (job.id, self.run, attempt)
        self.results[key] = result
        if not is_stale:
            self.current[job.id] = key
            job.node = None
            before = job.status
            self.move(job, status)
            self.settle({job.id: (before, status)})
            self.trigger_workflow_complete()

    def complete_batch(self, completions):
        """(completed, refused): the ids of the jobs, each completion after the other."""
        completed, refused = [], []
        for job, *report in completions:
            try:
                self.complete(job, *report)
                completed.append(job.id)
            except Refused:
                refused.append(job.id)
        return completed, refused

    def result_of(self, job, attempt):
        return self.results.get((job.id, self.run, attempt))

    def check_completable(self, job):
        if job.status not in COMPLETE | WAITING | ACTIVE:
            raise Refused(409)
        has_result = any(k[:2] == (job.id, self.run) and k[2] >= job.attempt for k in self.results)
        if job.status in COMPLETE and (not job.marked or has_result):
            raise Refused(422)

    def retry(self, job, max_retries):
        if job.status not in RETRYABLE or job.attempt >= max_retries:
            raise Refused(422)
        self.take_back(job, "ready")
        job.attempt, job.retried_in = job.attempt + 1, self.run
        self.settle()

    def manage(self, job, status):
        if status in COMPLETE:
            raise Refused(422)
        if job.status == status:
            return
        if status == "blocked" and not self.open(job):
            raise Refused(409)
        if job.status in COMPLETE and status == "uninitialized":
            for dependent in self.dependents(job):
                if dependent.status in ENDED_BY_ITSELF:
                    self.take_back(dependent, "uninitialized")
        self.move(job, status)
        self.restart_attempts([job])
        self.settle()

    # Changes of the graph

    def spawn(self, job, lineage, wanted):
        """(ids of the jobs if they are there already, the generation). wanted: {name: names that it depends on}."""
        if job.status != "running":
            raise Refused(422)
        found = [self.first_named(name) for name in wanted]
        if all(found):
            return [other.id for other in found], self.generations.get(lineage, 0)
        waiting = {name: needed & wanted.keys() for name, needed in wanted.items()}
        while free := [name for name, needed in waiting.items() if not needed & waiting.keys()]:
            for name in free:
                del waiting[name]
        unknown = any(not self.first_named(name) for needed in wanted.values() for name in needed - wanted.keys())
        if any(found) or waiting or unknown:
            raise Refused(422)
        self.generations[lineage] = self.generations.get(lineage, 0) + 1
        return None, self.generations[lineage]

    def add_spawned(self, spawner, wanted, jobs):
        """The jobs of a generation, with the ids that they have got."""
        named = {name: job.id for name, job in zip(wanted, jobs, strict=True)}
        for name, job in zip(wanted, jobs, strict=True):
            known = {n: named.get(n) or self.first_named(n).id for n in wanted[name]}
            job.name, job.status, job.dependencies = name, "blocked", {spawner.id, *known.values()}
        self.jobs |= {job.id: job for job in jobs}

    def first_named(self, name):
        return min((job for job in self.jobs.values() if job.name == name), key=lambda job: job.id, default=None)

    def create(self, job):
        self.jobs[job.id] = job

    def update(self, job, dependencies=None, disable=False, **changes):
        """changes: fields of Job; dependencies, command and disable only while it is uninitialized."""
        new_command = changes.get("command", job.command) != job.command
        new_dependencies = dependencies is not None and dependencies != job.dependencies
        new_status = disable and job.status != "disabled"
        if job.status != "uninitialized" and (new_command or new_dependencies or new_status):
            raise Refused(422)
        if new_dependencies:
            if job.id in dependencies:
                raise Refused(422)
            job.dependencies = set(dependencies)
        if new_status:
            self.move(job, "disabled")
        for name, value in changes.items():
            setattr(job, name, value)

    def delete(self, jobs):
        gone = {job.id for job in jobs}
        self.jobs = {i: job for i, job in self.jobs.items() if i not in gone}
        self.results = {key: result for key, result in self.results.items() if key[0] not in gone}
        self.current = {i: key for i, key in self.current.items() if i not in gone}
        for job in self.jobs.values():
            job.dependencies -= gone
        for action in self.actions.values():
            if gone & {*action.job_ids}:
                action.job_ids = [i for i in action.job_ids if i not in gone]
                action.count = max(action.count - sum(action.counted.pop(i, 0) for i in gone), 0)
                if action.is_on_jobs:
                    action.required = max(len(action.job_ids), 1)
        self.settle()

    # The whole workflow

    def initialize(self, only_uninitialized, keep_running):
        """(taken back, kept): how many pending and running jobs."""
        before = {job.id: replace(job, dependencies=set(job.dependencies)) for job in self.jobs.values()}
        active = [job for job in self.jobs.values() if job.status in ACTIVE]
        kept = {job.id for job in active if keep_running and self.is_held(job)}
        ours = [job for job in self.jobs.values() if job.status != "disabled" and job.id not in kept]
        actions = deepcopy(self.actions)
        for job in self.jobs.values():
            job.dependencies |= {p.id for p in self.jobs.values() if p.outputs & job.inputs} - {job.id}
        if only_uninitialized:
            for job in self.downstream(j for j in self.jobs.values() if j.status == "uninitialized"):
                if job in ours:
                    self.take_back(job, "uninitialized")
        waiting = {job.id for job in self.jobs.values() if self.open(job)}
        for job in ours:
            if job.id in waiting and (job.status == "uninitialized" or not only_uninitialized):
                self.take_back(job, "blocked")
            elif job.status in RESTARTABLE:
                self.take_back(job, "ready")
        self.settle()
        if self.waits_for_itself():
            self.jobs, self.actions = before, actions
            raise Refused(422)
        self.restart_attempts_of_waiting_jobs()
        self.current = {i: key for i, key in self.current.items() if self.jobs[i].status in COMPLETE}
        for job in self.jobs.values():
            if job.id not in kept:
                job.initialized_with = self.inputs_of(job)
        self.reset_actions(only_uninitialized)
        return len(active) - len(kept), len(kept)

    def is_held(self, job):
        """Whether an active node has it; any may have a pending one."""
        return job.node in self.active_nodes if job.status == "running" else bool(self.active_nodes)

    def begin_run(self, run):
        self.run, self.is_canceled = run, False
        self.restart_attempts_of_waiting_jobs()

    def waits_for_itself(self):
        """Whether there is a cycle of blocked jobs, or a job that has to produce what it consumes."""
        blocked = {job.id: job.dependencies for job in self.jobs.values() if job.status == "blocked"}
        while free := [i for i, dependencies in blocked.items() if not dependencies & blocked.keys()]:
            for i in free:
                del blocked[i]
        alive = (job for job in self.jobs.values() if job.status in OPEN)
        return bool(blocked) or any(job.inputs & job.outputs for job in alive)

    def inputs_of(self, job):
        data = {i: self.data[i] for kind, i in job.inputs if kind == "user_data"}
        return (job.command, set(job.dependencies), set(job.inputs), set(job.outputs), data)

    def process_changed(self, dry_run):
        """The ids of the jobs whose inputs are not those that they were initialized with."""
        enabled = (job for job in self.jobs.values() if job.status != "disabled")
        changed = [j for j in enabled if j.initialized_with and j.initialized_with != self.inputs_of(j)]
        if not dry_run:
            for job in changed:
                self.move(job, "uninitialized")
            self.settle()
        return sorted(job.id for job in changed)

    def reset_jobs(self, failed_only):
        """How many jobs are reset, without those that only lie downstream."""
        if failed_only:
            chosen = [j for j in self.jobs.values() if j.status in UNSUCCESSFUL]
            also = self.downstream(j for j in chosen if j.status in FAILED)
        else:
            chosen = [j for j in self.jobs.values() if j.status in INITIALIZED]
            also = []
        for job in list(self.jobs.values()) if not failed_only else chosen:
            job.node = None
        for job in [*chosen, *also]:
            if job.status != "disabled":
                self.take_back(job, "uninitialized")
        self.settle()
        return len(chosen)

    def reset_status(self, force):
        if not force and any(job.status in ACTIVE for job in self.jobs.values()):
            raise Refused(422)
        self.begin_run(self.run + 1)

    def cancel(self):
        self.is_canceled = True
        self.active_nodes = set()
        for job in self.jobs.values():
            if job.status in ACTIVE:
                self.move(job, "canceled")
        self.settle()


def ready_trigger_delta(before, now):
    """What a change counts for on_jobs_ready: a blocked job waits no longer, or waits again."""
    if before == "blocked" and now in ("ready", "canceled"):
        return 1
    return -1 if (before, now) == ("canceled", "blocked") else 0


def complete_trigger_delta(before, now):
    """What a change counts for on_jobs_complete: a job ends, or its cancellation is taken back."""
    if now == "pending_failed" or now in COMPLETE and before not in COMPLETE:
        return 1
    return -1 if before == "canceled" and now in ("blocked", "ready") else 0


def may_have(worker, job):
    """Whether a worker with these labels may have a job with those."""
    return bool(worker) == bool(job) and job <= worker


def fits(needed, worker):
    return all(getattr(needed, name) <= getattr(worker, name) for name in vars(needed))


def by_need(job):
    """Sorts jobs in the order of claims by resources. All have the same runtime."""
    needed = job.requirements
    return -job.priority, -needed.num_gpus, -needed.memory_gb, -needed.num_cpus, job.id


def fits_rest(needed, worker, taken):
    """Whether a job fits into one node and into what the taken jobs leave of the nodes that jobs share."""
    nodes = worker.num_nodes - sum(job.requirements.num_nodes for job in taken if job.requirements.num_nodes > 1)
    single = [job.requirements for job in taken if job.requirements.num_nodes == 1]
    return needed.num_nodes <= nodes and all(
        getattr(needed, name) <= nodes * getattr(worker, name) - sum(getattr(r, name) for r in single)
        for name in ("num_cpus", "memory_gb", "num_gpus")
    )


def pack(jobs, worker, taken=()):
    """The taken jobs and those that fit beside them, tried in turn: one of several nodes takes whole nodes, the others
    share the rest."""
    taken = list(taken)
    for job in jobs:
        trial = [j.requirements for j in [*taken, job]]
        single = [r for r in trial if r.num_nodes == 1]
        nodes = worker.num_nodes - sum(r.num_nodes for r in trial if r.num_nodes > 1)
        if nodes >= 0 and all(
            sum(getattr(r, name) for r in single) <= nodes * getattr(worker, name)
            for name in ("num_cpus", "memory_gb", "num_gpus")
        ):
            taken.append(job)
    return taken
