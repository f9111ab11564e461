"""The Forward protocol's sending side, with the acknowledgements that fluent-logger does not ask for.

Forward Protocol Specification v1, PackedForward mode: `[tag, entries, {"size": n, "chunk": id}]`, to which the peer
answers `{"ack": id}` once it has taken the chunk.
"""

import base64
import contextlib
import os
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

import msgpack
from fluent.sender import FluentSender

from auditpipe.emitters.handshake import authenticate
from auditpipe.schemas import identity
from auditpipe.schemas.errors import NotFinished, OutOfReach, SettingsError

if TYPE_CHECKING:
    import ssl

TAG = "audit"
_MAX_ANSWER = 64 * 1024


class NotAcknowledged(NotFinished):
    """The peer did not acknowledge the chunk in time, or answered something else. It may have it all the same."""


#: What comes before the record in an entry: an array of two, and as the first an EventTime, which is an extension of
#: type 0 with eight bytes, seconds and nanoseconds.
_ENTRY = struct.Struct(">BBBII")
_ARRAY_OF_2, _FIXEXT_8, _EVENT_TIME = 0x92, 0xD7, 0


def entry(moment: int, document: dict[str, Any]) -> bytes:
    """One entry of a chunk: msgpack of [EventTime, record]. `moment` in nanoseconds since 1970."""
    head = _ENTRY.pack(_ARRAY_OF_2, _FIXEXT_8, _EVENT_TIME, *divmod(moment, identity.SECOND))
    return head + msgpack.packb(document)  # type: ignore[no-any-return]


def _tls(ca_file: str) -> "ssl.SSLContext":
    import ssl  # OpenSSL is not loaded where the shipper is on the same machine

    return ssl.create_default_context(cafile=ca_file)


def check_ca_file(path: str) -> None:
    """Whether it can be read and holds certificates, said at start. SettingsError if not."""
    try:
        _tls(path)
    except (OSError, ValueError) as error:  # an ssl.SSLError is an OSError
        raise SettingsError(f"forward_ca_file: {path}: expected certificates of authorities (PEM): {error}") from error


class ForwardSender(FluentSender):  # type: ignore[misc]  # fluent-logger has no types
    """fluent-logger's connection, used for whole chunks whose acknowledgement is awaited. For one thread.

    `connect_timeout` and `timeout` are seconds; the latter is how long an acknowledgement may take.
    """

    socket: Any

    def __init__(
        self,
        host: str,
        port: int,
        *,
        timeout: float,
        connect_timeout: float = 3.0,
        ca_file: str | None = None,
        shared_key: str | None = None,
    ) -> None:
        super().__init__(TAG, host=host, port=port, timeout=connect_timeout)
        self._peer = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._acknowledge_timeout = timeout
        self._shared_key = shared_key
        self._tls = _tls(ca_file) if ca_file else None
        self._opening: Any = None  # `disconnect` breaks off what is not proven yet, too

    def deliver(self, entries: bytes, count: int) -> None:
        """Send one chunk and return when it is acknowledged.

        OutOfReach: nobody takes it. NotAllowed: one of the two does not know the shared key. NotAcknowledged: it is
        not known whether it was taken; sending it again is safe: `event.id` is `_id`, and writes only create.
        """
        chunk = base64.b64encode(os.urandom(16)).decode()
        message = msgpack.packb((self.tag, entries, {"size": count, "chunk": chunk}))
        try:
            self._reconnect()
            connection = self.socket  # `disconnect` may take it from us at any moment
            if connection is None:
                raise ConnectionAbortedError("disconnected")
            connection.settimeout(self._acknowledge_timeout)
            connection.sendall(message)
            self._await_acknowledgement(connection, chunk)
        except (OSError, ValueError) as error:  # ValueError: what ssl says of a socket that was closed
            self._close()
            raise OutOfReach(f"{self._peer}: {error}") from error
        except BaseException:
            self._close()
            raise

    def disconnect(self) -> None:
        """Close the connection, from any thread: a `deliver` that waits on it ends, the next opens another."""
        opening = self._opening
        if opening is not None:
            with contextlib.suppress(OSError):
                opening.shutdown(socket.SHUT_RDWR)
        self._close()

    def _reconnect(self) -> None:
        """fluent-logger's own knows IPv4 only. `socket` is set to what has proven who it is, and to nothing else."""
        if self.socket is not None:
            return
        connection: Any = socket.create_connection((self.host, self.port), self.timeout)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._opening = connection
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_hostname=self.host, do_handshake_on_connect=False)
                self._opening = connection
                connection.do_handshake()
            if self._shared_key is not None:
                authenticate(connection, self._shared_key, socket.gethostname(), self.timeout)
        except BaseException:
            connection.close()
            raise
        finally:
            self._opening = None
        self.socket = connection

    def _await_acknowledgement(self, connection: Any, chunk: str) -> None:
        deadline = time.monotonic() + self._acknowledge_timeout
        unpacker = msgpack.Unpacker(max_buffer_size=_MAX_ANSWER)
        while (left := deadline - time.monotonic()) > 0:
            connection.settimeout(left)
            try:
                data = connection.recv(4096)
            except TimeoutError:
                break
            if not data:
                raise NotAcknowledged(f"{self._peer} closed the connection before it acknowledged")
            if self._acknowledges(unpacker, data, chunk):
                return
        raise NotAcknowledged(f"{self._peer} did not acknowledge within {self._acknowledge_timeout:g} s")

    def _acknowledges(self, unpacker: Any, data: bytes, chunk: str) -> bool:
        """Whether our acknowledgement has come; one for another chunk (late, or twice) says nothing about ours."""
        try:
            unpacker.feed(data)
            answers = list(unpacker)
        except (ValueError, msgpack.exceptions.UnpackException, msgpack.exceptions.BufferFull) as error:
            raise NotAcknowledged(f"{self._peer} answered what is no msgpack: {error}") from error
        return any(isinstance(answer, dict) and answer.get("ack") in (chunk, chunk.encode()) for answer in answers)
