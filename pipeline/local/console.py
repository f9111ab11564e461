"""The console beside the stack: a process like the shipper, and the only part that the stack does without.

It is started as a command, not imported: the console stands above this layer. What keeps it from running is told and
stops nothing else: events are shipped and found without it.
"""

import http.client
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from auditpipe.pipeline.local import process
from auditpipe.pipeline.local.home import Home
from auditpipe.pipeline.local.preflight import check_port
from auditpipe.pipeline.local.shipper import auditpipe_command, check_alive, environment
from auditpipe.schemas.errors import NotFinished

NAME = "console"
START_TIMEOUT_S = 30.0
#: What the extra `console` brings.
_PACKAGES = ("jinja2", "starlette", "uvicorn")
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Console:
    """Where the console is, or, with no `url`, why there is none and what to do."""

    url: str = ""
    problem: str = ""


def is_installed() -> bool:
    """Whether the packages of `auditpipe[console]` are here."""
    return all(find_spec(name) for name in _PACKAGES)


def check(port: int) -> None:
    """NotFinished if its port is someone else's, or its packages are not here."""
    if not is_installed():
        raise NotFinished("it needs more packages: pip install 'auditpipe[console]', then `auditpipe up`")
    check_port(port, "--console-port")


def start(home: Home, port: int, spool: Path) -> process.Record:
    """Start it; see `wait`. Its own events, of who signs in, wait in this spool. NotFinished as `check`."""
    check(port)
    return process.start(
        NAME,
        auditpipe_command("console", "--listen", f"127.0.0.1:{port}", "--profile", "local"),
        run=home.run,
        log=home.logs / "console.log",
        address=f"127.0.0.1:{port}",
        program="auditpipe console",
        environment={**environment(home), "AUDITPIPE_SPOOL_DIR": str(spool.absolute())},
    )


def wait(record: process.Record) -> Console:
    """Return when it serves pages. Ended, with the end of its log, if it dies; NotFinished if it takes too long."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not _serves(record.port):
        check_alive(record)
        if time.monotonic() > deadline:
            raise NotFinished(
                f"it does not answer at {record.address} after {START_TIMEOUT_S:.0f} s: read {record.log}"
            )
        time.sleep(_POLL_S)
    check_alive(record)  # and not someone else, who took its port
    return Console(f"http://{record.address}/")


def _serves(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
