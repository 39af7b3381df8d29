"""openapi/sync_openapi.sh: commands, flags and exit codes, in a copy where stand-ins serve as server and generator."""

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "openapi"
EMITTED = "openapi: 3.1.0\ninfo:\n  title: torc\n  version: 1.2.3\npaths: {}\n"
OTHER = EMITTED.replace("1.2.3", "1.2.4")
USAGE = "usage: sync_openapi.sh COMMAND"

# Emits what stands in the file `emission`; cat fails if there is none.
SERVER = '#!/bin/sh\n[ "$*" = openapi ] && exec cat "$(dirname "$0")/emission"\n'
# Writes into the client's folder which document it was given, and with which version and configuration.
GENERATOR = r"""#!/bin/sh
while [ $# -gt 0 ]; do
    case $1 in
    -i) document=$2 ;; -c) configuration=$2 ;; -o) output=$2 ;; --additional-properties) properties=$2 ;;
    esac
    shift
done
echo "[main] INFO  writing"
if [ -e "$(dirname "$0")/complains" ]; then echo "[main] ERROR o.o.Something - not yet supported"; fi
if [ -e "$(dirname "$0")/fails" ]; then echo "it broke" >&2; exit 3; fi
printf '%s\n' "$properties" "$(basename "$configuration")" >"$output/made"
cp "$document" "$output/document"
printf 'name = "x"\nuuid = "1"\n\n[deps]\n' >"$output/Project.toml"
"""


class Checkout:
    """A folder with openapi/, and stand-ins of the programs in .venv/bin."""

    def __init__(self, folder):
        self.folder = folder
        self.openapi = folder / "openapi"
        shutil.copytree(SOURCE, self.openapi, ignore=shutil.ignore_patterns("openapi*.yaml"))
        self.binaries = folder / ".venv" / "bin"
        self.binaries.mkdir(parents=True)
        self.program("torc-server", SERVER)
        self.program("openapi-generator-cli", GENERATOR)
        self.emits(EMITTED)

    def program(self, name, text):
        (self.binaries / name).write_text(text)
        (self.binaries / name).chmod(0o755)

    def emits(self, text):
        (self.binaries / "emission").write_text(text)

    def publish(self, text):
        (self.openapi / "openapi.yaml").write_text(text)

    def sync(self, *arguments, status=0, cwd=None, script="sync_openapi.sh", **options):
        command = ["bash", script, *arguments]
        done = subprocess.run(command, cwd=cwd or self.openapi, capture_output=True, text=True, timeout=60, **options)
        assert done.returncode == status, (done.stdout, done.stderr)
        return done

    def published(self):
        return self._text("openapi.yaml")

    def emitted(self):
        return self._text("openapi.codegen.yaml")

    def _text(self, name):
        file = self.openapi / name
        return file.read_text() if file.exists() else None

    def clients(self):
        """The document that each client was made from, by language."""
        return {place.parent.name: place.read_text() for place in self.folder.glob("build/clients/*/document")}


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path / "a checkout")


def made_from(document):
    return dict.fromkeys(["python", "rust", "julia"], document)


@pytest.mark.parametrize(
    "arguments",
    [[], ["publish"], ["check", "--fast"], ["check", "check"], ["clients", "--spec"], ["all", "--spec", "--promote"],
     ["emit", "--spec", ""], ["--promote", "all"]],
)  # fmt: skip
def test_what_it_does_not_understand_gives_the_usage_and_changes_nothing(checkout, arguments):
    said = checkout.sync(*arguments, status=1)
    assert USAGE in said.stderr
    assert said.stdout == ""
    assert (checkout.published(), checkout.emitted(), checkout.clients()) == (None, None, {})


def test_emit_writes_the_working_file_only(checkout):
    checkout.publish(OTHER)
    checkout.sync("emit")
    assert (checkout.emitted(), checkout.published()) == (EMITTED, OTHER)


def test_promote_publishes_what_the_server_emits_and_names_the_file(checkout):
    checkout.publish(OTHER)
    said = checkout.sync("promote")
    assert (checkout.published(), checkout.emitted()) == (EMITTED, None)
    assert said.stdout == f"{checkout.openapi}/openapi.yaml\n"


def test_check_passes_when_the_published_document_is_the_emitted_one_and_writes_nothing(checkout):
    checkout.publish(EMITTED)
    (checkout.openapi / "openapi.codegen.yaml").write_text("an old one\n")
    before = sorted(checkout.folder.rglob("*"))
    said = checkout.sync("check")
    assert (said.stdout, said.stderr) == ("", "")
    assert sorted(checkout.folder.rglob("*")) == before
    assert checkout.emitted() == "an old one\n"


def test_check_shows_what_differs(checkout):
    checkout.publish(OTHER)
    said = checkout.sync("check", status=1)
    assert "openapi.yaml is not what the server emits" in said.stderr
    assert "-  version: 1.2.4\n+  version: 1.2.3\n" in said.stdout
    assert checkout.published() == OTHER


def test_check_compares_each_byte(checkout):
    checkout.publish(EMITTED + "\n")
    checkout.sync("check", status=1)


def test_check_without_a_published_document_says_what_to_do(checkout):
    assert "promote" in checkout.sync("check", status=1).stderr


@pytest.mark.parametrize("command", ["emit", "check", "promote", "all"])
def test_a_server_that_fails_stops_it_and_leaves_the_files_as_they_were(checkout, command):
    checkout.publish(OTHER)
    (checkout.openapi / "openapi.codegen.yaml").write_text(OTHER)
    checkout.program("torc-server", "#!/bin/sh\necho half of it; exit 7\n")
    checkout.sync(command, status=7)
    assert (checkout.published(), checkout.emitted(), checkout.clients()) == (OTHER, OTHER, {})


def test_clients_are_made_from_the_published_document(checkout):
    checkout.publish(OTHER)
    said = checkout.sync("clients")
    assert checkout.clients() == made_from(OTHER)
    assert checkout.emitted() is None
    assert said.stdout.splitlines() == [f"{checkout.folder}/build/clients/{name}" for name in made_from(OTHER)]


def test_clients_have_the_version_of_the_document_and_a_configuration_each(checkout):
    checkout.publish(EMITTED)
    checkout.sync("clients")
    for language in made_from(EMITTED):
        made = checkout.folder / "build" / "clients" / language
        assert (made / "made").read_text().split() == ["packageVersion=1.2.3", f"{language}.yaml"]
        assert "git_push.sh" in (made / ".openapi-generator-ignore").read_text()
    julia = checkout.folder / "build" / "clients" / "julia" / "Project.toml"
    assert julia.read_text() == 'name = "x"\nuuid = "1"\nversion = "1.2.3"\n\n[deps]\n'


@pytest.mark.parametrize(
    "document",
    [
        "components:\n  schemas:\n    V:\n      properties:\n        version:\n          type: string\n" + EMITTED,
        EMITTED.replace("1.2.3", "'1.2.3'"),
        '{\n "components": {},\n "info": {\n  "title": "torc",\n  "version": "1.2.3"\n },\n "paths": {}\n}\n',
    ],
    ids=["components first", "quoted", "JSON"],
)
def test_the_version_is_found_in_documents_of_several_forms(checkout, tmp_path, document):
    (tmp_path / "given").write_text(document)
    checkout.sync("clients", "--spec", str(tmp_path / "given"))
    assert (checkout.folder / "build/clients/rust/made").read_text().startswith("packageVersion=1.2.3\n")


def test_clients_replace_those_that_were_there(checkout):
    checkout.publish(EMITTED)
    stale = checkout.folder / "build" / "clients" / "rust" / "src" / "gone.rs"
    stale.parent.mkdir(parents=True)
    stale.touch()
    checkout.sync("clients")
    assert not stale.exists()


@pytest.mark.parametrize("flag", ["--use-emitted-spec", "--use-rust-spec"])
def test_clients_from_what_the_server_emits_leave_the_published_document_alone(checkout, flag):
    checkout.publish(OTHER)
    (checkout.openapi / "openapi.codegen.yaml").write_text("an old one\n")
    checkout.sync("clients", flag)
    assert checkout.clients() == made_from(EMITTED)
    assert (checkout.published(), checkout.emitted()) == (OTHER, EMITTED)


@pytest.mark.parametrize("more", [[], ["--use-emitted-spec"], ["--promote"]])
def test_clients_from_a_given_document_neither_emit_nor_publish(checkout, tmp_path, more):
    given = EMITTED.replace("torc", "given")
    (tmp_path / "given.yaml").write_text(given)
    checkout.publish(OTHER)
    checkout.sync("clients", "--spec", "../../given.yaml", *more)
    assert checkout.clients() == made_from(given)
    assert (checkout.published(), checkout.emitted()) == (OTHER, None)


def test_no_clients_without_a_document(checkout):
    assert "does not exist" in checkout.sync("clients", status=1).stderr
    assert "no/such/file does not exist" in checkout.sync("clients", "--spec", "no/such/file", status=1).stderr


def test_no_clients_of_a_document_without_a_version(checkout):
    checkout.publish("openapi: 3.1.0\ninfo:\n  title: torc\npaths: {}\n")
    assert "no info.version" in checkout.sync("clients", status=1).stderr
    assert checkout.clients() == {}


@pytest.mark.parametrize(("trouble", "words"), [("fails", "it broke"), ("complains", "not yet supported")])
def test_a_generator_that_fails_or_reports_an_error_stops_it_and_is_shown(checkout, trouble, words):
    checkout.publish(EMITTED)
    (checkout.binaries / trouble).touch()
    said = checkout.sync("clients", status=1)
    assert words in said.stderr
    assert "the python client could not be made" in said.stderr
    assert set(checkout.clients()) <= {"python"}


def test_all_needs_a_published_document_that_is_right_before_it_makes_clients(checkout):
    checkout.publish(OTHER)
    checkout.sync("all", status=1)
    assert (checkout.published(), checkout.emitted(), checkout.clients()) == (OTHER, EMITTED, {})


@pytest.mark.parametrize("flags", [[], ["--use-emitted-spec"], ["--use-rust-spec"]])
def test_all_emits_checks_and_makes_clients(checkout, flags):
    checkout.publish(EMITTED)
    checkout.sync("all", *flags)
    assert (checkout.emitted(), checkout.clients()) == (EMITTED, made_from(EMITTED))


def test_all_makes_clients_from_a_given_document_once_the_check_has_passed(checkout):
    (checkout.folder / "given.yaml").write_text(OTHER)
    checkout.publish(EMITTED)
    checkout.sync("all", "--spec", "../given.yaml")
    assert checkout.clients() == made_from(OTHER)


@pytest.mark.parametrize("flags", [[], ["--use-emitted-spec"], ["--spec", "/no/such/file"]])
def test_all_with_promote_publishes_and_makes_clients_from_that_whatever_else_is_said(checkout, flags):
    checkout.publish(OTHER)
    checkout.sync("all", "--promote", *flags)
    assert (checkout.published(), checkout.emitted(), checkout.clients()) == (EMITTED, EMITTED, made_from(EMITTED))


def test_all_with_promote_stops_when_two_emissions_differ(checkout):
    checkout.program("torc-server", '#!/bin/sh\ncat "$(dirname "$0")/emission"\necho "# $$"\n')
    checkout.sync("all", "--promote", status=1)
    assert checkout.clients() == {}


@pytest.mark.parametrize("command", ["emit", "check", "promote"])
def test_flags_that_mean_nothing_for_a_command_are_ignored(checkout, command):
    checkout.publish(EMITTED)
    checkout.sync(command, "--promote", "--use-rust-spec", "--spec", "/no/such/file")
    assert checkout.clients() == {}


def test_it_works_from_any_folder(checkout, tmp_path):
    checkout.sync("promote", cwd=tmp_path, script="a checkout/openapi/sync_openapi.sh")
    assert checkout.published() == EMITTED
    assert {place.name for place in tmp_path.iterdir()} == {"a checkout"}


def test_without_an_environment_of_the_checkout_the_programs_on_the_path_serve(checkout, tmp_path):
    checkout.binaries.rename(tmp_path / "bin")
    checkout.sync("promote", env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin"})
    assert checkout.published() == EMITTED


def test_without_any_program_it_says_which_is_missing(checkout):
    checkout.publish(EMITTED)
    shutil.rmtree(checkout.binaries)
    assert "torc-server is neither in .venv nor on the PATH" in checkout.sync("check", status=1, env=BARE).stderr
    assert "openapi-generator-cli is neither" in checkout.sync("clients", status=1, env=BARE).stderr


BARE = {"PATH": "/usr/bin:/bin"}
