"""A Forward peer whose manners a test decides. The relay and Fluent Bit are tested as themselves; none of them can be
made to hang, to acknowledge late, twice or wrongly, which is what this one is for.
"""

import socket
import threading
from collections.abc import Callable
from typing import Any, Self

import msgpack

Manner = Callable[["Peer", socket.socket, str], None]


def acknowledge(peer: "Peer", connection: socket.socket, chunk: str) -> None:
    """As the specification says."""
    connection.sendall(msgpack.packb({"ack": chunk}))


class Peer:
    """Listens on loopback, keeps every record it was sent, and answers each chunk by `manner`."""

    def __init__(self, manner: Manner = acknowledge, port: int = 0, host: str = "127.0.0.1") -> None:
        self.manner = manner
        self.records: list[dict[str, Any]] = []
        self.times: list[int] = []
        self.chunks: list[str] = []
        self._host = f"[{host}]" if ":" in host else host
        self._server = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.port: int = self._server.getsockname()[1]
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"{self._host}:{self.port}"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        unpacker = msgpack.Unpacker(max_buffer_size=2**28)
        try:
            while data := connection.recv(65536):
                unpacker.feed(data)
                for _tag, entries, option in unpacker:
                    self._take(entries, option)
                    self.manner(self, connection, option["chunk"])
        except OSError:
            return

    def _take(self, entries: bytes, option: dict[str, Any]) -> None:
        inner = msgpack.Unpacker()
        inner.feed(entries)
        taken = list(inner)
        assert len(taken) == option["size"]
        for time, record in taken:
            self.records.append(record)
            self.times.append(int.from_bytes(time.data[:4], "big") * 10**9 + int.from_bytes(time.data[4:], "big"))
        self.chunks.append(option["chunk"])

    def close(self) -> None:
        # shutdown wakes the accept that another thread is in; close alone would leave the port open until it returns
        try:
            self._server.shutdown(socket.SHUT_RDWR)
        finally:
            self._server.close()
        for connection in self._connections:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
