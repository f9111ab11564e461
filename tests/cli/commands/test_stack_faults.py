"""A whole stack whose node is paused, killed, stopped, full or stripped: what status and doctor say of it, and that
every event arrives once afterwards, with nobody's help but what they say to do.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from time import sleep
from typing import Any

import psutil
import pytest

from auditpipe.emitters import AuditLog, SpoolOptions
from auditpipe.pipeline.client import connect
from auditpipe.schemas.identity import index_of_id
from auditpipe.schemas.settings import load
from tests.cli.commands.test_local_stack import Machine, found
from tests.conftest import free_port
from tests.waiting import until

pytestmark = pytest.mark.opensearch

WATERMARK = "cluster.routing.allocation.disk.watermark"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    made = Machine(tmp_path_factory.mktemp("faults") / "home", free_port(), free_port(), free_port())
    result = made.up()
    assert result.returncode == 0, result.stderr
    yield made
    made.run("down", "--purge", "--yes")


class Application:
    """Emits, and knows what was taken."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.ids: list[str] = []
        self.audit = AuditLog(
            **{"service": "s", "organization": "acme", "forward": f"127.0.0.1:{machine.forward}", "exit_timeout": 1},
            spool_dir=machine.home.parent / "application",
            spool=SpoolOptions(acknowledge_timeout=20.0, retry_cap=0.5),
        )

    def emit(self, count: int, **fields: Any) -> None:
        for _ in range(count):
            event = self.audit.emit("user.login_succeeded", actor="u1", **fields)
            assert event is not None
            self.ids.append(event.id)

    def arrived(self) -> bool:
        """Whether the spool is empty, and all of it is in OpenSearch once, by the replayer or without it."""
        if not self.audit.flush(timeout=90):
            return False
        return bool(until(self._are_stored))

    def _are_stored(self) -> bool:
        asked = [{"_index": index_of_id(one), "_id": one, "_source": False} for one in self.ids]
        docs = operator(self.machine).mget(body={"docs": asked})["docs"]
        return [doc.get("_version") for doc in docs] == [1] * len(self.ids)


@pytest.fixture
def application(machine: Machine) -> Iterator[Application]:
    """And a check that nothing was given up or parked, and all is sound."""
    made = Application(machine)
    with made.audit:
        yield made
    until(lambda: machine.run("verify", "--grace", "0").returncode == 0)
    assert not list((machine.home / "dead-letters").rglob("*.ndjson")), "nothing was given up, nothing is parked still"


def operator(machine: Machine) -> Any:
    return connect(load({"home": str(machine.home)}, profile="operator", environment={}))


def told(machine: Machine, *words: str) -> str:
    """What `status` says, as soon as one of these is in it. An event is held up, and after 10 s it may be parked."""
    said = ""

    def is_said() -> bool:
        nonlocal said
        said = machine.run("status").stdout
        return any(one in said for one in words)

    until(is_said)
    return said


def blocks(client: Any) -> list[Any]:
    found = client.indices.get_settings(index="audit-events-*", name="index.blocks.*")
    return [one["settings"] for one in found.values()]


@contextmanager
def suspended(machine: Machine) -> Iterator[None]:
    process = psutil.Process(machine.pids()["opensearch"])
    process.suspend()
    try:
        yield
    finally:
        process.resume()


def test_a_node_that_is_paused(machine: Machine, application: Application) -> None:
    """Its connections stay open, and nothing comes back; new ones get no handshake."""
    application.emit(20)
    assert application.arrived()
    with suspended(machine):
        application.emit(20)
        said = told(machine, "events wait: unanswered", "events wait: unreachable")
        assert "nobody can be asked: OpenSearch is suspended" in said
        assert not application.audit.flush(timeout=0.1)
    application.emit(20)
    assert application.arrived()


def test_a_node_without_template_month_and_writer(machine: Machine, application: Application) -> None:
    """Someone with the admin certificate has removed them. `up` provisions anew."""
    # Of the last months, for provisioning makes each one from there to the present.
    early = datetime.now(UTC) - timedelta(days=70)
    client = operator(machine)
    client.transport.perform_request("DELETE", "/_index_template/audit-events")
    client.transport.perform_request("DELETE", "/_plugins/_security/api/rolesmapping/audit_writer")
    application.emit(10)
    application.emit(10, occurred_at=early)
    told(machine, "the shipper needs the role audit_writer", "refuses the shipper: it needs the role audit_writer")
    findings = found(machine.run("doctor", "-o", "json"))
    assert findings["template audit-events"] == "missing"
    assert "does not have the role audit_writer" in findings["shipper's sign-in"]
    up = machine.run("up", "--no-console")
    assert up.returncode == 0, up.stderr
    told(
        machine,
        "make the month with `auditpipe provision`",
        f"does not exist: auditpipe provision --from {early:%Y-%m}",
    )
    provision = machine.run("provision", "--profile", "operator", "--from", f"{early:%Y-%m}")
    assert provision.returncode == 0, provision.stderr
    assert application.arrived()


def test_a_month_that_was_closed(machine: Machine, application: Application) -> None:
    """It is green, and a search passes over it without a word."""
    client = operator(machine)
    client.indices.create(index="audit-events-1984.04")
    client.indices.close(index="audit-events-1984.04")
    application.emit(5, occurred_at="1984-04-04T00:00:00Z")
    said = told(machine, "events wait: closed_index", "index audit-events-1984.04 is closed: open it")
    assert "a month is closed" in said
    assert "audit-events-1984.04 closed" in found(machine.run("doctor", "-o", "json"))["closed"]
    client.indices.open(index="audit-events-1984.04")
    assert application.arrived()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_node_that_ends_under_load(machine: Machine, application: Application, how: signal.Signals) -> None:
    """What it had acknowledged is in its translog; what it had not is sent again, to the next one."""
    for round_ in range(30):
        application.emit(20)
        if round_ == 15:
            psutil.Process(machine.pids()["opensearch"]).send_signal(how)
        sleep(0.02)
    told(machine, "events wait: unreachable: https://127.0.0.1")
    doctor = machine.run("doctor", "-o", "json")
    assert "nothing listens there" in found(doctor)["cluster"]
    assert "has ended" in found(doctor)["opensearch"]
    assert not application.audit.flush(timeout=0.1)
    up = machine.run("up", "--shipper=relay", "--heap=512m", "--no-console")
    assert up.returncode == 0, up.stderr
    assert application.arrived()


def test_a_node_whose_disk_is_full(machine: Machine, application: Application) -> None:
    """The watermarks are put below what is used: the node itself blocks its indices, and lifts that.

    The last of these: for a while after it the node may refuse to make an index.
    """
    marks = {f"{WATERMARK}.{name}": f"{n}b" for name, n in (("low", 2**62), ("high", 2**62), ("flood_stage", 2**62))}
    marks["cluster.info.update.interval"] = "10s"
    client = operator(machine)
    client.cluster.put_settings(body={"persistent": marks})
    try:
        until(lambda: any(blocks(client)))
        application.emit(20)
        assert "free some of it" in told(machine, "events wait: disk_full")
        findings = found(machine.run("doctor", "-o", "json"))
        assert "over the flood stage" in findings["disk of auditpipe"]
        assert "the disk was full" in findings["blocks"]
    finally:
        # The node lifts the block on new indices by itself too, but a minute later.
        client.cluster.put_settings(body={"persistent": dict.fromkeys([*marks, "cluster.blocks.create_index"])})
    assert application.arrived()
