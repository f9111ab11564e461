"""A shipper that listens on IPv6."""

import socket
from pathlib import Path

import pytest

from tests.emitters.peer import Peer
from tests.emitters.test_delivery import log_to, sequences


def test_a_shipper_on_ipv6_is_reached(tmp_path: Path) -> None:
    try:
        peer = Peer(host="::1")
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    with peer, log_to(peer, tmp_path) as audit:
        audit.emit("user.login_succeeded")
        assert audit.flush(120), audit.stats().problem
        assert sequences(peer) == [1]


def test_a_shipper_on_ipv6_that_is_not_there_is_named_as_in_the_settings(tmp_path: Path) -> None:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
            address = f"[::1]:{server.getsockname()[1]}"
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    with log_to(address, tmp_path) as audit:
        audit.emit("user.login_succeeded")
        assert not audit.flush(0.3)
        assert (audit.stats().problem or "").startswith(f"{address}: ")
