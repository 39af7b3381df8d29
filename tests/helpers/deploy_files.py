"""The files of deploy/ that are made from the settings: `make deploy-files` writes them, a test compares them."""

from pathlib import Path

from click.testing import CliRunner

from torc_server.cli import cli
from torc_server.nginx_config import nginx_config
from torc_server.service import units
from torc_server.settings import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
PROGRAM = "/opt/torc/venv/bin/torc-server"


def files():
    """{path below deploy/: text}"""
    served = Settings(socket=Path("/run/torc/torc.sock"))
    certificate = {"certificate": "/etc/ssl/torc/fullchain.pem", "certificate_key": "/etc/ssl/torc/privkey.pem"}
    made = units(PROGRAM, settings=served, activation=True)
    return {
        "torc.toml": CliRunner().invoke(cli, ["config", "--template"]).output,
        "nginx/torc-server.conf": nginx_config(served, "torc.example.org", **certificate),
        **{f"systemd/{name}": text for name, text in made.items()},
    }


if __name__ == "__main__":
    for name, text in files().items():
        (DEPLOY / name).parent.mkdir(exist_ok=True)
        (DEPLOY / name).write_text(text)
        print(f"deploy/{name}")
