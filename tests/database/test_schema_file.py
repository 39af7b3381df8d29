"""sql/schema.sql is what the migrations make, with a comment on each table and index."""

import re

import psycopg
import schema_file
from test_migrations import dump

from torc_server import migrations


def test_the_schema_file_is_made_from_the_migrations(fresh_database_url):
    text = schema_file.FILE.read_text()
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        assert schema_file.render(connection, schema_file.notes_of(text)) == text, "make schema-file"


def test_a_database_made_by_the_schema_file_is_the_one_that_the_migrations_make(fresh_database_url, empty_database_url):
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA torc")
        connection.execute(schema_file.FILE.read_text())
        migrations._in_transaction(connection, migrations._replace_functions)
    migrated = [line for line in dump(fresh_database_url) if not line.startswith("COMMENT ON TABLE torc.schema_mig")]
    assert dump(empty_database_url) == migrated


def test_each_table_and_index_has_a_comment_and_each_comment_is_about_something_that_exists(database):
    notes = schema_file.notes_of(schema_file.FILE.read_text())
    indexes = set(re.findall(r"^CREATE (?:UNIQUE )?INDEX (\w+)", schema_file.FILE.read_text(), re.M))
    assert {*notes.order, *indexes} - notes.comments.keys() == set()
    rendered = schema_file.notes_of(schema_file.render(database, notes))
    assert rendered == notes


def test_comments_survive_when_a_column_moves_and_new_tables_come_last(fresh_database_url):
    notes = schema_file.notes_of(schema_file.FILE.read_text())
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE torc.extra (id bigint, kind torc.job_status DEFAULT 'ready')")
        connection.execute("ALTER TABLE torc.task DROP COLUMN caller")
        text = schema_file.render(connection, notes)
    assert text.endswith("\nCREATE TABLE torc.extra (\n    id bigint,\n    kind torc.job_status DEFAULT 'ready'\n);\n")
    after = schema_file.notes_of(text)
    assert notes.comments.keys() - after.comments.keys() == {"task.caller"}
    assert after.order == [*notes.order, "extra"]
