"""`auditpipe relay`: the shipper for development and single nodes."""

from pathlib import Path

import click

from auditpipe.cli.options import connection_options
from auditpipe.schemas import ports
from auditpipe.schemas.errors import SettingsError, UsageError
from auditpipe.schemas.settings import Settings, host_and_port

_FILE = click.Path(path_type=Path)


@click.command()
@click.option(
    "--listen",
    metavar="HOST:PORT",
    show_default=f"AUDITPIPE_FORWARD, else 127.0.0.1:{ports.FORWARD}",
    help="Listen there.",
)
@click.option("--tls-cert-file", metavar="FILE", type=_FILE, help="Speak TLS: the certificate, and its chain (PEM).")
@click.option("--tls-key-file", metavar="FILE", type=_FILE, help="Its key (PEM), that nobody else can read.")
@click.option(
    "--shared-key-file",
    metavar="FILE",
    type=_FILE,
    help="Take events only from who knows the shared key on its first line. Nobody else may read the file.",
)
@click.option(
    "--metrics",
    metavar="HOST:PORT|none",
    default=f"127.0.0.1:{ports.METRICS}",
    show_default=True,
    help="GET /metrics (Prometheus) and /healthz there; loopback.",
)
@click.option(
    "--dead-letters",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    show_default="dead-letters in the home",
    help="Keep there what OpenSearch will never take.",
)
@connection_options(default_profile="shipper")
def command(
    listen: str | None,
    tls_cert_file: Path | None,
    tls_key_file: Path | None,
    shared_key_file: Path | None,
    metrics: str,
    dead_letters: Path | None,
    settings: Settings,
) -> None:
    """Take events by the Forward protocol and bring them into OpenSearch.

    A chunk is acknowledged when OpenSearch has answered for each of its events; nothing is kept in between. It is for
    development and single nodes: in production run Fluent Bit. Stops on SIGTERM, after what is in flight.

    Beyond loopback it takes events by TLS and from clients that know the shared key only: all three files are needed.

    \b
    Examples:
      auditpipe relay
      auditpipe relay --listen 127.0.0.1:24225 --metrics none --dead-letters /var/lib/auditpipe/dead-letters
      auditpipe relay --listen 0.0.0.0:24224 --tls-cert-file relay.pem --tls-key-file relay-key.pem \\
        --shared-key-file shared-key
    """
    import logging

    from auditpipe.pipeline.private import check_secrets
    from auditpipe.pipeline.relay.config import RelayConfig
    from auditpipe.pipeline.relay.security import load_security
    from auditpipe.pipeline.relay.server import serve

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("opensearch").setLevel(logging.CRITICAL)  # says at length what ours says in a line
    config = RelayConfig(
        settings=settings,
        listen=_address("--listen", listen) if listen else settings.forward,
        dead_letters=dead_letters or settings.home / "dead-letters",
        metrics=None if metrics == "none" else _address("--metrics", metrics),
        security=load_security(tls_cert_file, tls_key_file, shared_key_file),
    )
    check_secrets(settings)
    serve(config)


def _address(flag: str, text: str) -> tuple[str, int]:
    try:
        return host_and_port(text, "forward")
    except SettingsError as error:
        raise UsageError(f"{flag}: expected host:port such as 127.0.0.1:24224, got {text!r}") from error
