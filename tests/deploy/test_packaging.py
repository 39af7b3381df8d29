"""What `pip install` gives: the wheel holds the SQL and works away from the source, and so does an editable install."""

import email
import shutil
import subprocess
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from support import BINARIES, Server, clean_environment

ROOT = Path(__file__).parents[2]


def pip(*arguments):
    result = subprocess.run([BINARIES / "pip", "-q", *arguments], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.fixture
def source(folder):
    """A copy of what the package is made of: building leaves files in the source."""
    source = folder / "source"
    source.mkdir()
    for name in ("torc_server", "sql"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md"):
        shutil.copy(ROOT / name, source)
    return source


@pytest.fixture
def environment(folder):
    """A new environment that has our dependencies, but not this checkout; gives its folder."""
    place = folder / "environment"
    venv.create(place, symlinks=True)
    packages = next(place.glob("lib/python*/site-packages"))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))  # .pth files in there have no effect
    return place


def serves(environment, folder, database_url):
    """A server of that environment, started from an unrelated folder, migrates an empty database and answers."""
    server = Server(folder / "server", program=environment / "bin" / "torc-server", database_url=database_url)
    try:
        assert server.wait_until_it_listens().client.get("/ping").json
    finally:
        server.stop()


def place_of_package(environment, folder):
    command = [environment / "bin" / "python", "-c", "import torc_server; print(torc_server.__file__)"]
    return subprocess.check_output(command, cwd=folder, env=clean_environment(folder), text=True)


def metadata_of(wheel):
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def test_a_wheel_holds_all_python_and_sql_and_serves_from_outside_the_source(
    source, environment, folder, empty_database_url
):
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    wheel = next(folder.glob("torc_server-*.whl"))
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"torc_server/{f.relative_to(source)}" for f in (source / "sql").rglob("*.sql")}
    wanted |= {str(f.relative_to(source)) for f in (source / "torc_server").rglob("*.*") if f.suffix != ".pyc"}
    assert wanted - held == set()
    assert "torc_server/py.typed" in held
    metadata = metadata_of(wheel)
    assert metadata["License"] == "BSD-3-Clause" and metadata["Author"] == "the torc-server authors"
    assert "License :: OSI Approved :: BSD License" in metadata.get_all("Classifier")
    assert any(name.endswith((".dist-info/LICENSE", "/licenses/LICENSE")) for name in held)
    pip("--python", environment / "bin" / "python", "install", "--no-deps", wheel)
    shutil.rmtree(source)
    assert place_of_package(environment, folder).startswith(str(environment))
    serves(environment, folder, empty_database_url)


def git(folder, *arguments):
    person = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    return subprocess.check_output(["git", "-C", folder, *person, *arguments], text=True).strip()


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_a_wheel_knows_its_commit_also_when_it_is_made_from_a_source_archive(source, folder):
    git(folder, "init", "-q", source)
    git(source, "add", ".")
    git(source, "commit", "-qm", "all")
    build = [BINARIES / "python", "setup.py", "-q", "sdist", "--dist-dir", folder]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    archive = next(folder.glob("torc_server-*.tar.gz"))
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, archive)
    with zipfile.ZipFile(next(folder.glob("torc_server-*.whl"))) as wheel:
        assert wheel.read("torc_server/git_hash").decode() == git(source, "rev-parse", "--short", "HEAD") + "\n"
    assert not (source / "torc_server" / "git_hash").exists()


def test_an_editable_install_finds_the_sql_beside_the_package(source, environment, folder, empty_database_url):
    pip("--python", environment / "bin" / "python", "install", "--no-deps", "--no-build-isolation", "-e", source)
    assert place_of_package(environment, folder).startswith(str(source))
    serves(environment, folder, empty_database_url)
