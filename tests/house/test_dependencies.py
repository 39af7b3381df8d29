"""The packages that we lean on: what setup.cfg allows, and the names in them that nobody has promised to keep.

These names are private, undocumented, or methods that we override although they are not made for it. A new version may
rename them without notice, so setup.cfg has an upper bound for each of these packages. Each line is a dotted name, then
the module that uses it; the last part may be an attribute that the class sets on its instances.

    apispec.ext.marshmallow.OpenAPIConverter                   openapi
    click.ParamType.envvar_list_splitter                       cli
    click.core.ParameterSource.DEFAULT_MAP                     cli
    flask.Flask.ensure_sync                                    app
    gunicorn.arbiter.Arbiter.LISTENERS                         master
    gunicorn.arbiter.Arbiter.WORKERS                           master
    gunicorn.arbiter.Arbiter.murder_workers                    master
    gunicorn.arbiter.Arbiter.num_workers                       master
    gunicorn.arbiter.Arbiter.reload                            master
    gunicorn.arbiter.Arbiter.signal                            master
    gunicorn.arbiter.Arbiter.spawn_worker                      master
    gunicorn.arbiter.Arbiter.start                             master
    gunicorn.arbiter.Arbiter.stop                              master
    gunicorn.arbiter.Arbiter.systemd                           master
    gunicorn.arbiter.Arbiter.timeout                           master
    gunicorn.config.Config.settings                            worker
    gunicorn.glogging.Logger.error_log                         logs
    gunicorn.glogging.Logger.setup                             logs
    gunicorn.http.body.Body                                    request_reader
    gunicorn.http.body.Body.failed                             request_reader
    gunicorn.http.body.Body.reader                             request_reader
    gunicorn.http.body.ChunkedReader                           request_reader
    gunicorn.http.body.LengthReader.length                     heads, request_reader
    gunicorn.http.errors.LimitRequestHeaders                   heads
    gunicorn.http.errors.NoMoreData                            heads
    gunicorn.http.errors.ParseException                        envelope, worker
    gunicorn.http.message.Request._expected_100_continue       heads, request_reader
    gunicorn.http.message.Request.parse_request_line           heads
    gunicorn.http.message.Request.peer_addr                    heads
    gunicorn.http.message.Request.remote_addr                  heads
    gunicorn.http.unreader.IterUnreader                        heads, request_reader
    gunicorn.http.wsgi.FileWrapper.filelike                    worker
    gunicorn.http.wsgi.Response.default_headers                worker
    gunicorn.http.wsgi.Response.force_close                    worker
    gunicorn.http.wsgi.Response.headers                        worker
    gunicorn.http.wsgi.Response.process_headers                worker
    gunicorn.http.wsgi.Response.response_length                worker
    gunicorn.http.wsgi.Response.send_headers                   worker
    gunicorn.http.wsgi.Response.should_close                   worker
    gunicorn.http.wsgi.create                                  heads
    gunicorn.sock.ssl_context                                  worker
    gunicorn.systemd.sd_notify                                 master
    gunicorn.util.unquote_to_wsgi_str                          heads
    gunicorn.workers.base.Worker.PIPE                          worker
    gunicorn.workers.base.Worker.handle_error                  worker
    gunicorn.workers.base.Worker.load_wsgi                     worker
    gunicorn.workers.base.Worker.ppid                          worker
    gunicorn.workers.base.Worker.sockets                       worker
    marshmallow.Schema._declared_fields                        openapi, pages, schemas.common
    marshmallow.Schema._hooks                                  schemas.exact
    prometheus_client.multiprocess.mark_process_dead           metrics
    prometheus_client.Histogram._buckets                       metrics
    prometheus_client.Histogram._sum                           metrics
    prometheus_client.Histogram._upper_bounds                  metrics
    prometheus_client.values.MultiProcessValue                 metrics
    psycopg.adapt.Transformer.dump_sequence                    database
    psycopg.adapt.Transformer.load_row                         database
    psycopg.adapt.Transformer.set_pgresult                     database
    psycopg.errors.error_from_result                           database
    psycopg.pq.PGconn.consume_input                            database, presence
    psycopg.pq.PGconn.exec_prepared                            database
    psycopg.pq.PGconn.prepare                                  database
    werkzeug.local.LocalProxy._get_current_object              observer
    werkzeug.routing.BaseConverter.part_isolating              routing
    werkzeug.routing.Rule.get_converter                        routing
"""

import configparser
import contextlib
import importlib
import inspect
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMES = dict(line.split(maxsplit=1) for line in __doc__.splitlines() if line.startswith("    "))


def resolve(dotted):
    """Import as much of the name as is a module, and follow the attributes from there."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for name in parts[end:-1]:
            found = getattr(found, name)
        return found if end == len(parts) else attribute(found, parts[-1])
    raise ModuleNotFoundError(dotted)


def attribute(owner, name):
    """An attribute, or whether the class sets it on its instances. Raises AttributeError."""
    if hasattr(owner, name) or not inspect.isclass(owner):
        return getattr(owner, name)
    for base in owner.__mro__:
        with contextlib.suppress(OSError, TypeError):  # compiled
            if re.search(rf"self\.{name}(: .*)? = ", inspect.getsource(base)):
                return True
    raise AttributeError(f"{owner.__name__} has no {name}")


def bounds():
    """{package: (lower, upper)} of what setup.cfg requires to run."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    options = config["options"]["install_requires"], config["options.extras_require"]["embedded"]
    found = re.findall(r"^([\w-]+)(?:\[\w+\])?>=([\d.]+),<([\d.]+)$", "\n".join(options), re.MULTILINE)
    return {name.lower(): (lower, upper) for name, lower, upper in found}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_nobody_promised_to_keep_is_still_there(name):
    resolve(name)


@pytest.mark.parametrize("name", ["psycopg.adapt.Transformer.no_such", "gunicorn.workers.base.Worker.no_such"])
def test_a_name_that_is_gone_is_noticed(name):
    with pytest.raises(AttributeError):
        resolve(name)


def test_every_private_name_of_another_package_that_we_use_is_on_the_list():
    sources = {file: file.read_text() for file in (ROOT / "torc_server").rglob("*.py")}
    ours = set(re.findall(r"(?:def |class |self\.|^)(_[a-z]\w*)", "\n".join(sources.values()), re.MULTILINE))
    used = {(name, file.stem) for file, text in sources.items() for name in re.findall(r"\w\.(_[a-z]\w*)", text)}
    listed = {(name.split(".")[-1], module.split(".")[-1]) for name, modules in NAMES.items()
              for module in modules.split(", ")}  # fmt: skip
    assert {(name, module) for name, module in used if name not in ours} <= listed


def test_every_package_has_a_lower_and_an_upper_bound():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    required = [line for line in config["options"]["install_requires"].splitlines() if line and line[0] != "#"]
    assert len(required) == len(bounds()) - 1


def test_the_oldest_versions_that_are_tested_are_the_lower_bounds():
    pinned = dict(re.findall(r"^([\w-]+)==([\d.]+)$", (ROOT / "tests/helpers/oldest.txt").read_text(), re.MULTILINE))
    tested = {name.lower(): version for name, version in pinned.items()}
    assert tested.pop("psycopg-binary") == tested["psycopg"]
    assert tested == {name: lower for name, (lower, _) in bounds().items()}


def test_packages_whose_private_names_we_use_have_an_upper_bound():
    packages = {name.split(".")[0] for name in NAMES} - {"concurrent"}
    assert packages <= bounds().keys()
