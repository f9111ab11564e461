"""How many events wait, without touching them."""

from auditpipe.cli import spool_probe
from auditpipe.emitters import AuditLog
from tests.conftest import free_port


def test_no_spool_holds_nothing(tmp_path):
    assert spool_probe.count(tmp_path / "nowhere") == 0


def test_what_was_emitted_and_not_sent_is_counted_and_still_there(tmp_path):
    forward = f"127.0.0.1:{free_port()}"
    audit = AuditLog(service="tests", organization="acme", spool_dir=tmp_path, forward=forward)
    for _ in range(3):
        audit.emit("user.user.updated", actor={"id": "u1"}, target={"type": "user", "id": "u7"}, after={"name": "x"})
    assert spool_probe.count(tmp_path) == 3
    assert spool_probe.count(tmp_path) == 3
    audit.close()
    assert spool_probe.count(tmp_path) == 4  # and the end of its stream
