"""TLS and the shared key, against a real Fluent Bit."""

import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from auditpipe.emitters.forward import ForwardSender, entry
from auditpipe.schemas.errors import NotAllowed, OutOfReach
from tests.conftest import free_port
from tests.waiting import until

pytestmark = pytest.mark.fluent_bit
EVENT = entry(1_700_000_000_000_000_000, {"message": "hello"})


@dataclass(frozen=True)
class Secured:
    port: int
    ca_file: Path
    output: Path


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, fluent_bit_program: str) -> Iterator[Secured]:
    """A Fluent Bit that takes events by TLS and shared key alone, and writes them to a file."""
    from auditpipe.pipeline.local import certificates

    folder = tmp_path_factory.mktemp("secured")
    certificates.ensure(folder / "certs", ["localhost", "127.0.0.1"])
    port, output = free_port(), folder / "out"
    output.mkdir()
    source = [
        *("-i", "forward", "-p", "listen=127.0.0.1", "-p", f"port={port}", "-p", "shared_key=the-key"),
        *("-p", "self_hostname=shipper", "-p", "tls=on", "-p", f"tls.crt_file={folder}/certs/node.pem"),
        *("-p", f"tls.key_file={folder}/certs/node-key.pem"),
    ]
    target = ["-o", "file", "-m", "*", "-p", f"path={output}", "-p", "file=events", "-f", "1"]
    process = subprocess.Popen([fluent_bit_program, "-q", *source, *target])
    try:
        until(lambda: listens(port))
        yield Secured(port, folder / "certs" / "ca.pem", output)
    finally:
        process.kill()
        process.wait()


def sender(secured: Secured, key: str | None = "the-key", ca_file: Path | None = None) -> ForwardSender:
    return ForwardSender("localhost", secured.port, timeout=5, ca_file=str(ca_file or secured.ca_file), shared_key=key)


def listens(port: int) -> bool:
    """Whether somebody does."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_with_the_right_key_events_are_acknowledged(secured: Secured) -> None:
    client = sender(secured)
    client.deliver(EVENT, 1)
    client.deliver(EVENT, 1)
    events = secured.output / "events"
    until(lambda: events.exists() and "hello" in events.read_text())


def test_with_a_wrong_key_nothing_is_sent(secured: Secured) -> None:
    with pytest.raises((NotAllowed, OutOfReach), match=r"shared key|mismatch"):
        sender(secured, "another").deliver(EVENT, 1)


def test_a_peer_that_the_authority_does_not_know_is_not_spoken_to(secured: Secured, tmp_path: Path) -> None:
    from auditpipe.pipeline.local import certificates

    certificates.ensure(tmp_path / "certs", ["localhost"])
    with pytest.raises(OutOfReach, match="certificate verify failed"):
        sender(secured, ca_file=tmp_path / "certs" / "ca.pem").deliver(EVENT, 1)
