"""The console, served on loopback for the session's node; its own audit events stay in memory."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from auditpipe.dashboards.console import actions_file
from auditpipe.dashboards.console.app import application
from auditpipe.dashboards.console.proxy import Proxy
from auditpipe.dashboards.console.server import Listen, forwarders
from auditpipe.dashboards.console.sessions import Session
from auditpipe.dashboards.console.visit import Console
from auditpipe.emitters import AuditLog, MemoryTransport
from auditpipe.examples.accounts.server import serving
from auditpipe.pipeline import access
from auditpipe.schemas.settings import Settings, load
from tests.builders import event
from tests.conftest import RealOpenSearch
from tests.stored import organization, store

HOSTS = frozenset({"127.0.0.1", "localhost"})
_TOKEN = re.compile(r'name="token" value="([^"]+)"')


@dataclass
class Served:
    """A console, where it is, and what it has put on record."""

    url: str
    console: Console
    events: MemoryTransport

    def browser(self) -> httpx.Client:
        """Signed in as nobody; follows no redirect."""
        return httpx.Client(base_url=self.url, timeout=180)

    def session(self, browser: httpx.Client) -> Session:
        """The session that a browser is in."""
        session = self.console.sessions.find(browser.cookies.get("auditpipe"))
        assert session is not None
        return session

    @contextmanager
    def signed_in(self, person: Settings) -> Iterator[httpx.Client]:
        """Signed in as a person."""
        with self.browser() as browser:
            answer = sign_in(browser, person.get("username") or "", person.password or "")
            assert answer.status_code == 303, answer.text
            yield browser


def token(browser: httpx.Client, path: str = "/sign-in") -> str:
    """The token of the first form on a page."""
    match = _TOKEN.search(browser.get(path).text)
    assert match is not None
    return match[1]


def sign_in(browser: httpx.Client, name: str, password: str, next_page: str = "/") -> httpx.Response:
    form = {"token": token(browser), "name": name, "password": password, "next": next_page}
    return browser.post("/sign-in", data=form)


@contextmanager
def console(url: str, ca_file: Path | None, folder: Path, proxy: Proxy | None = None) -> Iterator[Served]:
    """A console for this cluster. Credentials of its own it has none that would be taken."""
    values = {"url": url, "ca_file": str(ca_file) if ca_file else None, "username": "nobody"}
    (folder / "wrong").write_text("wrong\n")
    settings = load({**values, "password_file": str(folder / "wrong")}, environment={"HOME": str(folder)})
    memory = MemoryTransport()
    with AuditLog(
        "auditpipe-console", actions=actions_file(), transport=memory, spool_dir=folder / "spool", host="test"
    ) as audit:
        made = Console(settings, audit.emit, secure=False, proxy=proxy)
        with serving(application(made, HOSTS, forwarders(Listen(), proxy))) as address:
            try:
                yield Served(f"http://{address}", made, memory)
            finally:
                made.sessions.end_all()


@pytest.fixture(scope="package")
def served(opensearch: RealOpenSearch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One for all tests that leave it as it is."""
    with console(opensearch.url, opensearch.ca_file, tmp_path_factory.mktemp("console")) as made:
        yield made


@pytest.fixture
def fresh(opensearch: RealOpenSearch, tmp_path: Path) -> Iterator[Served]:
    """One of the test's own."""
    with console(opensearch.url, opensearch.ca_file, tmp_path) as made:
        yield made


@pytest.fixture(scope="package")
def admin(opensearch: RealOpenSearch) -> Settings:
    """A person with the role audit_admin."""
    return opensearch.add_user("audit_admin", name="olivia")


@pytest.fixture(scope="package")
def browser(served: Served, admin: Settings) -> Iterator[httpx.Client]:
    """An Admin's, for tests that stay signed in."""
    with served.signed_in(admin) as client:
        yield client


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """For the tests of a module, which are skipped where there is none."""
    from tests.dashboards.console.browser import launched

    with launched() as driven:
        yield driven


@dataclass(frozen=True)
class Tenant:
    """An organization that no other test has, and an Admin of it alone."""

    org: str
    admin: Settings


@pytest.fixture(scope="package")
def tenant(opensearch: RealOpenSearch) -> Tenant:
    org = organization()
    store(opensearch, [event(organization__id=org)])
    person = opensearch.add_user()
    access.grant(opensearch.client(opensearch.super_admin), access.Grant(person.get("username") or "", "admin", org))
    return Tenant(org, person)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", metavar="DIR", help="Where the pictures of the console go.")
