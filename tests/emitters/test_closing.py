"""The interpreter's exit closes each AuditLog."""

import logging
import weakref

import pytest

from auditpipe.emitters import AuditLog, MemoryTransport, auditlog
from auditpipe.schemas.catalogue import STREAM_CLOSED
from auditpipe.schemas.errors import SpoolError


class Broken(MemoryTransport):
    def close(self, timeout: float) -> None:
        raise SpoolError("the disk refused")


def test_one_that_can_not_be_closed_does_not_keep_the_others_open(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(auditlog, "_living", weakref.WeakSet())
    memories = [Broken(), MemoryTransport(), Broken(), MemoryTransport()]
    audits = [AuditLog("tests", transport=memory) for memory in memories]
    for audit in audits:
        audit.emit("user.login_succeeded")
    with caplog.at_level(logging.ERROR):
        auditlog._close_all()
    assert [memory.actions[-1] for memory in memories] == [STREAM_CLOSED] * 4
    assert [record.getMessage() for record in caplog.records] == [
        "the AuditLog of tests can't be closed: the disk refused"
    ] * 2
    assert len(auditlog._living) == 2  # those that are closed are forgotten
