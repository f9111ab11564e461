"""The client's side of HELO, PING, PONG, against servers that a real shipper can't be made to be."""

import hashlib
import socket
import threading
from collections.abc import Callable

import msgpack
import pytest

from auditpipe.emitters.handshake import authenticate
from auditpipe.schemas.errors import NotAllowed

KEY = "the-key"
Pong = Callable[[list[str]], tuple[object, ...]]


def meet(pong: Pong) -> None:
    """Authenticate against a server that answers a PING so; it has no key unless `pong` uses one."""
    ours, theirs = socket.socketpair()
    theirs.sendall(msgpack.packb(["HELO", {"nonce": b"n" * 16, "auth": "", "keepalive": True}]))

    def serve() -> None:
        theirs.sendall(msgpack.packb(pong(msgpack.unpackb(theirs.recv(4096)))))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with ours, theirs:
            authenticate(ours, KEY, "client", 10)
    finally:
        thread.join()


def proof(name: str, salt: str) -> str:
    return hashlib.sha512(salt.encode() + name.encode() + b"n" * 16 + KEY.encode()).hexdigest()


def test_a_server_that_proves_the_key_under_its_own_name_is_believed() -> None:
    meet(lambda ping: ("PONG", True, "", "server", proof("server", ping[2])))


def test_our_own_proof_sent_back_is_none() -> None:
    """Who knows no key could otherwise take the client's name, and its digest with it."""
    with pytest.raises(NotAllowed, match="our own proof"):
        meet(lambda ping: ("PONG", True, "", ping[1], ping[3]))


@pytest.mark.parametrize("digest", ["", "0" * 128, b"\xff"])
def test_a_server_without_the_key_is_not_spoken_to(digest: object) -> None:
    with pytest.raises(NotAllowed, match="not the one that it claims to be"):
        meet(lambda ping: ("PONG", True, "", "server", digest))
