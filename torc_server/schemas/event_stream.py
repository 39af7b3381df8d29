"""The `level` of an event stream."""

from torc_server.schemas import fields
from torc_server.schemas.common import Query

SEVERITIES = ("debug", "info", "warning", "error")


class Level(fields.QueryStrings):
    """A severity, without regard to case. Unknown words mean info; of several, the first one counts."""

    openapi = fields.String.openapi

    def _deserialize(self, value, attr, data, **kwargs):
        word = value[0].lower()
        return word if word in SEVERITIES else "info"


class StreamEvents(Query):
    """What a stream carries."""

    level = Level(
        "The lowest severity to send: debug, info, warning or error, in any case; any other word means info. "
        "job_failed is an error; job_canceled, job_terminated and workflow_canceled are warnings; all else is info.",
        example="warning",
        load_default="info",
    )
