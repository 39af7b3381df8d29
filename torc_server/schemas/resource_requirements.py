"""Resource requirements: what a job needs to run."""

from torc_server.schemas import fields
from torc_server.schemas.common import PageAnswer, SortedPage, WorkflowPart


class ResourceRequirementsModel(WorkflowPart):
    """What a job needs to run. Any number of jobs may use the same record, and claims by resources compare it with what
    a worker has free.

    A field that is left out gets its default, in updates too; null is refused.
    """

    id = fields.RowId(example=3)
    name = fields.String(
        "What the record is called; need not be unique. The one named default, which every workflow starts with, is "
        "for jobs that name none.",
        example="large",
        required=True,
    )
    num_cpus = fields.Integer("CPUs that the job needs on each node.", example=8, load_default=1)
    num_gpus = fields.Integer("GPUs that the job needs on each node.", example=1, load_default=0)
    num_nodes = fields.Integer(
        "Nodes that the job needs, at least 1. With more than 1 it gets whole nodes.", example=1, load_default=1
    )
    memory = fields.String(
        "Memory that the job needs on each node: digits and at most one letter k, m, g or t, for powers of 1024; "
        "without a letter, bytes.",
        example="16g",
        load_default="1m",
    )
    runtime = fields.String(
        "How long the job runs at most, as an ISO 8601 duration; a claim with a time_limit below that does not get it.",
        example="PT4H30M",
        load_default="PT1M",
    )


class ListResourceRequirements(SortedPage):
    """Filters of list_resource_requirements."""

    columns = ("id", "workflow_id", "name", "num_cpus", "num_gpus", "num_nodes", "memory", "runtime")
    page_after = "runtime"

    workflow_id = fields.QueryInteger(
        "Id of the workflow whose resource requirements are listed.", example=7, required=True
    )
    job_id = fields.QueryInteger("Only those that this job uses.", example=12)
    name = fields.QueryString("Only those with exactly this name.", example="large")
    memory = fields.QueryString("Only those with this memory, compared as text.", example="16g")
    num_cpus = fields.QueryInteger("Only those with so many CPUs.", example=8)
    num_gpus = fields.QueryInteger("Only those with so many GPUs.", example=1)
    num_nodes = fields.QueryInteger("Only those with so many nodes.", example=1)
    runtime = fields.QueryInteger("Only those whose runtime is so long.", unit="seconds", example=16200)


class ListResourceRequirementsResponse(PageAnswer):
    """A page of resource requirements."""

    items = fields.Objects(ResourceRequirementsModel, "The resource requirements of this page.", required=True)
