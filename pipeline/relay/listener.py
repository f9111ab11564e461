"""Listening sockets, and what becomes of an accepted one: a stream, through TLS where that is asked for.

The accepted socket is handled here before TLS, so that whoever is in the middle of a TLS handshake counts as a
connection, and one that fails is counted and logged; `asyncio.start_server` hides both.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any

from auditpipe.pipeline.relay.config import Limits
from auditpipe.pipeline.relay.frames import Malformed
from auditpipe.schemas.errors import SettingsError

#: Bytes that are read ahead for a connection: twice that at most, and one read.
READ_AHEAD = 2**16
#: When a connection can't be accepted, the next is tried after so many seconds.
PAUSE = 0.1
BACKLOG = 128

#: What OpenSSL says of a first message that is no TLS.
_PLAIN_TEXT = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST"})


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets for every address of this host. SettingsError where one can't be listened on."""
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, address in sorted({(family, address) for family, _, _, _, address in found}, key=str):
            # Port 0 is any that is free, and the same for each address.
            chosen = (address[0], sockets[0].getsockname()[1] if sockets else port, *address[2:])
            sockets.append(socket.create_server(chosen, family=family, backlog=BACKLOG))
            sockets[-1].setblocking(False)
    except OSError as error:
        for one in sockets:
            one.close()
        told = f"can't listen on {host}:{port}: {error.strerror or error}; is another one running?"
        raise SettingsError(told) from error
    return sockets


async def accept_forever(
    listening: socket.socket, take: Callable[[socket.socket, Any], None], give_way: Callable[[OSError], None]
) -> None:
    """Hand every connection and its client's address to `take`, until cancelled.

    `give_way` is called where none can be accepted, most likely because no file descriptor is left.
    """
    loop = asyncio.get_running_loop()
    while True:
        try:
            accepted, peer = await loop.sock_accept(listening)
        except OSError as error:
            give_way(error)
            await asyncio.sleep(PAUSE)
            continue
        # A client that vanishes without a word, with its machine or its network, is found by the kernel.
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        take(accepted, peer)
        await asyncio.sleep(0)  # connections that queue up leave the others their turn


async def open_streams(
    accepted: socket.socket, tls: ssl.SSLContext | None, limits: Limits
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The two directions of an accepted connection. The socket is closed where this raises.

    Malformed: no TLS came where it is asked for. ConnectionError: the client has left, or did not end the handshake.
    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=READ_AHEAD, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    times = {"ssl_handshake_timeout": limits.handshake, "ssl_shutdown_timeout": limits.closing} if tls else {}
    try:
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, accepted, ssl=tls, **times)
    except ssl.SSLError as error:
        raise _not_tls(error) from None
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


def _not_tls(error: ssl.SSLError) -> Malformed:
    if error.reason in _PLAIN_TEXT:
        return Malformed("plain_text", "expected TLS, got plain text: the client has to be told to speak TLS")
    return Malformed("tls_failed", f"expected TLS 1.2 or later: {error.reason or error}")
