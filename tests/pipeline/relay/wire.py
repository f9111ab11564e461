"""Messages as clients of the Forward protocol write them, and a client that counts acknowledgements."""

import gzip
import hashlib
import itertools
import socket
import ssl
from collections.abc import Iterable, Sequence
from typing import Any

import msgpack

from auditpipe.schemas.identity import format_time, new_event_id, parse_time

START = parse_time("2026-10-10T10:00:00Z")
MODES = ("message", "forward", "packed", "compressed")


def event_time(ns: int) -> msgpack.ExtType:
    seconds, nanoseconds = divmod(ns, 10**9)
    return msgpack.ExtType(0, seconds.to_bytes(4, "big") + nanoseconds.to_bytes(4, "big"))


def record(ns: int = START, **fields: Any) -> dict[str, Any]:
    """A small document that every check lets pass."""
    event_id = new_event_id(ns)
    return {
        "@timestamp": format_time(ns),
        "message": "Ada changed last_name",
        "event": {"id": event_id, "action": "user.user.updated"},
        "audit": {"hash": event_id.replace("-", "") * 2},
        **fields,
    }


def entry(document: Any, time: Any = None) -> bytes:
    packed: bytes = msgpack.packb([event_time(START) if time is None else time, document])
    return packed


def message(mode: str, entries: Sequence[bytes], chunk: str | None = None, tag: str = "audit") -> bytes:
    """One message in this mode ("message" takes one entry)."""
    option: dict[str, Any] = {"size": len(entries)} | ({"chunk": chunk} if chunk else {})
    if mode == "message":
        return b"\x94" + msgpack.packb(tag) + entries[0][1:] + msgpack.packb(option)
    if mode == "forward":
        body = msgpack.Packer().pack_array_header(len(entries)) + b"".join(entries)
    elif mode == "packed":
        body = msgpack.packb(b"".join(entries))
    else:
        option["compressed"] = "gzip"
        body = msgpack.packb(b"".join(gzip.compress(one, mtime=0) for one in entries))
    return b"\x93" + msgpack.packb(tag) + body + msgpack.packb(option)


def digest(salt: bytes, hostname: str, nonce: bytes, key: str) -> str:
    """As the specification has it, for PING and for PONG."""
    return hashlib.sha512(salt + hostname.encode() + nonce + key.encode()).hexdigest()


def ping(key: str, nonce: bytes, hostname: str = "client", salt: bytes = b"\xff0123456789abcde") -> bytes:
    """The proof of a client that knows the key."""
    packed: bytes = msgpack.packb(["PING", hostname, salt, digest(salt, hostname, nonce, key), "", ""])
    return packed


class Client:
    """A connection to a relay."""

    def __init__(self, port: int, timeout: float = 120.0, tls: ssl.SSLContext | None = None) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self._unpacker = msgpack.Unpacker()

    def send(self, *messages: bytes) -> "Client":
        for one in messages:
            self.socket.sendall(one)
        return self

    def hears(self) -> Any:
        """The next object that the relay says; None where it closes the connection instead."""
        while (said := next(self._unpacker, None)) is None:
            data = self.socket.recv(65536)
            if not data:
                return None
            self._unpacker.feed(data)
        return said

    def prove(self, key: str, hostname: str = "client") -> Any:
        """Wait for HELO, answer PING, and return PONG."""
        nonce = self.hears()[1]["nonce"]
        return self.send(ping(key, nonce, hostname)).hears()

    def acknowledgements(self, count: int) -> list[Any]:
        """The next `count` answers; fewer where the relay closes the connection."""
        answers: list[Any] = []
        while len(answers) < count:
            data = self.socket.recv(65536)
            if not data:
                break
            self._unpacker.feed(data)
            answers += [answer["ack"] for answer in self._unpacker]
        return answers

    def is_closed(self) -> bool:
        """Waits for the relay to close, or the timeout."""
        try:
            return self.socket.recv(65536) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.socket.close()


def pieces(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """The data, cut at these places."""
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(places)]
