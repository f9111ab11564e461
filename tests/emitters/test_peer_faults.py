"""Peers that stall, come late or cut the connection in the middle of a chunk: `emit` does not wait, nothing is lost."""

import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgpack

from auditpipe.emitters import SpoolOptions
from tests.emitters.peer import Peer, acknowledge
from tests.emitters.test_delivery import log_to, sequences
from tests.waiting import until

Serve = Callable[[socket.socket], None]
BIG = "y" * 20_000


class Rude(Peer):
    """Does `first` with its first so many connections instead of serving them."""

    def __init__(self, first: Serve, connections: int) -> None:
        self.first = first
        self.left = connections
        super().__init__()

    def _serve(self, connection: socket.socket) -> None:
        if self.left > 0:
            self.left -= 1
            self.first(connection)
        else:
            super()._serve(connection)


def reset(connection: socket.socket) -> None:
    """RST, not FIN: what was read of the chunk is thrown away, as by a peer that was killed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def test_a_reset_in_the_middle_of_a_chunk_costs_a_resend(tmp_path: Path) -> None:
    def read_a_little(connection: socket.socket) -> None:
        connection.recv(1000)
        reset(connection)

    with Rude(read_a_little, 3) as peer, log_to(peer, tmp_path) as audit:
        ids = [event.id for _ in range(50) if (event := audit.emit("user.login_succeeded", details={"x": BIG}))]
        assert audit.flush(120)
        assert peer.left == 0
        assert [record["event"]["id"] for record in peer.records] == ids


def test_emit_does_not_wait_for_a_peer_that_accepts_and_never_reads(tmp_path: Path) -> None:
    """Far more than socket buffers hold; the sender hangs in the middle of a chunk, and goes on with the next peer."""
    released = threading.Event()

    def hang(connection: socket.socket) -> None:
        released.wait(60)
        reset(connection)

    patient = SpoolOptions(acknowledge_timeout=600, retry_cap=0.1)
    with Rude(hang, 1) as peer, log_to(peer, tmp_path, spool=patient) as audit:
        started = time.monotonic()
        for _ in range(1000):
            audit.emit("user.login_succeeded", details={"x": BIG})
        assert not released.is_set()
        assert time.monotonic() - started < 60  # a tenth of what the sender may wait
        assert audit.stats().spooled == 1000
        assert peer.records == []
        released.set()
        assert audit.flush(120)
        assert sequences(peer) == list(range(1, 1001))


def test_an_acknowledgement_that_comes_late_costs_a_resend(tmp_path: Path) -> None:
    """After the timeout, on a connection that is closed by then, and on the next one too: for the wrong chunk."""

    def late(peer: Peer, connection: socket.socket, chunk: str) -> None:
        if len(peer.chunks) <= 2:
            time.sleep(1)
        if len(peer.chunks) == 3:
            connection.sendall(msgpack.packb({"ack": peer.chunks[0]}))
        acknowledge(peer, connection, chunk)

    with Peer(late) as peer, log_to(peer, tmp_path) as audit:
        event = audit.emit("user.login_succeeded")
        assert event is not None
        assert audit.flush(120)
        assert {record["event"]["id"] for record in peer.records} == {event.id}
        assert len(peer.chunks) >= 3
        assert audit.stats().acknowledged == 1


def test_a_peer_that_answers_without_end_is_given_up(tmp_path: Path) -> None:
    """Neither memory nor time is spent on answers that are none."""

    def flood(connection: socket.socket) -> None:
        connection.recv(65536)
        try:
            for _ in range(10_000):
                connection.sendall(b"\xdb\x00\x0f\xff\xff" + bytes(65536))
        except OSError:
            connection.close()

    with Rude(flood, 2) as peer, log_to(peer, tmp_path) as audit:
        audit.emit("user.login_succeeded")
        assert audit.flush(120)
        assert sequences(peer) == [1]


def test_a_shipper_that_comes_and_goes_gets_all_of_it(tmp_path: Path) -> None:
    """Twenty times there for one chunk, then reset: each chunk arrives, whatever is repeated."""

    def one_chunk(peer: Peer, connection: socket.socket, chunk: str) -> None:
        acknowledge(peer, connection, chunk)
        if len(peer.chunks) < 20:
            reset(connection)

    few = SpoolOptions(acknowledge_timeout=0.5, retry_cap=0.05, chunk_events=10)
    with Peer(one_chunk) as peer, log_to(peer, tmp_path, spool=few) as audit:
        for _ in range(300):
            audit.emit("user.login_succeeded")
        assert audit.flush(120)
        until(lambda: set(sequences(peer)) == set(range(1, 301)))
