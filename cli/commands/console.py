"""`auditpipe console`: the web page where Admins look."""

from pathlib import Path

import click

from auditpipe.cli import emitting
from auditpipe.cli.options import connection_options
from auditpipe.schemas import ports
from auditpipe.schemas.errors import SettingsError, UsageError
from auditpipe.schemas.settings import Settings, host_and_port

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default=f"127.0.0.1:{ports.CONSOLE}",
    show_default=True,
    help="Without TLS loopback only.",
)
@click.option("--tls-cert-file", metavar="FILE", type=_FILE, help="Speak TLS with this certificate (PEM).")
@click.option("--tls-key-file", metavar="FILE", type=_FILE, help="Its key (PEM).")
@click.option("--public-url", metavar="URL", help="How people reach it, where that is not --listen: a name, a proxy.")
@click.option(
    "--trusted-proxy",
    metavar="ADDRESS",
    multiple=True,
    help="A proxy that signs people in (or a network, CIDR): what it says of who asks is taken. Repeatable.",
)
@click.option(
    "--proxy-user-header",
    metavar="NAME",
    show_default="it passes their token on",
    help="Where it puts their name, for the node's proxy authentication.",
)
@connection_options()
def command(
    settings: Settings,
    listen: str,
    tls_cert_file: Path | None,
    tls_key_file: Path | None,
    public_url: str | None,
    trusted_proxy: tuple[str, ...],
    proxy_user_header: str | None,
) -> None:
    """Serve a small web page where people find, look at and export events. Until Ctrl-C or SIGTERM.

    People sign in with their own OpenSearch name and password, or a token, and each request to the node is theirs. Of
    the connection settings only the cluster's URL and --ca-file are used, never a name, password or certificate.
    Sign-ins are audit events of the service auditpipe-console. See docs/console.md.

    \b
    Examples:
      auditpipe console
      auditpipe console --listen 127.0.0.1:8080 --public-url https://audit.example
      auditpipe console --listen 0.0.0.0:8443 --public-url https://audit.example:8443 \\
          --tls-cert-file cert.pem --tls-key-file key.pem
      auditpipe console --public-url https://audit.example --trusted-proxy 127.0.0.1
    """
    import logging

    from auditpipe.dashboards.console import actions_file
    from auditpipe.dashboards.console.proxy import trusting
    from auditpipe.dashboards.console.server import Listen, serve

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for chatty in ("opensearch", "uvicorn.error"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL if chatty == "opensearch" else logging.WARNING)
    host, port = _address(listen)
    where = Listen(host, port, tls_cert_file, tls_key_file, public_url)
    proxy = trusting(trusted_proxy, proxy_user_header)
    with emitting.audit_log("auditpipe-console", settings, actions=actions_file()) as audit:
        started = f"The console is at {where.url} for {settings.url}; Ctrl-C stops it"
        serve(settings, where, audit.emit, lambda: click.echo(started, err=True), proxy)


def _address(text: str) -> tuple[str, int]:
    try:
        return host_and_port(text, "forward")
    except SettingsError as error:
        raise UsageError(f"--listen: expected host:port such as 127.0.0.1:24800, got {text!r}") from error
