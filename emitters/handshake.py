"""The client's side of the Forward protocol's authentication: HELO, PING, PONG.

Forward Protocol Specification v1, "Handshake": both sides prove with SHA-512 that they know the shared key, over a
nonce of the server's and a salt of ours, so that neither the key nor a reusable proof of it crosses the wire.
"""

import hashlib
import hmac
import os
import socket
from typing import Any

import msgpack

from auditpipe.schemas.errors import NotAllowed

_MAX_MESSAGE = 64 * 1024


def authenticate(connection: socket.socket, shared_key: str, hostname: str) -> None:
    """Prove to the peer that we know the key, and have it prove the same. NotAllowed if either fails.

    OSError for a connection that breaks; a peer that asks for no handshake never says HELO, and times out.
    """
    unpacker = msgpack.Unpacker(max_buffer_size=_MAX_MESSAGE, raw=True)  # nonces travel as strings that are no text
    _, options = _message(connection, unpacker, "HELO", 2)
    # The salt is text, because Fluent Bit takes nothing else. It sends an `auth` salt even where it knows no users.
    nonce, salt, key = _bytes(options.get(b"nonce", b"")), os.urandom(16).hex().encode(), shared_key.encode()
    ours = _digest(salt, hostname.encode(), nonce, key)
    connection.sendall(msgpack.packb(["PING", hostname, salt.decode(), ours, "", ""]))
    _, accepted, reason, server, theirs = _message(connection, unpacker, "PONG", 5)
    if accepted is not True:
        raise NotAllowed(f"the shipper refused the shared key: {_bytes(reason).decode(errors='replace')}")
    if hmac.compare_digest(_bytes(theirs), ours.encode()):
        raise NotAllowed(
            f"the shipper sent our own proof back, under the name {hostname!r}: if it is the one that it claims to be, "
            "call it otherwise than this host (Fluent Bit's self_hostname)"
        )
    if not hmac.compare_digest(_bytes(theirs), _digest(salt, _bytes(server), nonce, key).encode()):
        raise NotAllowed("the shipper does not know the shared key: it is not the one that it claims to be")


def _digest(*parts: bytes) -> str:
    return hashlib.sha512(b"".join(parts)).hexdigest()


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _message(connection: socket.socket, unpacker: Any, kind: str, length: int) -> list[Any]:
    while True:
        for message in unpacker:
            if isinstance(message, list) and len(message) >= length and message[0] == kind.encode():
                return message[:length]
            raise NotAllowed(f"the shipper was expected to say {kind}: it speaks no Forward handshake")
        data = connection.recv(4096)
        if not data:
            raise ConnectionResetError(f"the shipper closed the connection before {kind}; is the shared key right?")
        unpacker.feed(data)
