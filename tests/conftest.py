"""One PostgreSQL for all tests, a database cloned from one template for each test process, and servers to talk to.

TORC_TEST_DATABASE_URL names a server to use instead of the embedded one (its user must be allowed to create databases).
TORC_DATABASE_URL is never used: tests create and drop what they want.
"""

import contextlib
import gc
import importlib
import os
import shutil
import sys
import tempfile
import uuid
from dataclasses import replace
from pathlib import Path

import psutil
import psycopg
import pytest
import stored_functions
from callers import Access, with_admin_sql
from clock import Clock
from psycopg.conninfo import make_conninfo
from support import POSTGRES_SETTINGS, MemoryClient, Server
from werkzeug.routing import Rule
from workflow import Workflow

import torc_server.database
from torc_server import admin_sql, connections, embedded, htpasswd, migrations
from torc_server.settings import Settings

# Files whose tests are marked slow.
SLOW = {
    "test_access", "test_access_groups", "test_access_references", "test_authentication", "test_backup",
    "test_bad_input", "test_bodies", "test_browsers", "test_bulk_creates", "test_claims_plan", "test_client",
    "test_clients", "test_concurrency", "test_connections", "test_crash", "test_dashboard", "test_dashboard_pages",
    "test_dialects", "test_direct", "test_docs_page", "test_doctor", "test_event_stream", "test_exact_types",
    "test_examples", "test_fuzz", "test_growth", "test_guides", "test_import", "test_migrations", "test_model",
    "test_openapi", "test_packaging", "test_plans", "test_presence", "test_prune", "test_query_budget", "test_reload",
    "test_starting", "test_sync_openapi", "test_tls", "test_wsgi",
}  # fmt: skip
PREFIX = "torc-tests-"  # of the folder of a run; its process follows
MEMORY_NEEDED = 4 << 30  # bytes, to have that folder in memory
# Where this is set each process compiles all modules that it imports, pytest's assertions too: some seconds of CPU.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# How long calls of an application in memory wait for a lock that their test holds: on a busy machine two lines of a
# test may take longer than the two seconds of a server.
connections.SETTINGS["lock_timeout"] = "12s"
torc_server.database.QUEUE_MS = 12_000
_compile_builder = Rule._compile_builder
_builders = {}  # by rule and arguments
_called = set()  # the stored functions that tests have called
_never_called = []  # those that none has, after a run of all tests
_shared = {}  # folder, server (conninfo), its version, template; made by the pytest process, given to its xdist workers


def _builder(rule, *arguments):
    """What Werkzeug compiles of a route to make URLs. All applications have the same routes, so that once is enough: it
    is 0.08 s of CPU an application."""
    key = rule.rule, arguments
    if key not in _builders:
        _builders[key] = _compile_builder(rule, *arguments)
    return _builders[key]


Rule._compile_builder = _builder


def pytest_sessionstart(session):
    """Start PostgreSQL and migrate the template, once, before xdist starts its workers."""
    if hasattr(session.config, "workerinput"):
        _shared.update(session.config.workerinput["torc"])
        _compile_a_share(session.config)
        return
    if session.config.option.collectonly:
        return
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=_memory()))
    folder.chmod(0o755)  # PostgreSQL's account passes through
    _shared["folder"] = str(folder)
    server = os.environ.get("TORC_TEST_DATABASE_URL")
    if not server:
        _shared["postgres"] = str(folder / "postgres")
        server = embedded.start(_shared["postgres"], POSTGRES_SETTINGS, tie=True)
    _shared["server"] = server
    with psycopg.connect(server) as connection:
        _shared["version"] = connection.info.server_version // 10000
    _shared["template"] = f"torc_test_{uuid.uuid4().hex[:8]}"
    _execute(f"CREATE DATABASE {_shared['template']}")
    migrations.migrate(make_conninfo(server, dbname=_shared["template"]))


def _compile_a_share(config):
    """Import every n-th test module, so that n test processes on a new checkout do not compile all of them n times."""
    number, count = int(config.workerinput["workerid"].removeprefix("gw")), config.workerinput["workercount"]
    if config.args == config.getini("testpaths"):
        for path in sorted(Path(__file__).parent.rglob("test_*.py"))[number::count]:
            importlib.import_module(path.stem)


def _memory():
    """The folder of this machine that is in memory, where databases are created in a fifth of the CPU; None if there is
    none with enough space whose programs may be executed. What killed runs left there is removed."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK | os.X_OK):
        return None
    for folder in memory.glob(f"{PREFIX}*"):
        if not psutil.pid_exists(int(folder.name.split("-")[2])):
            shutil.rmtree(folder, ignore_errors=True)
    found = os.statvfs(memory)
    free = min(found.f_bavail * found.f_frsize, psutil.virtual_memory().available)
    return None if found.f_flag & os.ST_NOEXEC or free < MEMORY_NEEDED else memory


def pytest_collection_modifyitems(items):
    """Mark as slow what starts servers or other processes, and files that take seconds."""
    for item in items:
        if item.path.stem in SLOW or {"server", "start_server"} & {*item.fixturenames}:
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish():
    """What is collected stays to the end: the garbage collector need not visit it again and again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """--numprocesses logical: two test processes a core, since half of the time they wait for servers and deadlines;
    for the long tests, which load the machine themselves, one."""
    cores = os.cpu_count() or 1
    return cores if config.option.markexpr == "long" else 2 * cores


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    node.workerinput["torc"] = _shared


def pytest_sessionfinish(session):
    """Tell which stored functions have been called; after a run of all tests: each must have been."""
    config = session.config
    if hasattr(config, "workerinput"):
        config.workeroutput["called"] = sorted(_called)
    elif session.exitstatus == pytest.ExitCode.OK and "postgres" in _shared and _are_all_tests(config):
        with psycopg.connect(_shared["server"], dbname=_shared["template"]) as connection:
            _never_called.extend(stored_functions.never_called(connection, _called))
        if _never_called:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    _called.update(getattr(node, "workeroutput", {}).get("called", ()))


def pytest_terminal_summary(terminalreporter):
    for name in _never_called:
        terminalreporter.write_line(f"FAILED no test calls the stored function torc.{name}", red=True)


def _are_all_tests(config):
    everything = config.args == config.getini("testpaths") and not config.option.collectonly
    return everything and not config.option.keyword and config.option.markexpr in config.getini("addopts")


def pytest_unconfigure(config):
    """Stop and remove all of it; whatever a test left running is an error."""
    if hasattr(config, "workerinput") or "folder" not in _shared:
        return
    if "postgres" in _shared:
        embedded.stop(_shared["postgres"])
    elif "template" in _shared:
        _drop_databases()
    _, left = psutil.wait_procs(_processes_of(_shared["folder"]), 10)  # workers of a killed server end a moment later
    for process in left:
        process.kill()
    shutil.rmtree(_shared.pop("folder"))
    if left:
        raise RuntimeError(f"left running by the tests: {[process.info for process in left]}")


def _drop_databases():
    """The template and what a crashed test process left of its clones."""
    with psycopg.connect(_shared["server"], autocommit=True) as connection:
        named = "SELECT datname FROM pg_database WHERE starts_with(datname, %s)"
        for (name,) in connection.execute(named, [_shared["template"]]).fetchall():
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _processes_of(folder):
    found = psutil.process_iter(["pid", "cmdline", "cwd"])
    return [p for p in found if folder in " ".join(p.info["cmdline"] or []) or folder in (p.info["cwd"] or "")]


def _execute(statement):
    with psycopg.connect(_shared["server"], autocommit=True) as connection:
        connection.execute(statement)


@contextlib.contextmanager
def new_database(template=None):
    """A database for a while: a clone of `template`, or without one an empty database. Gives its conninfo."""
    name = f"{_shared['template']}_{uuid.uuid4().hex[:8]}"
    copied = "STRATEGY FILE_COPY" if _shared["version"] >= 15 else ""
    _execute(f"CREATE DATABASE {name} TEMPLATE {template or 'template0'} {copied}")
    try:
        yield make_conninfo(_shared["server"], dbname=name)
        with (
            contextlib.suppress(psycopg.OperationalError),
            psycopg.connect(_shared["server"], dbname=name) as connection,
        ):
            _called.update(stored_functions.counted(connection))  # unless the test has dropped it
    finally:
        _drop(name)


def _drop(name):
    """Drop a database. PostgreSQL gives its sessions five seconds to end, which is too short on a busy machine."""
    for last in (False, False, False, True):
        try:
            _execute(f"DROP DATABASE {name} WITH (FORCE)")
            return
        except psycopg.errors.ObjectInUse:
            if last:
                raise


@pytest.fixture(scope="session")
def database_url():
    """The migrated database of this test process, shared by its tests."""
    with new_database(_shared["template"]) as conninfo:
        yield conninfo


@pytest.fixture
def databases():
    """For databases of one test, which are dropped when its servers have stopped: a server whose database is gone
    stops 5 s later."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def fresh_database_url(databases):
    """A migrated database for one test."""
    return databases.enter_context(new_database(_shared["template"]))


@pytest.fixture(scope="module")
def module_database_url():
    """A migrated database for the tests of one module."""
    with new_database(_shared["template"]) as conninfo:
        yield conninfo


@pytest.fixture
def empty_database_url(databases):
    """An empty database for one test."""
    return databases.enter_context(new_database())


@pytest.fixture
def other_database_url(databases):
    """Another empty database for the same test."""
    return databases.enter_context(new_database())


@pytest.fixture(scope="session")
def postgres_log():
    """The log file of the shared PostgreSQL, or None if it is a server given from outside."""
    return Path(_shared["postgres"], "postgres.log") if "postgres" in _shared else None


@pytest.fixture(scope="session")
def app(database_url):
    """The application in memory, its connections open."""
    from torc_server.app import create_app

    settings = with_admin_sql(replace(Settings(), threads=8, workers=1, database_url=database_url))
    with psycopg.connect(database_url, autocommit=True) as connection:
        admin_sql.set_up(connection)
    app = create_app(settings, database_url)
    app.extensions["database"].open()
    yield app
    app.extensions["database"].close()


@pytest.fixture
def make_client(database_url):
    """A factory: make_client(require_auth=True, …) is a client of an application in memory with those settings. Its
    .app is the application; each one is like another worker on the database of `client`."""
    from torc_server.app import create_app

    apps = []

    def make(**options):
        settings = replace(Settings(), **{"database_url": database_url, **options})
        apps.append(create_app(settings, settings.database_url))
        apps[-1].extensions["database"].open()
        return MemoryClient(apps[-1])

    yield make
    for app in apps:
        app.extensions["database"].close()


@pytest.fixture(scope="module")
def access(module_database_url):
    """The application on a database of its own, for tests of who may do what; see callers.Access."""
    with Access(module_database_url) as access:
        yield access


@pytest.fixture(scope="session")
def client(app):
    """`client.get("/ping").json`: see support.Client."""
    return MemoryClient(app)


@pytest.fixture(scope="session")
def database(database_url):
    """A connection to the database of `client`, each statement committed."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def clock(database):
    """Moves the time of the database; back in the present after the test. See clock.Clock."""
    clock = Clock(database)
    yield clock
    clock.reset()


@pytest.fixture
def workflow(client, database):
    """A workflow for one test; afterwards nothing in it may be that must never be. See workflow.Workflow."""
    workflow = Workflow(client, database)
    yield workflow
    assert workflow.violations() == []


@pytest.fixture(scope="session")
def session_folder():
    """A folder that PostgreSQL's account can reach, for this test process; removed at the end of the run."""
    folder = Path(_shared["folder"]) / uuid.uuid4().hex[:8]
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def module_folder(session_folder):
    """Such a folder for the tests of one module. xdist may give a process tests of the same module again, after those
    of other modules: then it is another one."""
    folder = session_folder / uuid.uuid4().hex[:8]
    folder.mkdir()
    return folder


@pytest.fixture
def folder(session_folder):
    """A folder for one test that PostgreSQL's account can reach (root's tmp_path is closed to it)."""
    folder = session_folder / uuid.uuid4().hex[:8]
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def server(session_folder):
    """A real server on a database of its own, shared by the tests of this process; see support.Server. It has a
    password file, and needs no password."""
    auth_file = session_folder / "htpasswd"
    auth_file.write_text(f"alice:{htpasswd.hash_password('long enough', cost=4)}\n")
    with new_database(_shared["template"]) as conninfo:
        server = Server(session_folder / "server", database_url=conninfo, auth_file=auth_file)
        try:
            yield server.wait_until_it_listens()
        finally:
            server.stop()


@pytest.fixture
def start_server(folder, databases):
    """A factory: start_server(database_url=…) returns a Server that listens; all are stopped after the test.

    Without database_url it has an embedded PostgreSQL of its own in data_dir; wait=False returns at once.
    """
    servers = []

    def start(wait=True, **options):
        servers.append(Server(folder / str(len(servers)), **options))
        return servers[-1].wait_until_it_listens() if wait else servers[-1]

    yield start
    for server in servers:  # each takes 2 s while a client keeps a connection
        server.tell_to_stop()
    with contextlib.ExitStack() as stack:  # stops all, also when stopping one fails
        for server in servers:
            stack.callback(server.stop)
