"""`auditpipe relay`: the shipper for development and single nodes."""

from pathlib import Path

import click

from auditpipe.cli.options import connection_options
from auditpipe.schemas.errors import SettingsError, UsageError
from auditpipe.schemas.settings import Settings, host_and_port


@click.command()
@click.option("--listen", metavar="HOST:PORT", help="Listen there; loopback.  [default: 127.0.0.1:24224]")
@click.option(
    "--metrics",
    metavar="HOST:PORT|none",
    default="127.0.0.1:24280",
    show_default=True,
    help="GET /metrics (Prometheus) and /healthz there; loopback.",
)
@click.option(
    "--dead-letters",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep what OpenSearch will never take.  [default: dead-letters in the home]",
)
@connection_options(default_profile="shipper")
def command(listen: str | None, metrics: str, dead_letters: Path | None, settings: Settings) -> None:
    """Take events by the Forward protocol and bring them into OpenSearch.

    A chunk is acknowledged when OpenSearch has answered for each of its events; nothing is kept in between. It is for
    development and single nodes: in production run Fluent Bit. Stops on SIGTERM, after what is in flight.

    \b
      auditpipe relay
      auditpipe relay --listen 127.0.0.1:24225 --metrics none --dead-letters /var/lib/auditpipe/dead-letters
    """
    import logging

    from auditpipe.pipeline.relay.config import RelayConfig
    from auditpipe.pipeline.relay.server import serve

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("opensearch").setLevel(logging.CRITICAL)  # says at length what ours says in a line
    config = RelayConfig(
        settings=settings,
        listen=_address("--listen", listen) if listen else settings.forward,
        dead_letters=dead_letters or settings.home / "dead-letters",
        metrics=None if metrics == "none" else _address("--metrics", metrics),
    )
    serve(config)


def _address(flag: str, text: str) -> tuple[str, int]:
    try:
        return host_and_port(text, "forward")
    except SettingsError as error:
        raise UsageError(f"{flag}: expected host:port such as 127.0.0.1:24224, got {text!r}") from error
