"""The two processes beside the node: the shipper (Fluent Bit, else the relay) and the dead-letter replayer."""

import os
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from auditpipe.pipeline.fluent_bit import launcher
from auditpipe.pipeline.local import process
from auditpipe.pipeline.local.home import Home
from auditpipe.pipeline.local.preflight import check_port
from auditpipe.pipeline.local.profiles import SHIPPER
from auditpipe.schemas import ports
from auditpipe.schemas.errors import NotFinished, SettingsError
from auditpipe.schemas.settings import Settings, read_secret

NAME = "shipper"
REPLAYER = "replayer"
FLUENT_BIT = "fluent-bit"
RELAY = "relay"
START_TIMEOUT_S = 30.0
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class ShipperOptions:
    """`kind` is auto, fluent-bit or relay; auto takes the Fluent Bit that the settings or PATH name, else the relay."""

    port: int = ports.FORWARD
    metrics_port: int = ports.METRICS
    kind: str = "auto"


def choose(kind: str, settings: Settings) -> str | None:
    """The fluent-bit program, or None for the relay. SettingsError if Fluent Bit was asked for and is not there."""
    if kind == RELAY:
        return None
    program = launcher.find(settings)
    if program is None and kind == FLUENT_BIT:
        raise SettingsError(
            f"--shipper fluent-bit: no usable fluent-bit on PATH: install {'.'.join(map(str, launcher.OLDEST))} or "
            "later, name it with AUDITPIPE_FLUENT_BIT, or use --shipper relay"
        )
    return program


def check_ports(options: ShipperOptions) -> None:
    """NotFinished if one of its ports is someone else's: that would answer in its place."""
    check_port(options.port, "--forward-port")
    check_port(options.metrics_port, "--metrics-port")


def start(home: Home, url: str, ca_file: Path, options: ShipperOptions, program: str | None) -> process.Record:
    """Start the shipper and return when its port answers. Ended, with the end of its log, if it dies."""
    check_ports(options)
    record = _start_relay(home, options) if program is None else _start_fluent_bit(home, url, ca_file, options, program)
    deadline = time.monotonic() + START_TIMEOUT_S
    while not _answers(options.port):
        check_alive(record)
        if time.monotonic() > deadline:
            raise NotFinished(f"{record.program} does not listen at {record.address} after {START_TIMEOUT_S:.0f} s")
        time.sleep(_POLL_S)
    return record


def start_replayer(home: Home) -> process.Record:
    """Start the process that sends dead letters again, from the relay's folder and from Fluent Bit's."""
    command = auditpipe_command("deadletter", "replay", "--watch", "--profile", "shipper")
    for folder in (home.dead_letters, home.rejected):
        command += ["--dir", str(folder)]
    return process.start(
        REPLAYER,
        command,
        run=home.run,
        log=home.logs / "replayer.log",
        address="",
        program="auditpipe deadletter replay --watch",
        environment=environment(home),
    )


def check_alive(record: process.Record) -> None:
    """Ended, with the end of its log, if the process is gone."""
    how = process.reap(record.pid)
    if record.process() is None:
        said = process.last_lines(Path(record.log))
        told = f" by {how}" if how else ""
        raise process.Ended(f"{record.name} ({record.program}) has ended{told}; its log is {record.log}", said)


def auditpipe_command(*arguments: str) -> list[str]:
    """This very auditpipe, whatever is on PATH; `-P` keeps the working directory out of its imports."""
    return [sys.executable, "-P", "-m", "auditpipe.cli", *arguments]


def environment(home: Home) -> dict[str, str]:
    """Ours, without settings that go over the profile of this home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AUDITPIPE_")}
    return {**kept, "AUDITPIPE_HOME": str(home.root)}


def _start_relay(home: Home, options: ShipperOptions) -> process.Record:
    listen, metrics = f"127.0.0.1:{options.port}", f"127.0.0.1:{options.metrics_port}"
    return process.start(
        NAME,
        auditpipe_command(
            *("relay", "--listen", listen, "--metrics", metrics),
            *("--dead-letters", str(home.dead_letters), "--profile", "shipper"),
        ),
        run=home.run,
        log=home.logs / "relay.log",
        address=listen,
        program=RELAY,
        metrics=f"http://{metrics}/metrics",
        environment=environment(home),
    )


def _start_fluent_bit(home: Home, url: str, ca_file: Path, options: ShipperOptions, program: str) -> process.Record:
    launch = launcher.Launch(
        folder=home.fluent_bit,
        opensearch_url=url,
        ca_file=ca_file,
        user=SHIPPER,
        forward=("127.0.0.1", options.port),
        http_port=options.metrics_port,
    )
    launcher.allow_descriptors()
    launcher.prepare(launch, read_secret(str(home.secrets / SHIPPER), "password_file") or "")
    return process.start(
        NAME,
        launcher.command(program),
        run=home.run,
        log=home.fluent_bit_log,
        address=f"127.0.0.1:{options.port}",
        program=FLUENT_BIT,
        metrics=f"http://127.0.0.1:{options.metrics_port}/api/v2/metrics/prometheus",
        environment={**environment(home), **launcher.environment(launch)},
        folder=launch.folder,
    )


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
