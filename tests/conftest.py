"""Fixtures for all tests: a real OpenSearch for the session, and an environment that names no one's own cluster."""

import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from auditpipe.schemas.settings import Settings, load

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

#: A hash of a password costs the node half a second otherwise, and it is asked for again after each change of who may
#: what: of all that the tests do, that would take the most time.
QUICK_SIGN_IN = "plugins.security.password.hashing.bcrypt.rounds=4"

#: On a busy machine the first examples are slow to make, which says nothing about the test.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

#: What a developer may choose for a test run; every other AUDITPIPE_ variable would lead a test to someone's cluster.
_KEPT = {"AUDITPIPE_FLUENT_BIT"}


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads a profile, a spool, a variable or the width of the terminal of whoever runs it."""
    for name in os.environ:
        if name.startswith("AUDITPIPE_") and name not in _KEPT:
            monkeypatch.delenv(name)
    for name in ("COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "no-state" / secrets.token_hex(4)))


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class RealOpenSearch:
    """A provisioned node with write-once on. `home` is a local stack's home without shipper and replayer."""

    url: str
    home: Path

    @property
    def ca_file(self) -> Path:
        """The authority of its certificate."""
        return self.home / "certs" / "ca.pem"

    @property
    def admin(self) -> Settings:
        """The admin certificate, which passes write-once."""
        return self._profile("operator")

    @property
    def super_admin(self) -> Settings:
        """The first Super Admin."""
        return self._profile("local")

    @property
    def shipper(self) -> Settings:
        """The user that writes."""
        return self._profile("shipper")

    def settings(self, user: str, password_file: Path) -> Settings:
        """Anyone else, by name and password."""
        flags = {"username": user, "password_file": str(password_file)}
        return load({"url": self.url, "ca_file": str(self.ca_file), **flags}, environment={"HOME": str(self.home)})

    def add_user(self, *roles: str, name: str | None = None, attributes: dict[str, str] | None = None) -> Settings:
        """Make an internal user with these roles (or none) and return their settings."""
        name = name or f"user-{secrets.token_hex(4)}"
        password = f"Aa1-{secrets.token_urlsafe(20)}"
        path = self.home / "secrets" / name
        path.write_text(password + "\n")
        path.chmod(0o600)
        self.request("PUT", f"/_plugins/_security/api/internalusers/{name}", _user(password, roles, attributes))
        return self.settings(name, path)

    def client(self, settings: Settings | None = None) -> "OpenSearch":
        """A client for these settings, the admin certificate's unless given."""
        from auditpipe.pipeline.client import connect

        return connect(settings or self.admin)

    def request(self, method: str, path: str, body: Any = None, settings: Settings | None = None) -> Any:
        """One request, as the admin certificate unless settings are given."""
        return self.client(settings).transport.perform_request(method, path, body=body)

    def environment(self, profile: str = "local") -> dict[str, str]:
        """What a command line needs to speak to it."""
        return {"AUDITPIPE_HOME": str(self.home), "AUDITPIPE_PROFILE": profile}

    def _profile(self, name: str) -> Settings:
        return load({"home": str(self.home)}, profile=name, environment={})


@dataclass(frozen=True)
class RealStack:
    """The session's node with the relay and the replayer, as `auditpipe up --shipper relay` leaves it."""

    opensearch: RealOpenSearch
    forward: str

    @property
    def home(self) -> Path:
        """Its home; the profiles in it name the shipper too."""
        return self.opensearch.home


def _user(password: str, roles: tuple[str, ...], attributes: dict[str, str] | None) -> dict[str, Any]:
    return {"password": password, "opendistro_security_roles": list(roles), "attributes": attributes or {}}


@pytest.fixture(scope="session")
def opensearch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealOpenSearch]:
    """One real, provisioned node for the whole session: the one that `auditpipe up` starts, on a free port.

    A new machine downloads it (about 120 MB, kept in the cache). Tests share it: use ids and users of your own.
    """
    with provisioned(tmp_path_factory.mktemp("opensearch") / "home") as node:
        yield node


@contextmanager
def provisioned(folder: Path) -> Iterator[RealOpenSearch]:
    """A node in this folder, for tests that can't do with a shared one."""
    from auditpipe.pipeline.local import cluster
    from auditpipe.pipeline.local import stack as local
    from auditpipe.pipeline.local.home import Home
    from auditpipe.pipeline.local.node import NodeOptions

    home = Home(folder)
    try:
        node = cluster.ensure(home, NodeOptions(free_port(), "768m", (QUICK_SIGN_IN,)))
        cluster.provision(home, node, forward=f"127.0.0.1:{free_port()}")
        yield RealOpenSearch(node.url, home.root)
    finally:
        local.down(home)
        shutil.rmtree(home.opensearch.resolve())


@pytest.fixture(scope="session")
def stack(opensearch: RealOpenSearch) -> Iterator[RealStack]:
    """The session's node with a shipper (the relay) and the replayer."""
    from auditpipe.pipeline.local import stack as local
    from auditpipe.pipeline.local.home import Home

    settings = load({"home": str(opensearch.home)}, environment={})
    options = local.UpOptions(forward_port=free_port(), metrics_port=free_port(), shipper="relay")
    made = local.up(settings, options)
    try:
        yield RealStack(opensearch, made.forward)
    finally:
        local.stop(Home(opensearch.home), (local.shipper.NAME, local.shipper.REPLAYER))


@pytest.fixture(scope="session")
def fluent_bit_program() -> str:
    """The program, or the test is skipped."""
    from auditpipe.pipeline.fluent_bit import launcher

    program = launcher.find(load())
    if program is None:
        pytest.skip("no fluent-bit on PATH or in AUDITPIPE_FLUENT_BIT: README says how to get one")
    return program
