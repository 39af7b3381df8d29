"""`torc-server nginx-config`."""

import click

from torc_server.commands.options import settings_of_environment
from torc_server.nginx_config import nginx_config


@click.command("nginx-config")
@click.option("--server-name", default="_", show_default=True, help="Name by which clients call nginx; _ for any.")
@click.option("--listen", type=click.IntRange(1, 65535), help="Port.  [default: 443 with a certificate, else 80]")
@click.option("--bind", default="", help="Address to listen on.  [default: all of IPv4 and IPv6]")
@click.option("--prefix", default="", metavar="/PATH", help="Serve below this path.")
@click.option("--certificate", metavar="FILE", help="Certificate chain for TLS, PEM.")
@click.option("--certificate-key", metavar="FILE", help="Private key for TLS, PEM.")
@click.option(
    "--upstream", "upstreams", multiple=True, metavar="ADDRESS",
    help="A server: host:port, https://host:port or unix:/path. Repeatable.  [default: the socket or port of the "
    "settings]",
)  # fmt: skip
@click.option("--upstream-ca", metavar="FILE", help="Authority of the servers' certificates, for https://.")
@click.option("--upstream-name", metavar="NAME", help="Name in the servers' certificates, for https://.")
@click.option("--access-log", default="/var/log/nginx/torc-server.log", show_default=True, metavar="FILE")
def command(listen, certificate, **options):
    """Print a configuration of nginx that fits the settings: sizes, timeouts, headers, errors.

    The settings are those that `torc-server run` has without options here: environment and files.
    """
    listen = listen or (443 if certificate else 80)
    text = nginx_config(settings_of_environment(), listen=listen, certificate=certificate, **options)
    click.echo(text, nl=False)
