"""OpenSearch under faults, with a real node: events wait where they are, nothing is given up, the cause is told.

The faults are confined to a month and a user of the test's own, since the node is shared. What befalls a whole node, a
full disk among it, is in tests/cli/commands/test_stack_faults.py.
"""

import secrets
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from auditpipe.emitters import AuditLog, SpoolOptions
from auditpipe.pipeline.deadletter.replay import Replayer
from auditpipe.pipeline.doctor import cluster
from auditpipe.pipeline.doctor.check import Level
from auditpipe.pipeline.local import certificates, health
from auditpipe.pipeline.local.process import Record
from auditpipe.pipeline.relay.config import Limits
from auditpipe.pipeline.relay.transport import open_transport
from auditpipe.schemas.settings import Settings, load
from tests.conftest import RealOpenSearch
from tests.pipeline.relay.running import RunningRelay, running_relay
from tests.pipeline.relay.test_parking import parked
from tests.proxy import pump
from tests.waiting import until

pytestmark = pytest.mark.opensearch

#: Nothing is parked, so that the spool is where events wait; a client that has to send again does so soon.
PATIENT = Limits(stop=2.0, park_after=3600.0)
SPOOL = SpoolOptions(acknowledge_timeout=20.0, retry_cap=0.5)
COUNT = 5


@dataclass(frozen=True)
class Place:
    """A month and a writer that no other test has."""

    node: RealOpenSearch
    month: str
    writer: Settings

    @property
    def index(self) -> str:
        return f"audit-events-{self.month.replace('-', '.')}"

    def make_month(self, **settings: Any) -> None:
        self.node.request("PUT", f"/{self.index}?wait_for_active_shards=0", {"settings": settings})

    def set(self, name: str, value: Any) -> None:
        self.node.request("PUT", f"/{self.index}/_settings", {name: value})

    def change_writer(self, **fields: Any) -> None:
        name = self.writer.get("username")
        changes = [{"op": "add", "path": f"/{key}", "value": value} for key, value in fields.items()]
        self.node.request("PATCH", f"/_plugins/_security/api/internalusers/{name}", changes)

    def stored(self) -> list[int]:
        """The version of each event that is in the month."""
        self.node.request("POST", f"/{self.index}/_refresh")
        hits = self.node.request("GET", f"/{self.index}/_search?version=true&size=100")["hits"]["hits"]
        return [hit["_version"] for hit in hits]


Step = Callable[[Place], None]


@dataclass(frozen=True)
class Fault:
    """How it comes and goes, the relay's word for it, and whether `doctor` finds it at the cluster, in which line."""

    breaks: Step
    mends: Step
    trouble: str
    doctor: str = ""


def red(place: Place) -> None:
    place.make_month(**{"index.routing.allocation.require._name": "nowhere"})


def blocked(place: Place) -> None:
    place.make_month(**{"index.blocks.write": True})


def wrong_password(place: Place) -> None:
    place.make_month()
    place.change_writer(password=f"Aa1-{secrets.token_urlsafe(20)}")


def without_role(place: Place) -> None:
    place.make_month()
    place.change_writer(opendistro_security_roles=[])


FAULTS = {
    "red index": Fault(
        red, lambda place: place.set("index.routing.allocation.require._name", None), "missing_shard", "health"
    ),
    "write block": Fault(blocked, lambda place: place.set("index.blocks.write", None), "write_block", "blocks"),
    "wrong password": Fault(
        wrong_password,
        lambda place: place.change_writer(password=place.writer.password),
        "credentials",
        "shipper's sign-in",
    ),
    "no role": Fault(
        without_role,
        lambda place: place.change_writer(opendistro_security_roles=["audit_writer"]),
        "permission",
        "shipper's sign-in",
    ),
    "missing month": Fault(lambda _: None, Place.make_month, "missing_index"),
}


@pytest.fixture
def place(opensearch: RealOpenSearch, request: pytest.FixtureRequest) -> Iterator[Place]:
    month = f"1983-{list(FAULTS).index(request.getfixturevalue('name')) + 1:02d}"
    made = Place(opensearch, month, opensearch.add_user("audit_writer"))
    yield made
    # A red month would make the whole node red for the tests that follow.
    opensearch.request("DELETE", f"/{made.index}?ignore_unavailable=true")


def log_to(relay: RunningRelay, folder: Path) -> AuditLog:
    return AuditLog(
        service="s",
        organization="acme",
        forward=f"127.0.0.1:{relay.port}",
        spool_dir=folder,
        spool=SPOOL,
        exit_timeout=1,
    )


def emit(audit: AuditLog, month: str) -> None:
    for number in range(COUNT):
        audit.emit("user.login_succeeded", actor="u1", occurred_at=f"{month}-02T00:00:{number:02d}Z")


def told(relay: RunningRelay) -> dict[str, str]:
    """The findings of `status` and `doctor` on this relay, with what to do."""
    metrics = f"http://127.0.0.1:{relay.relay.ports[1]}/metrics"
    record = Record("shipper", 1, 0.0, "", "127.0.0.1:1", "/the/log", "relay", metrics)
    return {check.sentence: check.remedy for check in health.examine(record) if check.level is Level.FINDING}


@pytest.mark.parametrize("name", FAULTS)
def test_events_wait_in_the_spool_the_cause_is_told_and_all_arrive_once(
    place: Place, tmp_path: Path, name: str
) -> None:
    fault = FAULTS[name]
    fault.breaks(place)
    with running_relay(place.writer, tmp_path / "dead", PATIENT) as relay, log_to(relay, tmp_path / "spool") as audit:
        emit(audit, place.month)
        until(lambda: relay.metric(f'waiting_events{{reason="{fault.trouble}"}}'))
        assert audit.stats().spooled == COUNT
        assert (relay.letters(), parked(tmp_path / "dead")) == ([], [])
        [(sentence, remedy)] = told(relay).items()
        assert sentence.endswith(f"events wait: {fault.trouble}")
        assert "the/log" not in remedy, "a known cause has its own remedy"
        if fault.doctor:
            findings = [c for c in cluster.examine(place.node.admin, place.writer) if c.level is Level.FINDING]
            [found] = [check for check in findings if check.name == fault.doctor]
            expected = place.writer.get("username") if fault.doctor == "shipper's sign-in" else place.index
            assert str(expected) in found.sentence
        fault.mends(place)
        assert audit.flush(120)
        assert place.stored() == [1] * COUNT
        assert relay.page("/healthz") == (200, "ok\n")
        assert relay.letters() == []


@pytest.mark.parametrize("name", ["red index"])
def test_a_red_month_holds_up_no_other_and_its_events_wait_on_disk(place: Place, tmp_path: Path, name: str) -> None:
    """The node itself would wait a minute for the shard, and every bulk with it."""
    red(place)
    folder, limits = tmp_path / "dead", Limits(stop=2.0, park_after=0.1, park_tries=1)
    with running_relay(place.writer, folder, limits) as relay, log_to(relay, tmp_path / "spool") as audit:
        emit(audit, place.month)
        other = audit.emit("user.login_succeeded", actor="u1")
        assert audit.flush(120)
        assert other is not None
        assert len(parked(folder)) == COUNT
        assert {letter["reason"]["type"] for letter in parked(folder)} == {"missing_shard"}
        assert relay.letters() == []
    place.set("index.routing.allocation.require._name", None)
    replayer, stop = Replayer(open_transport(place.writer)), threading.Event()
    thread = threading.Thread(target=replayer.watch, args=([folder], stop), kwargs={"interval": 0.1})
    thread.start()
    try:
        until(lambda: not parked(folder))
    finally:
        stop.set()
        thread.join(120)
    assert place.stored() == [1] * COUNT


@contextmanager
def behind(node: RealOpenSearch, context: ssl.SSLContext) -> Iterator[int]:
    """A port that shows the certificate of this context, and leads to the node."""
    url = urlsplit(node.url)
    trusting = ssl.create_default_context(cafile=str(node.ca_file))
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(plain: socket.socket) -> None:
        with suppress(OSError):
            near = context.wrap_socket(plain, server_side=True)
            far = trusting.wrap_socket(
                socket.create_connection(("127.0.0.1", int(url.port or 443))), server_hostname="127.0.0.1"
            )
            threading.Thread(target=pump, args=(far, near), daemon=True).start()
            pump(near, far)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    with suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.mark.parametrize("name", ["missing month"])
def test_a_certificate_that_has_expired_is_named_and_its_renewal_is_enough(
    place: Place, tmp_path: Path, name: str
) -> None:
    place.make_month()
    folder = tmp_path / "certs"
    old = certificates.ensure(folder, now=datetime.now(UTC) - certificates.LIFETIME - timedelta(days=2))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(old.node.certificate, old.node.key)
    with behind(place.node, context) as port:
        given = {"url": f"https://127.0.0.1:{port}", "ca_file": str(old.ca), "username": place.writer.get("username")}
        password = str(place.node.home / "secrets" / str(place.writer.get("username")))
        writer = load({**given, "password_file": password}, environment={"HOME": str(tmp_path)})
        with running_relay(writer, tmp_path / "dead", PATIENT) as relay, log_to(relay, tmp_path / "spool") as audit:
            emit(audit, place.month)
            until(lambda: relay.metric('waiting_events{reason="unreachable"}'))
            assert "has expired" in relay.page("/healthz")[1]
            assert "has expired" in next(iter(told(relay)))
            [found] = cluster.examine(writer)
            assert (found.level, "has expired" in found.sentence) == (Level.FINDING, True)
            renewed = certificates.ensure(folder)
            assert renewed.renewed
            context.load_cert_chain(renewed.node.certificate, renewed.node.key)
            assert audit.flush(120)
            assert relay.letters() == []
    assert place.stored() == [1] * COUNT
