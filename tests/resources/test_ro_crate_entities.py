"""RO-Crate entities: create, read, list, replace, delete, and what initialize_jobs adds."""

import json

import psycopg
import pytest

from torc_server import __version__

FIELDS = {"entity_id": "data/in.csv", "entity_type": "File", "metadata": '{"@id": "data/in.csv"}'}


@pytest.fixture
def store(workflow):
    """Store an RO-Crate entity of the workflow; return the answer."""

    def store(status=200, **fields):
        body = {"workflow_id": workflow.id} | FIELDS | fields
        return workflow.client.post("/ro_crate_entities", json=body, status=status).json

    return store


@pytest.fixture
def listed(workflow):
    """The entities of the list."""

    def listed(**params):
        answer = workflow.client.get(f"{workflow.path}/ro_crate_entities", params=params).json
        assert answer["count"] == answer["total_count"] == len(answer["items"])
        return answer["items"]

    return listed


@pytest.fixture
def other(client):
    """The id of another workflow."""
    return client.post("/workflows", json={"name": "other", "user": "u"}).json["id"]


def ids(items):
    return [item["id"] for item in items]


def test_create_answers_what_was_sent_with_an_id_and_get_returns_it(workflow, store, listed):
    created = store(id=0, file_id=workflow.file())
    assert created == {"id": created["id"], "workflow_id": workflow.id, "file_id": created["file_id"]} | FIELDS
    assert workflow.client.get(f"/ro_crate_entities/{created['id']}").json == created
    assert listed() == [created]


@pytest.mark.parametrize("fields", [{}, {"file_id": None}])
def test_the_file_may_be_absent_and_is_left_out(workflow, store, fields):
    created = store(**fields)
    assert created == {"id": created["id"], "workflow_id": workflow.id} | FIELDS
    assert workflow.client.get(f"/ro_crate_entities/{created['id']}").json == created


@pytest.mark.parametrize("metadata", ["", "no JSON at all {", "null", "[]", "\U0001f600\n"])
def test_metadata_is_text_that_nobody_reads(workflow, store, metadata):
    created = store(metadata=metadata)
    assert workflow.client.get(f"/ro_crate_entities/{created['id']}").json["metadata"] == metadata


@pytest.mark.parametrize("field", ["workflow_id", *FIELDS])
def test_a_required_field_must_be_there_on_create_and_on_put(workflow, store, field):
    body = {"workflow_id": workflow.id} | FIELDS
    del body[field]
    assert workflow.client.post("/ro_crate_entities", json=body, status=422).json["error"]["field"] == field
    path = f"/ro_crate_entities/{store()['id']}"
    assert workflow.client.put(path, json=body, status=422).json["error"]["field"] == field


@pytest.mark.parametrize(
    "field, value",
    [
        ("workflow_id", None),
        ("workflow_id", "1"),
        ("file_id", "1"),
        ("file_id", 1.0),
        ("file_id", 2**63),
        ("entity_id", None),
        ("entity_id", 1),
        ("entity_type", []),
        ("metadata", ["x"]),
        ("metadata", "\0"),
    ],
)
def test_a_value_that_does_not_fit_is_422_naming_the_field_and_nothing_is_stored(store, listed, field, value):
    assert store(status=422, **{field: value})["error"]["field"] == field
    assert listed() == []


def test_an_unknown_file_is_422_naming_it_on_create_and_on_put(workflow, store, listed):
    assert store(status=422, file_id=999999999)["error"]["field"] == "file_id"
    created = store()
    body = {"workflow_id": workflow.id, "file_id": 999999999} | FIELDS
    answer = workflow.client.put(f"/ro_crate_entities/{created['id']}", json=body, status=422).json
    assert (answer["error"]["field"], answer["error"]["value"]) == ("file_id", 999999999)
    assert listed() == [created]


def test_a_file_of_another_workflow_is_422_on_create_and_on_put(workflow, store, listed, other, client):
    file = client.post("/files", json={"workflow_id": other, "name": "f", "path": "/f"}).json["id"]
    assert store(status=422, file_id=file)["error"]["field"] == "file_id"
    created = store()
    body = {"workflow_id": workflow.id, "file_id": file} | FIELDS
    answer = client.put(f"/ro_crate_entities/{created['id']}", json=body, status=422).json
    assert answer["error"]["field"] == "file_id"
    assert listed() == [created]


def test_an_entity_id_is_taken_once_in_a_workflow(workflow, store, listed, other):
    first, second = store(), store(entity_id="second")
    error = store(status=422)["error"]
    assert error["field"] == "entity_id" and "already exists" in error["message"]
    store(workflow_id=other)
    body = {"workflow_id": workflow.id} | FIELDS
    workflow.client.put(f"/ro_crate_entities/{second['id']}", json=body, status=422)
    assert workflow.client.put(f"/ro_crate_entities/{first['id']}", json=body).json == first
    assert listed() == [first, second]


def test_an_entity_id_too_long_for_the_key_is_422(store, listed):
    too_long = "".join(chr(0x4E00 + i * 7919 % 20000) for i in range(3000))  # compresses badly
    assert store(status=422, entity_id=too_long)["error"]["error"] == "UnprocessableEntity"
    assert listed() == []


@pytest.mark.parametrize("column", ["id", "workflow_id", "file_id", *FIELDS])
def test_the_list_sorts_by_every_column_unset_values_first(workflow, store, listed, column):
    first = store(file_id=workflow.file())["id"]
    second = store(entity_id="", entity_type="", metadata="")["id"]
    expected = [first, second] if column in ("id", "workflow_id") else [second, first]
    assert ids(listed(sort_by=column)) == expected
    assert ids(listed(sort_by=column, reverse_sort=True)) == expected[::-1]
    assert ids(listed(sort_by="name")) == [first, second]


def test_the_list_comes_in_pages_without_other_workflows(workflow, store, other):
    stored = [store(entity_id=name) for name in "cab"]
    store(workflow_id=other)
    answer = workflow.client.get(f"{workflow.path}/ro_crate_entities", params={"offset": 1, "limit": 1}).json
    assert answer == {
        "items": stored[1:2], "offset": 1, "max_limit": 100000, "count": 1, "total_count": 3, "has_more": True,
    }  # fmt: skip


def test_put_replaces_everything_and_an_absent_file_is_cleared(workflow, store):
    created = store(file_id=workflow.file())
    path = f"/ro_crate_entities/{created['id']}"
    new = {"workflow_id": workflow.id, "entity_id": "x", "entity_type": "Dataset", "metadata": "{}"}
    assert workflow.client.put(path, json=new | {"id": 0}).json == new | {"id": created["id"]}
    assert workflow.client.get(path).json == new | {"id": created["id"]}
    file = workflow.file()
    assert workflow.client.put(path, json=new | {"file_id": file}).json["file_id"] == file


def test_put_does_not_move_to_another_workflow(store, other, client):
    created = store()
    path = f"/ro_crate_entities/{created['id']}"
    body = {"workflow_id": other} | FIELDS | {"metadata": "new"}
    assert client.put(path, json=body, status=422).json["error"]["field"] == "workflow_id"
    assert client.get(path).json == created


def test_delete_answers_a_message(workflow, store, listed):
    created, kept = store(), store(entity_id="kept")
    answer = workflow.client.delete(f"/ro_crate_entities/{created['id']}").json
    assert answer == {"message": "RO-Crate entity deleted successfully"}
    assert listed() == [kept]


def test_bulk_delete_answers_a_message_and_counts_and_leaves_other_workflows_alone(workflow, store, listed, other):
    kept = store(workflow_id=other)
    store(), store(entity_id="x")
    for count in (2, 0):
        assert workflow.client.delete(f"{workflow.path}/ro_crate_entities").json == {
            "message": f"Deleted {count} RO-Crate entities", "deleted_count": count, "count": count,
        }  # fmt: skip
    assert listed() == []
    assert workflow.client.get(f"/ro_crate_entities/{kept['id']}").json == kept


def test_an_entity_of_a_deleted_file_stays_without_it(workflow, store):
    created = store(file_id=workflow.file())
    workflow.client.delete(f"/files/{created['file_id']}")
    del created["file_id"]
    assert workflow.client.get(f"/ro_crate_entities/{created['id']}").json == created


def test_entities_go_with_their_workflow(store, other, client):
    entity = store(workflow_id=other)["id"]
    client.delete(f"/workflows/{other}")
    client.get(f"/ro_crate_entities/{entity}", status=404)


@pytest.mark.parametrize(
    "method, arguments",
    [
        ("get", {}),
        ("delete", {}),
        ("put", {"json": {"workflow_id": 1} | FIELDS}),
    ],
)
def test_an_unknown_entity_is_404_naming_the_table(client, method, arguments):
    error = getattr(client, method)("/ro_crate_entities/999999999", status=404, **arguments).json["error"]
    assert error == {"error": "NotFound", "message": "Resource not found in ro_crate_entity with ID: 999999999"}


def test_an_unknown_workflow_is_404_for_list_create_and_bulk_delete(client, store):
    path = "/workflows/999999999/ro_crate_entities"
    message = "Workflow not found with ID: 999999999"
    assert client.get(path, status=404).json["error"]["message"] == message
    assert client.delete(path, status=404).json["error"]["message"] == message
    assert store(status=404, workflow_id=999999999, file_id=999999999)["error"]["message"] == message


def test_there_is_no_list_of_all_entities(client):
    assert client.get("/ro_crate_entities", status=405).headers["allow"] == "POST"


# What initialize_jobs adds


@pytest.fixture
def crate(workflow):
    """A workflow with enable_ro_crate."""
    body = {"name": "w", "user": "u", "enable_ro_crate": True}
    workflow.client.put(workflow.path, json=body)
    return workflow


@pytest.fixture
def record(workflow):
    """Call record_ro_crate() and return the metadata of all entities by their entity_id, in order."""

    def record():
        workflow.sql("SELECT torc.record_ro_crate(%s)::text", workflow.id)
        items = workflow.client.get(f"{workflow.path}/ro_crate_entities").json["items"]
        return {item["entity_id"]: json.loads(item["metadata"]) for item in items}

    return record


def test_the_software_entity_is_recorded_once_a_run_with_or_without_the_flag(workflow, record, listed):
    first = record()
    entity_id = "#software-torc-server-run-id-0"
    assert first == {entity_id: {
        "@id": entity_id, "@type": "SoftwareApplication", "name": "torc-server", "version": "unknown",
        "url": "unknown", "torc:run_id": 0, "torc:git_hash": "unknown",
    }}  # fmt: skip
    [item] = listed()
    assert item["entity_type"] == "SoftwareApplication" and "file_id" not in item
    assert record() == first
    workflow.set_run(3)
    assert list(record()) == [entity_id, "#software-torc-server-run-id-3"]
    assert record()["#software-torc-server-run-id-3"]["torc:run_id"] == 3


def test_initialize_jobs_records_the_server_in_every_mode(workflow, listed):
    workflow.initialize(only_uninitialized=True)
    workflow.initialize()
    assert [entity["entity_id"] for entity in listed()] == ["#software-torc-server-run-id-0"]
    assert json.loads(listed()[0]["metadata"])["version"] == __version__


def test_a_connection_of_the_server_says_which_version_and_program_it_is(app, workflow, listed):
    app.extensions["database"].run(
        lambda connection: connection.execute("SELECT torc.record_ro_crate(%s)", [workflow.id])
    )
    metadata = json.loads(listed()[0]["metadata"])
    assert metadata["version"] == __version__
    assert metadata["url"].startswith("/")


def test_a_software_entity_of_the_client_is_left_as_it_is(store, listed, record):
    mine = store(entity_id="#software-torc-server-run-id-0", metadata="{}")
    record()
    assert listed() == [mine]


@pytest.mark.parametrize("flag", [None, False])
def test_without_the_flag_no_file_is_recorded(workflow, record, flag):
    workflow.client.put(workflow.path, json={"name": "w", "user": "u", "enable_ro_crate": flag})
    workflow.file("in.csv", st_mtime=1)
    assert list(record()) == ["#software-torc-server-run-id-0"]


def test_files_that_exist_are_recorded_under_their_path(crate, record, listed):
    file = crate.file(path="/data/in.v2.CSV", st_mtime=1700000000.987)
    crate.file(path="/data/out.csv")
    assert record()["/data/in.v2.CSV"] == {
        "@id": "/data/in.v2.CSV", "@type": "File", "name": "in.v2.CSV", "encodingFormat": "text/csv",
        "torc:run_id": 0, "dateModified": "2023-11-14T22:13:20+00:00",
    }  # fmt: skip
    recorded, software = listed()
    assert (recorded["file_id"], recorded["entity_type"]) == (file, "File")
    assert software["entity_type"] == "SoftwareApplication"


def test_recording_again_renews_the_metadata_of_the_files_entity_and_adds_nothing(crate, record, listed):
    path = "/data/in.csv"
    file = crate.file(path=path, st_mtime=0)
    before = record()
    entities = listed()
    assert record() == before
    crate.client.put(f"/files/{file}", json={"workflow_id": crate.id, "name": "f", "path": path, "st_mtime": 86400})
    crate.set_run(5)
    assert record()[path] == before[path] | {"torc:run_id": 5, "dateModified": "1970-01-02T00:00:00+00:00"}
    assert ids(listed())[:2] == ids(entities)


def test_the_oldest_entity_that_a_client_made_for_a_file_gets_the_metadata_and_keeps_its_id_and_type(
    crate, store, record
):
    file = crate.file(path="/in.csv", st_mtime=0)
    store(entity_id="mine", entity_type="Dataset", file_id=file, metadata="{}")
    store(entity_id="second", file_id=file, metadata="{}")
    recorded = record()
    assert list(recorded) == ["mine", "second", "#software-torc-server-run-id-0"]
    assert recorded["mine"]["@id"] == "/in.csv" and recorded["second"] == {}
    [first, *_] = crate.client.get(f"{crate.path}/ro_crate_entities").json["items"]
    assert first["entity_type"] == "Dataset"


def test_a_path_that_is_taken_is_left_to_whoever_has_it(crate, store, record):
    store(entity_id="/in.csv", metadata='{"mine": 1}')
    crate.file(path="/in.csv", st_mtime=0)
    first = crate.file("twice", st_mtime=0)
    crate.file("twice", st_mtime=1)
    recorded = record()
    assert recorded["/in.csv"] == {"mine": 1}
    assert recorded["/twice"]["dateModified"] == "1970-01-01T00:00:00+00:00"
    items = crate.client.get(f"{crate.path}/ro_crate_entities").json["items"]
    assert [item["file_id"] for item in items if item["entity_id"] == "/twice"] == [first]


@pytest.mark.parametrize(
    "st_mtime, expected",
    [
        (0.999, "1970-01-01T00:00:00+00:00"),
        (-0.5, "1970-01-01T00:00:00+00:00"),
        (-62135596800, "0001-01-01T00:00:00+00:00"),
        (253402300799, "9999-12-31T23:59:59+00:00"),
        (253402300799.5, None),
        (1e300, None),
        (-1e300, None),
    ],
)
def test_a_time_is_in_whole_seconds_and_left_out_when_no_calendar_has_it(crate, record, st_mtime, expected):
    crate.file("f", st_mtime=st_mtime)
    assert record()["/f"].get("dateModified") == expected


@pytest.mark.parametrize(
    "path, name, media_type",
    [
        ("in.json", "in.json", "application/json"),
        ("a/b.YAML", "b.YAML", "text/x-yaml"),
        ("/a.csv/b", "b", "application/octet-stream"),
        ("/a/.csv", ".csv", "application/octet-stream"),
        (".csv", ".csv", "application/octet-stream"),
        ("a.tar.gz", "a.tar.gz", "application/gzip"),
        ("a.", "a.", "application/octet-stream"),
        ("a.unknown", "a.unknown", "application/octet-stream"),
        ("/data/dir/", "dir", "application/octet-stream"),
        ("/", "/", "application/octet-stream"),
        ("", "", "application/octet-stream"),
        ("a\nb/c d.png", "c d.png", "image/png"),
    ],
)
def test_name_and_format_come_from_the_path(crate, record, path, name, media_type):
    crate.file(path=path, st_mtime=0)
    metadata = record()[path]
    assert (metadata["name"], metadata["encodingFormat"]) == (name, media_type)


def test_a_path_too_long_for_the_key_does_not_stand_in_the_way(crate, record):
    too_long = "".join(chr(0x4E00 + i * 7919 % 20000) for i in range(3000))
    crate.file(path=too_long, st_mtime=0)
    crate.file(path="/short", st_mtime=0)
    assert list(record()) == ["/short", "#software-torc-server-run-id-0"]


def test_files_of_other_workflows_are_not_recorded(crate, record, other):
    crate.client.post("/files", json={"workflow_id": other, "name": "f", "path": "/other", "st_mtime": 1})
    assert list(record()) == ["#software-torc-server-run-id-0"]


def test_an_unknown_workflow_gets_nothing(database):
    database.execute("SELECT torc.record_ro_crate(999999999)")
    count = database.execute("SELECT count(*) FROM torc.ro_crate_entity WHERE workflow_id = 999999999").fetchone()
    assert count == (0,)


def test_recording_many_files_again_takes_seconds(crate, database_url):
    crate.database.execute(
        """
        INSERT INTO torc.file (workflow_id, name, path, st_mtime)
        SELECT %s, 'f', '/data/' || i, i FROM generate_series(1, 20000) AS i
        """,
        [crate.id],
    )
    with psycopg.connect(database_url) as connection:
        connection.execute("SET statement_timeout = '30s'")  # 1 s; searched file by file it was 53 s
        for run_id in (1, 2):
            crate.set_run(run_id)
            connection.execute("SELECT torc.record_ro_crate(%s)", [crate.id])
            connection.commit()
    count = crate.client.get(f"{crate.path}/ro_crate_entities", params={"limit": 0}).json["total_count"]
    assert count == 20002
