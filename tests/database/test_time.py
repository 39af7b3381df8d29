"""The stored functions take the time from one place, torc.now(), where tests can move it."""

import pytest

HOUR = 3600


def test_the_moved_time_is_that_of_all_sessions_and_goes_on(client, database, clock):
    ahead = "SELECT extract(epoch FROM torc.now() - clock_timestamp())::float8"
    assert database.execute(ahead).fetchone()[0] == pytest.approx(0, abs=1)
    clock.advance(HOUR)
    clock.advance(HOUR)
    created = client.post("/workflows", json={"name": "w", "user": "u"}).json["id"]
    age = """SELECT extract(epoch FROM "timestamp" - clock_timestamp())::float8 FROM torc.workflow WHERE id = %s"""
    assert database.execute(age, [created]).fetchone()[0] == pytest.approx(2 * HOUR, abs=60)
    [before, after] = (database.execute("SELECT torc.now()").fetchone()[0] for _ in range(2))
    assert before < after
    clock.reset()
    assert database.execute(ahead).fetchone()[0] == pytest.approx(0, abs=1)


def test_events_tasks_and_the_audit_log_are_stored_with_that_time(client, database, workflow, clock):
    clock.advance(-HOUR)
    workflow.job()
    client.post("/events", json={"workflow_id": workflow.id, "data": {}})
    client.post(f"{workflow.path}/initialize_jobs", params={"async": True}, status=None)
    client.put(f"{workflow.path}/cancel")
    stored = """
        SELECT "timestamp" / 1000.0 FROM torc.event WHERE workflow_id = %(id)s
        UNION ALL SELECT "timestamp" / 1000.0 FROM torc.admin_audit_log WHERE workflow_id = %(id)s
        UNION ALL SELECT extract(epoch FROM created_at) FROM torc.task WHERE workflow_id = %(id)s
    """
    times = [float(time) for (time,) in database.execute(stored, {"id": workflow.id})]
    now = database.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()[0]
    assert len(times) >= 4
    assert times == pytest.approx([now - HOUR] * len(times), abs=60)


def test_a_stream_that_is_not_renewed_is_forgotten_after_30_seconds(database, workflow, clock):
    watched = "SELECT torc.is_watched(%s)"
    workflow.sql("SELECT torc.open_event_stream(%s)", workflow.id)
    clock.advance(25)
    assert workflow.sql(watched, workflow.id) == [True]
    clock.advance(6)
    assert workflow.sql(watched, workflow.id) == [False]
    workflow.sql("SELECT torc.drop_expired_registrations()::text")
    assert workflow.sql("SELECT id FROM torc.event_stream WHERE workflow_id = %s", workflow.id) == []
    database.execute("UNLISTEN *")
