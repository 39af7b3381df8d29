"""Compute nodes: the machines that workers run on. Their resources are for information; claims bring their own."""

from datetime import UTC, datetime

from marshmallow import ValidationError, validates_schema

from torc_server.schemas import fields
from torc_server.schemas.common import Model, SortedPage


class ComputeNodeModel(Model):
    """A compute node. memory (such as 256g) stands for memory_gb where that is absent."""

    workflow_id = fields.Integer(required=True)
    hostname = fields.String(required=True)
    pid = fields.Integer(required=True)
    start_time = fields.String(required=True)
    duration_seconds = fields.Float(allow_none=True)
    is_active = fields.Boolean(allow_none=True)
    num_cpus = fields.Integer(required=True)
    memory_gb = fields.Float()
    memory = fields.String(allow_none=True)
    num_gpus = fields.Integer(required=True)
    num_nodes = fields.Integer(required=True)
    time_limit = fields.String(allow_none=True)
    scheduler_config_id = fields.Integer(allow_none=True)
    compute_node_type = fields.String(required=True)
    scheduler = fields.Json()

    @validates_schema
    def require_memory(self, data, **kwargs):
        if data.get("memory_gb") is None and data.get("memory") is None:
            raise ValidationError("Missing data for required field.", "memory_gb")


class NewComputeNode(ComputeNodeModel):
    """A compute node to be stored: the documentation page leaves these out."""

    pid = fields.Integer(load_default=0)
    start_time = fields.String(load_default=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))
    num_nodes = fields.Integer(load_default=1)
    compute_node_type = fields.String(load_default="local")


class ListComputeNodes(SortedPage):
    """Filters of list_compute_nodes. scheduled_compute_node_id is the number at scheduler.scheduler_id."""

    columns = (
        "id", "workflow_id", "hostname", "pid", "start_time", "duration_seconds", "is_active", "num_cpus", "memory_gb",
        "num_gpus", "num_nodes", "time_limit", "scheduler_config_id", "compute_node_type",
    )  # fmt: skip

    workflow_id = fields.QueryInteger(required=True)
    hostname = fields.QueryString()
    is_active = fields.QueryBoolean()
    scheduled_compute_node_id = fields.QueryInteger()
