"""The example application, served on loopback, its events in memory."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from auditpipe.emitters import AuditLog, MemoryTransport
from auditpipe.examples.accounts.app import application, audit_log
from auditpipe.examples.accounts.server import serving
from auditpipe.examples.accounts.store import Store, sample

PASSWORD = "correct horse battery staple"


@pytest.fixture
def events() -> MemoryTransport:
    return MemoryTransport()


@pytest.fixture
def audit(events: MemoryTransport, tmp_path: Path) -> Iterator[AuditLog]:
    with audit_log(transport=events, spool_dir=tmp_path / "spool") as audit:
        yield audit


@pytest.fixture
def store() -> Store:
    return sample(PASSWORD)


@pytest.fixture
def address(audit: AuditLog, store: Store) -> Iterator[str]:
    with serving(application(audit, store)) as address:
        yield address


@pytest.fixture
def browser(address: str) -> Iterator[httpx.Client]:
    """Signed in as nobody; follows redirects, as browsers do."""
    with httpx.Client(base_url=f"http://{address}", follow_redirects=True) as client:
        yield client


def sign_in(browser: httpx.Client, name: str = "ada", password: str = PASSWORD) -> httpx.Response:
    return browser.post("/api/sign-in", json={"name": name, "password": password})


def id_of(store: Store, name: str) -> str:
    return next(user.id for user in store.users.values() if user.name == name)
