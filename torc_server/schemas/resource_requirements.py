"""Resource requirements: what a job needs to run."""

from torc_server.schemas import fields
from torc_server.schemas.common import Model, SortedPage


class ResourceRequirementsModel(Model):
    """What each job that uses the record needs. Absent keys mean these defaults, on PUT too; null is refused."""

    workflow_id = fields.Integer(required=True)
    name = fields.String(required=True)
    num_cpus = fields.Integer(load_default=1)
    num_gpus = fields.Integer(load_default=0)
    num_nodes = fields.Integer(load_default=1)
    memory = fields.String(load_default="1m")
    runtime = fields.String(load_default="PT1M")


class ListResourceRequirements(SortedPage):
    """Filters of list_resource_requirements. runtime is a number of seconds."""

    columns = ("id", "workflow_id", "name", "num_cpus", "num_gpus", "num_nodes", "memory", "runtime")

    workflow_id = fields.QueryInteger(required=True)
    job_id = fields.QueryInteger()
    name = fields.QueryString()
    memory = fields.QueryString()
    num_cpus = fields.QueryInteger()
    num_gpus = fields.QueryInteger()
    num_nodes = fields.QueryInteger()
    runtime = fields.QueryInteger()
