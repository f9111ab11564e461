"""Fixtures for an application's own tests, found by pytest once auditpipe is installed."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # imported by every pytest run: it must cost nothing
    from auditpipe.emitters import AuditLog, MemoryTransport


@pytest.fixture
def audit_events() -> "MemoryTransport":
    """The events that `audit_log` emitted in this test: `audit_events.events`, `audit_events.actions`."""
    from auditpipe.emitters import MemoryTransport

    return MemoryTransport()


@pytest.fixture
def audit_log(audit_events: "MemoryTransport", tmp_path_factory: pytest.TempPathFactory) -> Iterator["AuditLog"]:
    """An `AuditLog` whose events stay in memory, in `audit_events`."""
    from auditpipe.emitters import AuditLog

    spool = tmp_path_factory.mktemp("audit")
    with AuditLog(service="tests", transport=audit_events, spool_dir=spool) as audit:
        yield audit
