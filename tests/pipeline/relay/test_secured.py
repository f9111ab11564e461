"""TLS and the shared key: who is let in, who is not and why, and that nothing of the latter is read."""

import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest

from auditpipe.emitters import AuditLog
from auditpipe.emitters.forward import ForwardSender
from auditpipe.emitters.forward import entry as emitted
from auditpipe.pipeline.local import certificates
from auditpipe.pipeline.relay.config import Limits, RelayConfig
from auditpipe.pipeline.relay.security import Security
from auditpipe.schemas.errors import NotAllowed, OutOfReach
from tests.conftest import free_port
from tests.pipeline.relay.fake import FakeOpenSearch
from tests.pipeline.relay.running import RunningRelay, running_relay
from tests.pipeline.relay.secured import KEY, Files, make_files
from tests.pipeline.relay.wire import START, Client, digest, entry, message, ping, record
from tests.waiting import until


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return make_files(tmp_path_factory.mktemp("secrets"))


@pytest.fixture
def relay(fake: FakeOpenSearch, files: Files, tmp_path: Path) -> Iterator[RunningRelay]:
    """TLS and a shared key."""
    limits = Limits(stop=2.0, handshake=1.0)
    with running_relay(fake.settings, tmp_path / "dead", limits, files.security) as running:
        yield running


@pytest.fixture
def keyed(fake: FakeOpenSearch, tmp_path: Path) -> Iterator[RunningRelay]:
    """A shared key without TLS: the handshake in the open, for what TLS would hide."""
    limits = Limits(stop=2.0, handshake=1.0)
    with running_relay(fake.settings, tmp_path / "dead", limits, Security(shared_key=KEY.encode())) as running:
        yield running


def refused(relay: RunningRelay, reason: str) -> float | None:
    return relay.metric(f'refused_connections_total{{reason="{reason}"}}')


def serves(relay: RunningRelay, files: Files | None = None) -> bool:
    """Whether a good client is let in, and its event stored."""
    client = Client(relay.port, tls=files.client() if files else None)
    assert client.prove(KEY)[1] is True
    return client.send(message("packed", [entry(record())], "good")).acknowledgements(1) == ["good"]


# -- who is let in


def test_our_emitter_is_let_in_by_tls_and_shared_key(
    relay: RunningRelay, fake: FakeOpenSearch, files: Files, tmp_path: Path
) -> None:
    log = AuditLog(
        service="accounts",
        organization="acme",
        forward=f"localhost:{relay.port}",
        forward_ca_file=str(files.ca),
        forward_shared_key_file=str(files.shared_key),
        spool_dir=tmp_path / "spool",
    )
    try:
        events = [log.emit("user.login_succeeded", actor={"id": f"u{n}", "name": "ada"}) for n in range(20)]
        assert log.flush(120)
    finally:
        log.close()
    assert {event.id for event in events if event} <= set(fake.documents)
    assert refused(relay, "wrong_key") is None


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_handshake_is_that_of_the_specification(relay: RunningRelay, files: Files, version: ssl.TLSVersion) -> None:
    client = Client(relay.port, tls=files.client(version))
    kind, options = client.hears()
    assert (kind, options["auth"], options["keepalive"]) == ("HELO", "", True)
    nonce, salt = options["nonce"], b"\x00\xff salt"
    assert isinstance(nonce, bytes)
    assert len(nonce) == 16
    kind, accepted, reason, name, theirs = client.send(ping(KEY, nonce, "client", salt)).hears()
    assert (kind, accepted, reason) == ("PONG", True, "")
    assert theirs == digest(salt, name, nonce, KEY), "the relay proves the key too"
    assert name != "client", "else the digest would be the client's own"
    for n in range(3):
        assert client.send(message("packed", [entry(record())], f"c{n}")).acknowledgements(1) == [f"c{n}"]


def test_a_handshake_may_come_byte_by_byte(keyed: RunningRelay) -> None:
    client = Client(keyed.port)
    for byte in ping(KEY, client.hears()[1]["nonce"]):
        client.send(bytes([byte]))
    assert client.hears()[1] is True
    assert client.send(message("packed", [entry(record())], "c")).acknowledgements(1) == ["c"]


def test_it_listens_on_every_address_once_both_are_asked_for(
    fake: FakeOpenSearch, files: Files, tmp_path: Path
) -> None:
    config = RelayConfig(fake.settings, ("0.0.0.0", 0), tmp_path, ("127.0.0.1", 0), security=files.security)
    running = RunningRelay(config)
    try:
        assert serves(running, files)
    finally:
        running.stop()


# -- who is not


def test_a_wrong_key_is_told_so_counted_and_logged_and_nothing_is_read(
    relay: RunningRelay, fake: FakeOpenSearch, files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    sender = ForwardSender("localhost", relay.port, timeout=5, ca_file=str(files.ca), shared_key="another")
    with pytest.raises(NotAllowed, match="shared_key mismatch"):
        sender.deliver(emitted(START, record()), 1)
    client = Client(relay.port, tls=files.client())
    assert client.prove("another", "mallory")[:3] == ["PONG", False, "shared_key mismatch"]
    assert client.is_closed()
    assert refused(relay, "wrong_key") == 2
    assert "does not know the shared key" in caplog.text
    assert relay.metric('messages_total{mode="packed"}') is None
    assert fake.documents == {}
    assert serves(relay, files)


def test_a_proof_is_worth_nothing_on_another_connection(keyed: RunningRelay) -> None:
    overheard = ping(KEY, Client(keyed.port).hears()[1]["nonce"])
    client = Client(keyed.port)
    client.hears()
    assert client.send(overheard).hears()[1] is False


EVENT = message("packed", [entry(record())], "c")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (EVENT, "handshake"),
        (b"\xc1" * 10, "not_msgpack"),
        (b"\x91" * 1500, "nested_too_deep"),
        (b"\xc6\xff\xff\xff\xff" + bytes(10_000), "too_large"),
        (b"\xdd\xff\xff\xff\xff" + bytes(10_000), "too_large"),
        (msgpack.packb(["PING", "h", b"salt", "d" * 4000, "", ""]), "too_large"),
        (msgpack.packb(["PING", "h", [[]] * 500, {}, {}, {}]), "handshake"),
        (msgpack.packb(["PING", "h", "salt", "d" * 128]), "handshake"),
        (msgpack.packb(["PONG", "h", "salt", "d" * 128, "", ""]), "handshake"),
        (msgpack.packb(["PING", "h", "salt", 5, "", ""]), "handshake"),
        (msgpack.packb(["PING", "h", [], "d" * 128, "", ""]), "handshake"),
        (msgpack.packb({"PING": "h"}), "handshake"),
        (b"\x81\x80\x80", "handshake"),  # a map as a key
        (b"\xc0", "handshake"),
        (b"GET / HTTP/1.1\r\n\r\n", "handshake"),
        (msgpack.packb(["PING", "h", "salt", "d" * 128, "", ""]) + EVENT, "handshake"),
    ],
)
def test_what_is_no_proof_ends_the_connection_before_anything_is_decoded(
    keyed: RunningRelay, fake: FakeOpenSearch, said: bytes, reason: str
) -> None:
    client = Client(keyed.port)
    client.hears()
    assert client.send(said).is_closed()
    assert refused(keyed, reason) == 1
    assert keyed.metric('messages_total{mode="packed"}') is None
    assert serves(keyed)


def test_half_a_handshake_is_waited_for_a_short_time(keyed: RunningRelay) -> None:
    silent, half = Client(keyed.port), Client(keyed.port)
    half.hears()
    half.send(ping(KEY, b"")[:50])
    assert serves(keyed)
    assert half.is_closed()
    assert silent.hears()[0] == "HELO"
    assert silent.is_closed()
    assert refused(keyed, "too_slow") == 2


def test_a_client_that_leaves_in_its_handshake_is_counted_if_it_has_said_something(keyed: RunningRelay) -> None:
    half = Client(keyed.port)
    half.hears()
    half.send(b"\x96\xa4PI").close()
    until(lambda: refused(keyed, "cut_off") == 1)
    Client(keyed.port).close()  # as health checks do
    assert serves(keyed)
    assert refused(keyed, "cut_off") == 1


# -- TLS


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (EVENT, "plain_text"),
        (b"GET / HTTP/1.1\r\n\r\n", "plain_text"),
        (b"\xff" * 100, "plain_text"),
        (b"\x16\x03\x01\x00\x05hello", "tls_failed"),
    ],
)
def test_plain_text_where_tls_is_asked_for_is_refused(
    relay: RunningRelay, files: Files, said: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    neighbour = Client(relay.port, tls=files.client())
    client = Client(relay.port).send(said)
    while client.socket.recv(100):  # an alert, in TLS
        pass
    until(lambda: refused(relay, reason) == 1)
    assert f": {reason}: 'expected TLS" in caplog.text
    assert neighbour.prove(KEY)[1] is True


def test_a_plain_client_that_waits_for_helo_where_tls_is_asked_for_is_not_waited_for(relay: RunningRelay) -> None:
    assert Client(relay.port).is_closed()
    assert refused(relay, "too_slow") == 1


@pytest.mark.parametrize("shared_key", [None, KEY.encode()])
def test_tls_where_plain_text_is_asked_for_is_refused(
    fake: FakeOpenSearch, files: Files, tmp_path: Path, shared_key: bytes | None
) -> None:
    with running_relay(fake.settings, tmp_path, security=Security(shared_key=shared_key)) as relay:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            Client(relay.port, tls=files.client())
        until(lambda: refused(relay, "tls_unexpected") == 1)


def test_tls_before_1_2_is_refused(relay: RunningRelay, files: Files) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        Client(relay.port, tls=files.client(ssl.TLSVersion.TLSv1_1))
    until(lambda: refused(relay, "tls_failed") == 1)


def test_bytes_that_are_no_tls_in_the_middle_of_it_end_that_connection_alone(
    relay: RunningRelay, files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client(relay.port, tls=files.client())
    assert client.prove(KEY)[1] is True
    with socket.socket(fileno=client.socket.detach()) as raw:
        raw.sendall(b"no TLS record" * 10)
        raw.settimeout(120)
        while raw.recv(1000):
            pass
    until(lambda: refused(relay, "tls_failed") == 1)
    assert serves(relay, files)
    assert [one.message for one in caplog.records if one.levelname == "ERROR"] == []


def test_an_authority_that_the_client_does_not_know_is_said_on_both_sides(
    relay: RunningRelay, files: Files, tmp_path: Path
) -> None:
    other = certificates.ensure(tmp_path / "other").ca
    sender = ForwardSender("localhost", relay.port, timeout=5, ca_file=str(other), shared_key=KEY)
    with pytest.raises(OutOfReach, match="certificate verify failed"):
        sender.deliver(emitted(START, record()), 1)
    until(lambda: refused(relay, "tls_failed") == 1)


# -- other people's clients


@pytest.mark.fluent_bit
@pytest.mark.parametrize("key", [KEY, "another"], ids=["the key", "another key"])
def test_fluent_bit_forwards_by_tls_and_shared_key_unchanged(
    relay: RunningRelay, fake: FakeOpenSearch, files: Files, fluent_bit_program: str, tmp_path: Path, key: str
) -> None:
    port = free_port()
    command = [
        *(fluent_bit_program, "-f", "0.2", "-i", "forward", "-p", "listen=127.0.0.1", "-p", f"port={port}"),
        *("-o", "forward", "-m", "*", "-p", "host=localhost", "-p", f"port={relay.port}"),
        *("-p", "require_ack_response=on", "-p", f"shared_key={key}", "-p", "self_hostname=shipper"),
        *("-p", "tls=on", "-p", "tls.verify=on", "-p", f"tls.ca_file={files.ca}"),
    ]
    log = tmp_path / "fluent-bit.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            client = until(lambda: _connect(port))
            events = [entry(record()) for _ in range(30)]
            assert client.send(message("packed", events, "c")).acknowledgements(1) == ["c"]
            if key == KEY:
                until(lambda: len(fake.documents) == 30)
                until(lambda: (relay.metric("acknowledgements_total") or 0) >= 1)
            else:
                until(lambda: refused(relay, "wrong_key"))
        finally:
            process.terminate()
            process.wait(120)
    said = log.read_text()
    if key == KEY:
        assert "retry" not in said, said
        assert refused(relay, "wrong_key") is None
    else:
        assert "shared_key mismatch" in said
        assert fake.documents == {}


def _connect(port: int) -> Client | None:
    try:
        return Client(port)
    except ConnectionRefusedError:
        return None
