"""A node that was killed and recovers: waited for, not given up, and not taken for ready."""

from types import SimpleNamespace

import pytest

from auditpipe.pipeline import provision as provisioning
from auditpipe.pipeline.local import cluster, node, process
from auditpipe.pipeline.local.home import Home
from auditpipe.pipeline.local.readiness import Admin, Shards
from auditpipe.pipeline.local.watch import Watch
from auditpipe.schemas.errors import NotAllowed, OutOfReach

PATTERN = "audit-events-*"


class Recovering:
    """Says how far it is, one answer a question; the last one again and again."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def shards(self, pattern):
        assert pattern == PATTERN
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def record(tmp_path, monkeypatch):
    """A node whose life the test decides."""
    monkeypatch.setattr(node, "_POLL_S", 0.0)
    monkeypatch.setattr(cluster, "_RETRY_S", 0.0)
    alive = SimpleNamespace(pid=0, log=str(tmp_path / "log"), port=1, address="https://127.0.0.1:1", lives=True)
    alive.process = lambda: alive if alive.lives else None
    monkeypatch.setattr(process, "reap", lambda pid: "")
    return alive


def test_it_is_ready_when_every_primary_shard_has_started(record, tmp_path):
    said = []
    admin = Recovering(None, Shards(True, 0, 107), None, Shards(True, 39, 68), Shards(False, 107, 0))
    node.wait_for_shards(record, admin, tmp_path, said.append)
    assert said == ["Waiting for OpenSearch to recover 107 shards of audit-events-*"]


def test_a_shard_that_never_starts_is_named_after_a_while(record, tmp_path, monkeypatch):
    monkeypatch.setattr(node, "START_TIMEOUT_S", 0.0)
    with pytest.raises(process.Ended, match=r"1 shards of .* have not started, 12 have, and none more for 0 s"):
        node.wait_for_shards(record, Recovering(Shards(True, 12, 1)), tmp_path, lambda _: None)
    with pytest.raises(process.Ended, match="does not say"):
        node.wait_for_shards(record, Recovering(None), tmp_path, lambda _: None)


def test_a_node_that_dies_meanwhile_is_not_waited_for(record, tmp_path):
    record.lives = False
    with pytest.raises(process.Ended, match="OpenSearch ended"):
        node.wait_for_shards(record, Recovering(Shards(True, 1, 1)), tmp_path, lambda _: None)


@pytest.mark.opensearch
def test_a_real_node_says_how_far_it_is(opensearch):
    from auditpipe.pipeline.local import certificates

    signed = certificates.ensure(opensearch.home / "certs")
    admin = Admin(int(opensearch.url.rpartition(":")[2]), signed)
    before = admin.shards(PATTERN)
    assert not before.red
    assert before.started >= 13
    nowhere = {"settings": {"index.routing.allocation.require._name": "nowhere"}}
    opensearch.request("PUT", "/audit-events-1979.11?wait_for_active_shards=0", nowhere)
    try:
        now = admin.shards(PATTERN)
        assert now.red
        assert now.missing > before.missing
    finally:
        opensearch.request("DELETE", "/audit-events-1979.11")


@pytest.fixture
def provision(record, tmp_path, monkeypatch):
    """`cluster.provision` on a cluster whose answers the test gives; returns what was said."""

    def run(*answers):
        left = list(answers)

        def answer(client, options):
            error = left.pop(0)
            if error:
                raise error

        said = []
        monkeypatch.setattr(provisioning, "provision", answer)
        monkeypatch.setattr(cluster, "write_profiles", lambda *_: {"superadmin": "a", "audit_shipper": "b"})
        monkeypatch.setattr(cluster, "load", lambda *_, **__: None)
        monkeypatch.setattr("auditpipe.pipeline.client.connect", lambda *_, **__: None)
        made = cluster.Cluster(record, None, True)
        cluster.provision(Home(tmp_path), made, "127.0.0.1:1", Watch(say=said.append))
        assert not left
        return said

    return run


def test_provisioning_is_tried_again_while_the_node_is_slow(provision):
    late = OutOfReach("did not answer in time")
    assert provision(late, late, None) == ["Provisioning again: did not answer in time"] * 2


def test_provisioning_ends_with_the_node_the_time_or_another_error(provision, record, monkeypatch):
    with pytest.raises(NotAllowed):
        provision(NotAllowed("no"))
    monkeypatch.setattr(node, "START_TIMEOUT_S", -1.0)
    with pytest.raises(OutOfReach):
        provision(OutOfReach("late"))
    record.lives = False
    with pytest.raises(process.Ended):
        provision(OutOfReach("late"))
