"""The client's side of the Forward protocol's authentication: HELO, PING, PONG.

Forward Protocol Specification v1, "Handshake": both sides prove with SHA-512 that they know the shared key, over a
nonce of the server's and a salt of ours, so that neither the key nor a reusable proof of it crosses the wire.
"""

import hashlib
import hmac
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgpack

from auditpipe.schemas.errors import NotAllowed

_MAX_MESSAGE = 64 * 1024
_ANOTHER = "it speaks no Forward handshake"


def authenticate(connection: socket.socket, shared_key: str, hostname: str, timeout: float) -> None:
    """Prove to the peer that we know the key, and have it prove the same, all within `timeout` seconds.

    NotAllowed if either fails, or if the peer says anything else. OSError for a connection that breaks, or that is too
    slow; a peer that asks for no handshake never says HELO.
    """
    incoming = _Incoming(connection, time.monotonic() + timeout)
    (options,) = incoming.message("HELO", 1)
    # The salt is text, because Fluent Bit takes nothing else. It sends an `auth` salt even where it knows no users.
    nonce, salt, key = _nonce(options), os.urandom(16).hex().encode(), shared_key.encode()
    ours = _digest(salt, hostname.encode(), nonce, key)
    connection.sendall(msgpack.packb(["PING", hostname, salt.decode(), ours, "", ""]))
    accepted, reason, server, theirs = incoming.message("PONG", 4)
    if accepted is not True:
        raise NotAllowed(f"the shipper refused the shared key: {_text(reason)}")
    if not isinstance(server, bytes) or not isinstance(theirs, bytes):
        raise NotAllowed(f"the shipper's PONG has no name or no proof in it: {_ANOTHER}")
    if hmac.compare_digest(theirs, ours.encode()):
        raise NotAllowed(
            f"the shipper sent our own proof back, under the name {hostname!r}: if it is the one that it claims to be, "
            "call it otherwise than this host (Fluent Bit's self_hostname)"
        )
    if not hmac.compare_digest(theirs, _digest(salt, server, nonce, key).encode()):
        raise NotAllowed("the shipper does not know the shared key: it is not the one that it claims to be")


def _digest(*parts: bytes) -> str:
    return hashlib.sha512(b"".join(parts)).hexdigest()


def _nonce(options: Any) -> bytes:
    nonce = options.get(b"nonce") if isinstance(options, dict) else None
    if not isinstance(nonce, bytes):
        raise NotAllowed(f"the shipper's HELO has no nonce in it: {_ANOTHER}")
    return nonce


def _text(reason: Any) -> str:
    return reason.decode(errors="replace") if isinstance(reason, bytes) else "it gives no reason"


class _Incoming:
    """What the peer says, message by message, until a moment of the monotonic clock."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        # Nonces travel as strings that are no text.
        self._unpacker = msgpack.Unpacker(max_buffer_size=_MAX_MESSAGE, raw=True)

    def message(self, kind: str, length: int) -> list[Any]:
        """The `length` things that a message of this kind says."""
        while True:
            for message in self._decoded():
                if isinstance(message, list) and len(message) > length and message[0] == kind.encode():
                    return message[1 : length + 1]
                raise NotAllowed(f"the shipper was expected to say {kind}: {_ANOTHER}")
            self._read(kind)

    def _read(self, kind: str) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"the shipper takes too long to say {kind}")
        self._connection.settimeout(left)
        data = self._connection.recv(4096)
        if not data:
            raise ConnectionResetError(f"the shipper closed the connection before {kind}; is the shared key right?")
        with _refused():
            self._unpacker.feed(data)

    def _decoded(self) -> list[Any]:
        """The next message, or nothing until more has come."""
        with _refused():
            for message in self._unpacker:
                return [message]
        return []


@contextmanager
def _refused() -> Iterator[None]:
    """Whatever a peer sends that can't be decoded, and however msgpack says so, it has not proven the key."""
    try:
        yield
    except Exception as error:
        raise NotAllowed(f"the shipper answered what is no msgpack: {_ANOTHER}: {error}") from error
