"""Charts of when jobs ran: over time, and on which node."""

from torc_server import wire
from torc_server.dashboard import charts
from torc_server.dashboard.filters import Filter
from torc_server.dashboard.frame import blueprint, data, page
from torc_server.errors import ApiError
from torc_server.lanes import lane
from torc_server.repository import sql
from torc_server.schemas import fields

STEPS_OF_PROGRESS = 120
STEPS_OF_LANES = 220
SERIES = ("done", "failed", "running", "ready")


class TimelineFilter(Filter):
    since = fields.QueryInteger(minimum=0, maximum=1 << 40)
    until = fields.QueryInteger(minimum=0, maximum=1 << 40)


@blueprint.get("/ui/workflows/<int64:id>/progress")
@lane("lists")
def get_progress(id):
    """Jobs over time."""
    found = data(sql.dashboard.progress, workflow_id=id, steps=STEPS_OF_PROGRESS)
    has_run = found["from"] is not None
    series = {name: found[name] for name in SERIES if has_run and found[name]}
    paths, top = charts.areas(list(series.values())) if series else ([], 0)
    shapes = dict(zip(series, paths, strict=True))
    axis = charts.ticks(found["from"], found["to"], charts.AREA[0], 6) if series else ()
    return page("progress", id=id, found=found, shapes=shapes, top=top, size=charts.AREA, axis=axis)


@blueprint.get("/ui/workflows/<int64:id>/timeline")
@wire.query(TimelineFilter)
@lane("lists")
def get_timeline(id, query):
    """What ran where."""
    since, until = query.get("since"), query.get("until")
    if since is not None and until is not None and since >= until:
        raise ApiError(422, "until: must be later than since", field="until")
    found = data(
        sql.dashboard.timeline, workflow_id=id, since=since, until=until, offset=query["offset"], steps=STEPS_OF_LANES
    )
    return page(
        "timeline", id=id, found=found, filter=query, size=charts.LANE, axis=charts.ticks(found["from"], found["to"]),
        lane=charts.lane, steps=charts.steps, place=charts.place, page_size=40,
    )  # fmt: skip
