"""Compute nodes: the machines that workers run on. Their resources are for information; claims bring their own."""

from datetime import UTC, datetime
from typing import Any

from marshmallow import ValidationError, validates_schema

from torc_server.schemas import fields
from torc_server.schemas.common import Answer, Model, PageAnswer, Query, SortedPage


class ComputeNodeModel(Model):
    """A worker's time on a machine, or on several that were allocated together. Its resources are for information:
    claims bring their own."""

    id = fields.RowId(example=3)
    workflow_id = fields.Integer("Id of the workflow that it works for.", example=7, required=True)
    hostname = fields.String("Name of the machine; need not be unique.", example="node07", required=True)
    pid = fields.Integer("Process id of the worker on the machine.", example=41873, required=True)
    start_time = fields.String(
        "When the worker started; free text, an RFC 3339 time by convention.",
        example="2026-01-01T00:00:00.000Z",
        required=True,
    )
    duration_seconds = fields.Float(
        "How long the worker ran. Absent: it has not said.", unit="seconds", example=5400.5, allow_none=True
    )
    is_active = fields.Boolean(
        "Whether the worker is running. Canceling the workflow makes it false. Where it was never set, it reads as "
        "false, but the filter is_active finds the node neither under true nor under false.",
        example=True,
        allow_none=True,
    )
    num_cpus = fields.Integer("CPUs of each node.", example=32, required=True)
    memory_gb = fields.Float("Memory of each node.", unit="GiB", example=256.0, required=True)
    memory = fields.String(
        "The memory as text, in the form of the documentation page: digits and at most one letter k, m, g or t. Kept "
        "beside memory_gb, and read where that is absent.",
        example="256g",
        allow_none=True,
    )
    num_gpus = fields.Integer("GPUs of each node.", example=4, required=True)
    num_nodes = fields.Integer("How many machines the worker has.", example=1, required=True)
    time_limit = fields.String(
        "How long the worker may run; free text, an ISO 8601 duration by convention. Absent: no limit is known.",
        example="PT8H",
        allow_none=True,
    )
    scheduler_config_id = fields.Integer(
        "Id of the scheduler that the worker was started by, such as a Slurm scheduler. Not checked.",
        example=2,
        allow_none=True,
    )
    compute_node_type = fields.String(
        "What kind of node it is; free text, by convention local or slurm.", example="slurm", required=True
    )
    scheduler = fields.Json(
        "Any JSON value about the allocation that the worker runs in. A number at scheduler_id is the id of a "
        "scheduled compute node: when that is over, this node becomes inactive.",
        example={"type": "slurm", "scheduler_id": 5, "slurm_job_id": "123456"},
    )

    end_time = fields.String(
        "When the allocation of the worker ends; free text, an RFC 3339 time by convention. Absent: it does not end.",
        example="2026-01-01T08:00:00.000Z",
        allow_none=True,
    )
    labels = fields.Labels(
        "Labels of the worker: the status of the workflow tells which jobs no active node has the labels for. Fixed at "
        "creation.",
        example=["gpu"],
        allow_none=True,
    )
    sample_count = fields.Integer("How many samples the next four come from.", example=540, allow_none=True)
    peak_cpu_percent = fields.Float("Highest use of the CPUs.", unit="percent", example=98.5, allow_none=True)
    avg_cpu_percent = fields.Float("Average use of the CPUs.", unit="percent", example=61.5, allow_none=True)
    peak_memory_bytes = fields.Integer("Highest use of memory.", unit="bytes", example=68719476736, allow_none=True)
    avg_memory_bytes = fields.Integer("Average use of memory.", unit="bytes", example=34359738368, allow_none=True)
    last_seen = fields.String(
        "When the last request named the node, RFC 3339 in UTC; stored up to 10 s late. Absent: none is on record. "
        "Requests may hold it; it is ignored.",
        example="2026-01-01T07:59:58.123Z",
        dump_only=True,
        allow_none=True,
    )


class SentComputeNode(ComputeNodeModel):
    """A compute node as requests may hold it: memory, such as 256g, is read where memory_gb is absent."""

    memory_gb = fields.Float()

    @validates_schema
    def require_memory(self, data: dict[str, Any], **kwargs: Any) -> None:
        if data.get("memory_gb") is None and data.get("memory") is None:
            raise ValidationError("Missing data for required field.", "memory_gb")


class NewComputeNode(SentComputeNode):
    """A compute node to be stored: the documentation page leaves these out."""

    pid = fields.Integer(load_default=0)
    start_time = fields.String(load_default=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))
    num_nodes = fields.Integer(load_default=1)
    compute_node_type = fields.String(load_default="local")


class ListComputeNodes(SortedPage):
    """Filters of list_compute_nodes."""

    columns = (
        "id", "workflow_id", "hostname", "pid", "start_time", "duration_seconds", "is_active", "num_cpus", "memory_gb",
        "num_gpus", "num_nodes", "time_limit", "scheduler_config_id", "compute_node_type", "end_time", "labels",
        "sample_count", "peak_cpu_percent", "avg_cpu_percent", "peak_memory_bytes", "avg_memory_bytes", "last_seen",
    )  # fmt: skip

    workflow_id = fields.QueryInteger("Id of the workflow whose compute nodes are listed.", example=7, required=True)
    hostname = fields.QueryString(
        "Only those whose host name holds this text, in upper or lower case.", example="node07"
    )
    is_active = fields.QueryBoolean(
        "Only those that were said to be active, or only those that were said not to be.", example=True
    )
    scheduled_compute_node_id = fields.QueryInteger(
        "Only those that have this number at scheduler_id in their scheduler.", example=5
    )


class ListComputeNodesResponse(PageAnswer):
    """A page of compute nodes."""

    items = fields.Objects(ComputeNodeModel, "The compute nodes of this page.", required=True)
    compute_nodes = fields.Objects(
        ComputeNodeModel, "The same as items, under the name that the documentation page uses."
    )


class GiveBackQuery(Query):
    """What give_back_jobs does beside giving back the jobs that name the node."""

    unnamed_claims = fields.QueryBoolean(
        "Whether pending jobs of the workflow whose claims named no node become ready, too. Refused while other nodes "
        "of the workflow are active: the jobs may be theirs.",
        example=False,
        load_default=False,
    )
    dry_run = fields.QueryBoolean(
        "Whether only to say what would be done. Nothing changes.", example=True, load_default=False
    )


class GiveBackResponse(Answer):
    """The jobs that a compute node no longer has."""

    compute_node_id = fields.Integer("Id of the node.", example=3, required=True)
    workflow_id = fields.Integer("Id of its workflow.", example=7, required=True)
    retried_job_ids = fields.IdList(
        "Ids of the jobs that were running, ascending: ready for their next attempt.", example=[12], required=True
    )
    ready_job_ids = fields.IdList(
        "Ids of the jobs that were claimed, ascending: ready.", example=[13, 14], required=True
    )
    unnamed_claims = fields.Integer(
        "How many pending jobs of the workflow are left whose claims named no node.", example=0, required=True
    )
