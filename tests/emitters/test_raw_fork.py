"""A child of a fork that runs no at-fork hooks, as libraries in C fork: its parent's stream is left alone.

CPython itself hangs in such a child if a thread waited for its global lock at the fork. So no thread is started there,
and the parent forks while its own are at rest.
"""

from pathlib import Path

import pytest

from tests.emitters.peer import Peer
from tests.emitters.test_delivery import run
from tests.emitters.test_interrupted_anywhere import check_streams

CODE = """
    import ctypes, os, sys, time
    from auditpipe.emitters import AuditLog, MemoryTransport, auditlog
    if sys.argv[1:]:
        audit = AuditLog(service="s", forward=sys.argv[2], spool_dir=sys.argv[1])
    else:
        audit = AuditLog(service="s", transport=MemoryTransport())
    document, moment = audit.builder.document("user.user.exported", actor="child")
    sealed = audit.emit("user.login_succeeded", actor="parent").document()
    assert audit.flush(120)
    time.sleep(0.1)
    child = ctypes.PyDLL(None).fork()
    if child == 0:
        try:
            {}
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    event = audit.emit("user.login_succeeded", actor="parent")
    print(event.id, event.audit.stream, event.audit.sequence, audit.stats().acknowledged)
    audit.close(20)
"""


@pytest.mark.parametrize(
    "call",
    [
        "auditlog._close_all()",
        "audit.close()",
        "assert audit.flush(0)",
        "assert (audit.stats().spooled, audit.stats().acknowledged) == (0, 0)",
    ],
)
def test_what_a_child_calls_first_does_nothing_to_its_parent_s_stream(tmp_path: Path, call: str) -> None:
    with Peer() as peer:
        parent = run(CODE.format(call), str(tmp_path), peer.address)
        parent.communicate(timeout=180)
        assert parent.returncode == 0
        assert [record["event"]["action"] for record in peer.records] == [
            "user.login_succeeded",
            "user.login_succeeded",
            "service.audit_stream.closed",
        ]
        check_streams(peer.records)
        assert sum(path.is_dir() for path in tmp_path.iterdir()) == 1


@pytest.mark.parametrize(
    "call", ["audit.append_built(document, moment)", 'audit.emit("user.user.exported", actor="child")']
)
def test_what_a_child_appends_is_in_a_stream_of_its_own(call: str) -> None:
    """And the random part of its stream's name is not that of the parent's next id."""
    code = CODE.format(f"event = {call}; print(event.id, event.audit.stream, event.audit.sequence, 1, flush=True)")
    child, parent = (line.split() for line in run(code).communicate(timeout=180)[0].splitlines())
    assert (child[2], parent[2]) == ("1", "2")
    names = {child[0], child[1], parent[0], parent[1]}
    assert len({name[-12:] for name in names}) == 4


def test_a_sealed_event_that_a_child_appends_is_not_the_parent_s() -> None:
    """What counts as acknowledged there starts anew."""
    code = CODE.format("audit.append_sealed(sealed); print(audit.stats().acknowledged, flush=True)")
    child, parent = run(code).communicate(timeout=180)[0].splitlines()
    assert (child, parent.split()[3]) == ("1", "2")
