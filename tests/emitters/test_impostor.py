"""Whoever answers in the shipper's place, and whatever they say: no chunk leaves before a PONG that proves the key."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from auditpipe.emitters.forward import ForwardSender, NotAcknowledged, entry
from auditpipe.schemas.errors import AuditpipeError, NotAllowed, OutOfReach

EVENT = entry(1_700_000_000_000_000_000, {"message": "for the shipper alone"})
HELO = msgpack.packb(["HELO", {"nonce": b"n" * 16, "auth": "", "keepalive": True}])

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(max_size=9), st.binary(max_size=9)
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(scalars, inner, max_size=3)),
    max_leaves=8,
)
#: A map with a list for a key; an array, a text and a map of 4 GiB; 2,000 levels; a time of a billion nanoseconds more.
ODD = [
    b"\x92\xa4HELO\x81\x91\x01\x01",
    b"\x92\xa4HELO\xdd\xff\xff\xff\xff",
    b"\x92\xa4HELO\xdb\xff\xff\xff\xff",
    b"\x92\xa4HELO\xdf\xff\xff\xff\xff",
    b"\x92\xa4HELO" + b"\x91" * 2_000 + b"\xc0",
    b"\x92\xa4HELO\xd7\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x92\xa4HELO\x81\xa5nonce" + b"\x91" * 900 + b"\xc0",
    b"\x95\xa4PONG\xc3" + b"\x91" * 900 + b"\xc0\xc0\xc0",
    bytes(100_000),
]


def said(kind: str) -> st.SearchStrategy[bytes]:
    """Something that a peer may say in place of this message."""
    return st.one_of(
        st.lists(values, max_size=6).map(lambda rest: msgpack.packb([kind, *rest])),
        st.lists(values, max_size=5).map(lambda rest: msgpack.packb([kind, True, *rest])),
        values.map(lambda nonce: msgpack.packb(["HELO", {"nonce": nonce}])),
        values.map(msgpack.packb),
        st.binary(max_size=100),
        st.sampled_from([HELO, *ODD]),
    )


class Impostor:
    """Says `greeting`, then `answer` to what it hears, and keeps all that it hears."""

    def __init__(self) -> None:
        self.greeting, self.answer = b"", b""
        self.heard: list[bytes] = []
        self.served = threading.Semaphore(0)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection:
                self.heard.append(self._serve(connection))
            self.served.release()

    def _serve(self, connection: socket.socket) -> bytes:
        heard = b""
        try:
            connection.sendall(self.greeting)
            connection.settimeout(0.02)  # for a PING, should one come
            with contextlib.suppress(TimeoutError):
                heard = connection.recv(65536)
            connection.sendall(self.answer)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(10)
            while data := connection.recv(65536):
                heard += data
        except OSError:
            pass  # it was let go
        return heard

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


def _messages(data: bytes) -> Iterator[Any]:
    unpacker = msgpack.Unpacker()
    unpacker.feed(data)
    return iter(unpacker)


@pytest.fixture(scope="module")
def impostor() -> Iterator[Impostor]:
    made = Impostor()
    yield made
    made.close()


def check(impostor: Impostor, greeting: bytes, answer: bytes) -> None:
    """Two tries at the same sender: what a first one left must not be taken for a proven connection by the second."""
    impostor.greeting, impostor.answer = greeting, answer
    impostor.heard.clear()
    sender = ForwardSender("127.0.0.1", impostor.port, timeout=1, connect_timeout=1, shared_key="the-key")
    for _ in range(2):
        with pytest.raises((NotAllowed, OutOfReach)):
            sender.deliver(EVENT, 1)
        assert sender.socket is None
        assert impostor.served.acquire(timeout=20)
    assert len(impostor.heard) == 2
    for heard in impostor.heard:
        assert EVENT not in heard
        assert [message[0] for message in _messages(heard)] in ([], ["PING"])


@settings(max_examples=150, deadline=None)
@given(said("HELO"), said("PONG"))
@example(msgpack.packb(["HELO", None]), b"")
@example(HELO, msgpack.packb(["PONG", True, None, None, None]))
@example(HELO, msgpack.packb(["PONG", True, "", "server", ""]))
def test_whatever_a_peer_says_no_chunk_is_sent_before_it_has_proven_the_key(
    impostor: Impostor, greeting: bytes, answer: bytes
) -> None:
    check(impostor, greeting, answer)


@pytest.mark.parametrize("odd", ODD)
def test_what_msgpack_itself_fails_at_is_no_proof(impostor: Impostor, odd: bytes) -> None:
    check(impostor, odd, b"")
    check(impostor, HELO, odd)


@settings(max_examples=100, deadline=None)
@given(st.one_of(values.map(msgpack.packb), st.binary(max_size=60), st.sampled_from(ODD)))
def test_whatever_a_peer_answers_to_a_chunk_its_end_has_a_name(impostor: Impostor, answer: bytes) -> None:
    impostor.greeting, impostor.answer = b"", answer
    sender = ForwardSender("127.0.0.1", impostor.port, timeout=0.5)
    with pytest.raises((NotAcknowledged, OutOfReach)):
        sender.deliver(EVENT, 1)
    assert sender.socket is None
    assert impostor.served.acquire(timeout=20)


def failing(
    serve: Callable[[socket.socket], object], **options: Any
) -> tuple[ForwardSender, threading.Thread, list[Any]]:
    """A sender that tries, in a thread, to deliver to a server that does this with its connection; and its errors."""
    server = socket.create_server(("127.0.0.1", 0))
    sender = ForwardSender("127.0.0.1", server.getsockname()[1], timeout=60, shared_key="the-key", **options)
    errors: list[Any] = []

    def deliver() -> None:
        try:
            sender.deliver(EVENT, 1)
        except AuditpipeError as error:
            errors.append(error)

    def accept() -> None:
        with server:
            connection, _ = server.accept()
            with connection:
                serve(connection)

    threading.Thread(target=accept, daemon=True).start()
    trying = threading.Thread(target=deliver, daemon=True)
    trying.start()
    return sender, trying, errors


def test_a_handshake_byte_by_byte_is_given_up_in_time() -> None:
    """Each byte comes in time; all of them do not."""

    def trickle(connection: socket.socket) -> None:
        try:
            connection.sendall(b"\x92\xdb\x00\x00\xf0\x00")  # a text of 61,440 bytes
            for _ in range(600):
                connection.sendall(b"x")
                time.sleep(0.1)
        except OSError:
            return

    _, trying, errors = failing(trickle, connect_timeout=0.4)
    trying.join(10)
    assert not trying.is_alive()
    assert isinstance(errors[0], OutOfReach)


def test_disconnect_ends_a_handshake_too() -> None:
    """So that `close` does not wait for a peer that never says HELO."""
    connected, done = threading.Event(), threading.Event()

    def silent(_: socket.socket) -> None:
        connected.set()
        done.wait(30)

    sender, trying, errors = failing(silent, connect_timeout=60)
    assert connected.wait(10)
    time.sleep(0.1)  # until it waits for HELO
    sender.disconnect()
    trying.join(10)
    done.set()
    assert not trying.is_alive()
    assert isinstance(errors[0], OutOfReach)
