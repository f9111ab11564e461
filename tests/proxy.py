"""A TCP forwarder on loopback that can be cut, stalled and mended: a network between a client and a real server."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Proxy:
    """Forwards connections to `target` while it is whole; cut, it drops those it has and refuses new ones.

    A target that refuses a connection is seen by the client as a connection that ends at once.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._open: set[socket.socket] = set()
        self._flowing = threading.Event()
        self._flowing.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._start()

    def cut(self) -> None:
        """Drop every connection and stop listening."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()

    def mend(self) -> None:
        """Listen again, on the same port."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._start()

    def drop(self) -> None:
        """Drop every connection, in the middle of whatever it carries."""
        for end in list(self._open):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def stall(self) -> None:
        """Carry nothing: connections stay open, and what is sent into them waits."""
        self._flowing.clear()

    def flow(self) -> None:
        """Carry on after a stall."""
        self._flowing.set()

    def _start(self) -> None:
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                self._connect(listener.accept()[0])

    def _connect(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(self._target)
        except OSError:
            near.close()
            return
        self._open |= {near, far}
        for one, other in ((near, far), (far, near)):
            threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        pump(source, sink, self._flowing)
        self._open -= {source, sink}


def pump(source: socket.socket, sink: socket.socket, flowing: threading.Event | None = None) -> None:
    """Copy what comes until one side ends, then end both; not while `flowing` is cleared."""
    with suppress(OSError):
        while data := source.recv(65536):
            if flowing is not None:
                flowing.wait()
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy_to(host: str, port: int) -> Iterator[Proxy]:
    """A proxy for the length of a test."""
    proxy = Proxy((host, port))
    try:
        yield proxy
    finally:
        proxy.cut()
