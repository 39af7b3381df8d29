"""A folder for temporary files that is full or missing: what needs it is refused, and nothing is held."""

import contextlib
import resource
import shutil
import subprocess
import time

import psycopg
import pytest
from support import wait_for

MIB = 1 << 20
LONG = "x" * 200_000
JSON = {"Content-Type": "application/json"}


@contextlib.contextmanager
def failing(how, folder, server):
    """While this lasts, the server can write no file of more than 2 MiB, or none at all, in `folder`."""
    if how == "missing":
        shutil.rmtree(folder)
        yield
    elif how == "quota":
        for pid in server.workers():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (2 * MIB, 2 * MIB))
        yield
    else:
        mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", folder]
        if subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("only root may mount a small file system")
        try:
            yield
        finally:
            subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("how", ["full", "quota", "missing"])
def test_a_request_that_finds_no_room_for_its_file_is_507_and_holds_nothing(
    start_server, folder, fresh_database_url, how
):
    temporary = folder / "temporary"
    temporary.mkdir()
    server = start_server(database_url=fresh_database_url, workers=1, threads=1, environment={"TMPDIR": str(temporary)})
    client = server.client
    workflow = client.post("/workflows", json={"name": "w", "user": "u"}).json["id"]
    jobs = [{"workflow_id": workflow, "name": f"j{i}", "command": LONG} for i in range(20)]
    first = client.post("/bulk_jobs", json={"jobs": jobs}).json["jobs"][0]["id"]
    file = client.post("/files", json={"workflow_id": workflow, "name": "f", "path": LONG}).json["id"]
    client.post("/bulk_jobs", json={"jobs": [job | {"command": "c", "output_file_ids": [file]} for job in jobs]})
    for number in range(20):
        client.post("/access_groups", json={"name": f"g{number}", "description": LONG})
    body = b'{"workflow_id": %d, "name": "n", "path": "%s"}' % (workflow, LONG.encode() * 15)
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    requests = {
        "a list": lambda: client.get("/jobs", params={"workflow_id": workflow}, status=None),
        "relations": lambda: client.get(f"/workflows/{workflow}/job_file_relationships", status=None),
        "an access page": lambda: client.get("/access_groups", status=None),
        "a bulk": lambda: client.post("/bulk_jobs", json={"jobs": jobs}, status=None),
        "a body in chunks": lambda: client.post(
            "/files", body=chunks, headers=JSON | {"Transfer-Encoding": "chunked"}, status=None
        ),
    }
    with failing(how, temporary, server), psycopg.connect(fresh_database_url, autocommit=True) as database:
        for what, request in requests.items():
            answer = request()
            assert (answer.status_code, answer.json["error"]["error"]) == (507, "InsufficientStorage"), what
            assert client.get(f"/jobs/{first}").json["id"] == first, what
            client.post(f"/workflows/{workflow}/initialize_jobs")  # takes the workflow's lock
            wait_for(lambda: held(database, workflow) == [], what=f"the end of {what}")
        stored = database.execute("SELECT (SELECT count(*) FROM torc.job), (SELECT count(*) FROM torc.file)")
        assert stored.fetchone() == (40, 1)
        assert server.log.read_text().count(f"{temporary}: ") == len(requests)
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 20  # requests are given 30 s to end


def held(database, workflow):
    """What other sessions of this database do, and the locks of the workflow in it."""
    return database.execute(
        """
        SELECT state, query FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'
        UNION ALL
        SELECT mode, locktype
        FROM pg_locks JOIN pg_database ON pg_database.oid = database
        WHERE locktype = 'advisory' AND datname = current_database() AND classid = 0 AND objid = %s AND objsubid = 1
        """,
        [workflow],
    ).fetchall()
