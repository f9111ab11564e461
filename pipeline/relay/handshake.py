"""The server's side of the Forward protocol's authentication: HELO, PING, PONG.

Forward Protocol Specification v1, "Handshake": both sides prove with SHA-512 that they know the shared key, over a
nonce of ours and a salt of the client's. There are no users: `auth` is empty, and what a client says of one is
not looked at.

    HELO  ["HELO", {"nonce", "auth", "keepalive"}]
    PING  ["PING", hostname, salt, sha512_hex(salt + hostname + nonce + key), username, password digest]
    PONG  ["PONG", accepted, reason, hostname, sha512_hex(salt + hostname + nonce + key)]
"""

import asyncio
import hashlib
import hmac
import secrets
from typing import NamedTuple

import msgpack

from auditpipe.pipeline.relay.frames import Frames, Malformed
from auditpipe.pipeline.relay.protocol import refuse_tls

NONCE_BYTES = 16
#: Largest PING that is decoded. A host name has at most 255 bytes, each digest 128.
LARGEST_PING = 2048
#: What the relay calls itself. No client's name, as a digest under the same name would be the client's own, sent back.
HOSTNAME = b"auditpipe-relay"


class Ping(NamedTuple):
    """A client's proof."""

    hostname: bytes
    salt: bytes
    digest: bytes


async def authenticate(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: bytes) -> bool:
    """Have the client prove the key, and prove it to the client. False: it left without a word.

    Malformed `wrong_key` (it has been told), or `handshake` where it says something else.
    """
    nonce = secrets.token_bytes(NONCE_BYTES)
    writer.write(helo(nonce))
    frame = await _first_object(reader)
    if frame is None:
        return False
    ping = read_ping(frame)
    if not hmac.compare_digest(ping.digest, _digest(ping.salt, ping.hostname, nonce, key)):
        writer.write(msgpack.packb(["PONG", False, "shared_key mismatch", "", ""]))
        raise Malformed("wrong_key", f"{_short(ping.hostname)} does not know the shared key")
    writer.write(pong(ping, nonce, key))
    return True


def helo(nonce: bytes) -> bytes:
    """What the relay says first."""
    data: bytes = msgpack.packb(["HELO", {"nonce": nonce, "auth": "", "keepalive": True}])
    return data


def read_ping(frame: bytes) -> Ping:
    """The proof in one MessagePack object of at most LARGEST_PING bytes. Malformed says what was expected instead."""
    try:
        ping = msgpack.unpackb(frame, raw=True, strict_map_key=False)  # salts are bytes, or strings that are no text
    except (msgpack.UnpackException, ValueError, TypeError, OverflowError) as error:
        raise Malformed("handshake", f"expected PING: {error}") from None
    if not isinstance(ping, list) or len(ping) != 6 or ping[0] != b"PING":
        raise Malformed("handshake", "expected PING, from a client that knows the shared key")
    if not all(isinstance(part, bytes) for part in ping):
        raise Malformed("handshake", "expected PING as six strings")
    return Ping(*ping[1:4])


def pong(ping: Ping, nonce: bytes, key: bytes) -> bytes:
    """What a client is told that has proved the key."""
    digest = _digest(ping.salt, HOSTNAME, nonce, key).decode()
    data: bytes = msgpack.packb(["PONG", True, "", HOSTNAME.decode(), digest])
    return data


async def _first_object(reader: asyncio.StreamReader) -> bytes | None:
    frames = Frames(LARGEST_PING)
    while (frame := frames.take()) is None:
        data = await reader.read(LARGEST_PING)
        if not data:
            if frames.pending:
                raise Malformed("cut_off", f"the client left after {frames.pending} bytes of PING")
            return None
        frames.feed(data)
    refuse_tls(frame)
    if frames.pending:
        raise Malformed("handshake", "the client did not wait for PONG")
    return frame


def _digest(*parts: bytes) -> bytes:
    return hashlib.sha512(b"".join(parts)).hexdigest().encode()


def _short(name: bytes) -> str:
    return name[:64].decode("utf-8", "replace")
