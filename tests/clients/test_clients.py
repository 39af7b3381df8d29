"""The clients that `make clients` puts into build/clients: whole, and of use. `make clients-test` runs these tests."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from client_versions import TEXT_OR_OBJECT
from support import PREFIX, clean_environment

pytestmark = pytest.mark.clients
ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / "build" / "clients"
TEXT = ROOT / "README.md"
# Of each language: where models are, where operations are (the name of their file without underscores is the tag's),
# how the definition of an operation begins.
LAYOUT = {
    "python": ("torc/openapi_client/models/*.py", "torc/openapi_client/api/*_api.py", r"    def (\w+)\("),
    "rust": ("src/models/*.rs", "src/apis/*_api.rs", r"pub fn (\w+)\("),
    "julia": ("src/models/model_*.jl", "src/apis/api_*Api.jl", r"function (\w+)\(_api::"),
}

# Prints what torc.openapi_client offers: the parameters of each call and the fields of each model, with their types.
DESCRIBE = """
import inspect, json, typing
import torc.openapi_client as client

def types(thing, names):
    hints = typing.get_type_hints(thing)
    return [[name, str(hints[name])] for name in names if not name.startswith("_") and name != "self"]

calls, models = {}, {}
for name, thing in inspect.getmembers(client, inspect.isclass):
    if name.endswith("Api"):
        functions = inspect.getmembers(thing, lambda f: inspect.isfunction(f) and not f.__name__.startswith("_"))
        calls |= {f"{name}.{n}": types(f, inspect.signature(f).parameters) for n, f in functions}
    elif hasattr(thing, "model_fields"):
        models[name] = dict(types(thing, thing.model_fields))
print(json.dumps([calls, models]))
"""


@pytest.fixture(scope="module")
def document():
    return yaml.safe_load((ROOT / "openapi" / "openapi.yaml").read_text())


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A new Python environment with the generated client in it, and nothing else but what that asks for."""
    environment = Environment(tmp_path_factory.mktemp("environment"))
    environment.pip(CLIENTS / "python")
    return environment


class Environment:
    def __init__(self, folder):
        venv.create(folder, with_pip=True)
        self.folder = folder

    def pip(self, *arguments):
        command = [self.folder / "bin" / "pip", "install", "--quiet", *arguments]
        subprocess.run(command, env=os.environ | {"PYTHONPATH": ""}, check=True, timeout=600)

    def python(self, *arguments):
        """Run Python from an unrelated folder; return what it prints."""
        command = [self.folder / "bin" / "python", *map(str, arguments)]
        done = subprocess.run(
            command, cwd=self.folder, env=clean_environment(self.folder), capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.mark.parametrize("language", LAYOUT)
def test_a_client_has_a_file_for_each_model_and_each_tag_and_every_operation(language, document):
    models, apis, definition = LAYOUT[language]
    operations = {}
    for path in document["paths"].values():
        for operation in path.values():
            operations.setdefault(squeezed(operation["tags"][0]), set()).add(operation["operationId"])

    files = {squeezed(file.stem.removeprefix("model_")) for file in files_of(language, models)}
    assert files - {"init", "mod"} == {squeezed(name) for name in document["components"]["schemas"]}
    defined = {
        squeezed(re.sub("^api_|_?[aA]pi$", "", file.stem)): set(re.findall(definition, file.read_text(), re.MULTILINE))
        for file in files_of(language, apis)
    }
    assert {tag: operations[tag] - defined.get(tag, set()) for tag in operations} == {key: set() for key in operations}
    assert defined.keys() == operations.keys()


def files_of(language, pattern):
    return (CLIENTS / language).glob(pattern)


def squeezed(name):
    """JobModel, job_model and jobmodel are the same name."""
    return name.replace("_", "").lower()


def test_each_package_has_the_version_of_the_document(document):
    packages = {
        "python": toml("python/pyproject.toml")["project"],
        "rust": toml("rust/Cargo.toml")["package"],
        "julia": toml("julia/Project.toml"),
    }
    assert {name: package["name"] for name, package in packages.items()} == {
        "python": "torc.openapi_client", "rust": "torc-openapi-client", "julia": "APIClient"
    }  # fmt: skip
    assert {package["version"] for package in packages.values()} == {document["info"]["version"]}


def toml(name):
    return tomllib.loads((CLIENTS / name).read_text())


def test_the_python_client_alone_talks_to_a_server(environment, server):
    program = f"""if True:
        import json
        from torc import openapi_client as torc
        client = torc.ApiClient(torc.Configuration(host="{server.url}{PREFIX}"))
        workflow = torc.WorkflowsApi(client).create_workflow(torc.WorkflowModel(name="generated", user="me"))
        data = {{"nothing": None, "some": [1, "two"]}}
        kept = torc.UserDataApi(client).create_user_data(
            torc.UserDataModel(workflow_id=workflow.id, name="free JSON", data=data))
        assert torc.UserDataApi(client).get_user_data(kept.id).data == data
        job = torc.JobsApi(client).create_job(torc.JobModel(workflow_id=workflow.id, name="a", command="true"))
        ready = torc.JobsApi(client).list_jobs(workflow.id, status=torc.JobStatus.UNINITIALIZED).items
        assert [item.id for item in ready] == [job.id]
        try:
            torc.JobsApi(client).get_job(10**9)
        except torc.ApiException as error:
            assert error.status == 404
            assert error.data.error["error"] == "NotFound"
        else:
            raise AssertionError("a job that does not exist")
        print(json.dumps(torc.SystemApi(client).get_version().api_version))
    """
    assert json.loads(environment.python("-c", program)) == version_of_package(environment)


def version_of_package(environment):
    return environment.python("-c", "import torc.openapi_client as t; print(t.__version__)").strip()


def test_the_python_client_takes_the_place_of_that_in_torc_client_and_counts_the_words(
    environment, document, server, folder
):
    environment.pip(f"torc-client=={version('torc-client')}")
    environment.pip("--force-reinstall", "--no-deps", CLIENTS / "python")
    assert version_of_package(environment) == document["info"]["version"]
    place = environment.python("-c", "import torc.openapi_client.models as m; print(m.__file__)")
    made, used = (CLIENTS / "python/torc/openapi_client/models"), Path(place.strip()).parent
    assert {f.name: f.read_text() for f in made.glob("*.py")} == {f.name: f.read_text() for f in used.glob("*.py")}

    url = f"--url={server.url}{PREFIX}"
    count = ["--text", TEXT, "--parts", "3", "--folder", folder]
    workflow = environment.python(ROOT / "examples" / "word_count.py", url, *count).strip()
    environment.python(ROOT / "examples" / "worker.py", workflow, url, "--cpus", "2", "--output", folder / "output")
    words = Counter(re.findall(r"\w+", TEXT.read_text().lower()))
    assert json.loads((folder / "counts.json").read_text()) == words


def test_the_python_client_takes_the_calls_and_has_the_fields_of_torc_client(environment):
    calls, models = json.loads(environment.python("-c", DESCRIBE))
    done = subprocess.run([sys.executable, "-c", DESCRIBE], capture_output=True, text=True, check=True)
    old_calls, old_models = json.loads(done.stdout)
    # Whatever is new comes last, so that arguments given by position mean the same.
    changed = {name: calls.get(name) for name, old in old_calls.items() if calls.get(name, [])[: len(old)] != old}
    for name, old in old_models.items():
        kept = {field: kind for field, kind in old.items() if field not in TEXT_OR_OBJECT.get(name, ())}
        if not kept.items() <= models[name].items():
            changed[name] = models[name]
    assert changed == {}


@pytest.mark.skipif(not shutil.which("cargo"), reason="cargo is not installed")
def test_the_rust_client_passes_the_compiler():
    environment = os.environ | {"CARGO_TARGET_DIR": str(ROOT / "build" / "cargo")}
    subprocess.run(["cargo", "check", "--quiet"], cwd=CLIENTS / "rust", env=environment, check=True, timeout=1200)
