"""The network between a client and a server does what a fault wants of it."""

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.proxy import Proxy, proxy_to


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what it gets."""

    def serve(connection: socket.socket) -> None:
        while data := connection.recv(100):
            connection.sendall(data)

    def accept() -> None:
        while True:
            try:
                connection = server.accept()[0]
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def connected(proxy: Proxy) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", proxy.port), timeout=120)
    connection.sendall(b"one")
    assert connection.recv(100) == b"one"
    return connection


def test_stalled_nothing_arrives_until_it_flows_again(echo: int) -> None:
    with proxy_to("127.0.0.1", echo) as proxy, connected(proxy) as connection:
        proxy.stall()
        connection.sendall(b"two")
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(100)
        proxy.flow()
        connection.settimeout(120)
        assert connection.recv(100) == b"two"


def test_dropped_a_connection_ends_and_another_can_be_made(echo: int) -> None:
    with proxy_to("127.0.0.1", echo) as proxy, connected(proxy) as connection:
        proxy.drop()
        assert connection.recv(100) == b""
        connected(proxy).close()


def test_cut_it_refuses_until_it_is_mended(echo: int) -> None:
    with proxy_to("127.0.0.1", echo) as proxy, connected(proxy) as connection:
        proxy.cut()
        assert connection.recv(100) == b""
        with pytest.raises(OSError, match="refused"):
            connected(proxy)
        proxy.mend()
        connected(proxy).close()


def test_a_server_that_is_away_does_not_end_the_proxy(echo: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with proxy_to("127.0.0.1", port) as proxy:
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", proxy.port), timeout=120) as connection:
                assert connection.recv(100) == b""
