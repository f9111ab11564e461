"""What needs a real node: shipping against a bulk load, export against a bare scan, a search as a whole process."""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from opensearchpy import OpenSearch

from auditpipe.emitters import AuditLog, MemoryTransport
from auditpipe.pipeline import export
from auditpipe.pipeline.client import connect
from auditpipe.pipeline.local import stack
from auditpipe.pipeline.local.home import Home
from auditpipe.pipeline.local.stack import UpOptions
from auditpipe.pipeline.query import Filters
from auditpipe.pipeline.verify import from_file, from_index
from auditpipe.pipeline.verify.chain import Tally, verdict
from auditpipe.pipeline.verify.view import Terms
from auditpipe.schemas.identity import index_of_id
from auditpipe.schemas.settings import load
from benchmarks.emitting import CHANGE
from benchmarks.figures import Figure, at_least, at_most, paired

SHIPPED, SCANNED, ROUNDS = 10_000, 50_000, 3
BULK = 2_000
SHORT_SCRIPT = Path(__file__).parent / "short_search.py"


@contextmanager
def running(shipper: str, ports: tuple[int, int, int], console_port: int | None = None) -> Iterator[Any]:
    """A local stack of its own, removed afterwards: settings of the Super Admin and the admin, forward, a folder.

    With a console where a port for it is given.
    """
    folder = Path(tempfile.mkdtemp(prefix="auditpipe-bench-"))
    home = Home(folder / "home")
    settings = load({"home": str(home.root)}, environment={"PATH": os.environ["PATH"]})
    try:
        wanted = UpOptions(*ports, shipper=shipper, console=console_port is not None, console_port=console_port)
        made = stack.up(settings, wanted)
        profiles = [load({"home": str(home.root)}, profile=name, environment={}) for name in ("local", "operator")]
        yield *profiles, made.forward, folder
    finally:
        stack.down(home)
        stack.purge(home)
        shutil.rmtree(folder)


def documents(count: int, organization: str) -> list[dict[str, Any]]:
    """Prepared documents, made as an application would."""
    memory = MemoryTransport()
    audit = AuditLog("bench", organization=organization, transport=memory)
    for _ in range(count):
        audit.emit("user.user.updated", **CHANGE)
    return [event.document() for event in memory.events]


def visible(client: OpenSearch, organization: str) -> int:
    query = {"query": {"term": {"organization.id": organization}}}
    found: int = client.count(index="audit-events-*", body=query)["count"]
    return found


def until_visible(client: OpenSearch, organization: str, count: int) -> None:
    deadline = time.monotonic() + 180
    while visible(client, organization) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{count} events of {organization} did not become searchable")
        time.sleep(0.02)


def bulk_rate(client: OpenSearch) -> float:
    """Events a second of prepared bulk bodies, until searchable: the ceiling."""
    organization = secrets.token_hex(6)
    bodies, made = [], documents(SHIPPED, organization)
    for start in range(0, SHIPPED, BULK):
        lines = []
        for document in made[start : start + BULK]:
            target = {"create": {"_index": index_of_id(document["event"]["id"]), "_id": document["event"]["id"]}}
            lines += [orjson.dumps(target), orjson.dumps(document)]
        bodies.append(b"\n".join([*lines, b""]))
    start_time = time.perf_counter()
    for body in bodies:
        assert not client.bulk(body=body)["errors"]
    until_visible(client, organization, SHIPPED)
    return SHIPPED / (time.perf_counter() - start_time)


def shipped_rate(client: OpenSearch, forward: str, folder: Path) -> float:
    """Events a second from the first emit until the last is searchable."""
    organization = secrets.token_hex(6)
    with AuditLog("bench", organization=organization, forward=forward, spool_dir=folder / "spool") as audit:
        start = time.perf_counter()
        for _ in range(SHIPPED):
            audit.emit("user.user.updated", **CHANGE)
        assert audit.flush(180), audit.stats()
        until_visible(client, organization, SHIPPED)
        return SHIPPED / (time.perf_counter() - start)


def forwarded_rate(client: OpenSearch, forward: str, folder: Path) -> float:
    """Events a second from a spool that is full already until the last is searchable: the shipper alone."""
    organization = secrets.token_hex(6)
    host, _, port = forward.rpartition(":")
    from auditpipe.emitters.forward import ForwardSender, entry
    from auditpipe.schemas.identity import parse_time

    made = [entry(parse_time(d["@timestamp"]), d) for d in documents(SHIPPED, organization)]
    sender = ForwardSender(host, int(port), timeout=120)
    start = time.perf_counter()
    for first in range(0, SHIPPED, BULK):
        batch = made[first : first + BULK]
        sender.deliver(b"".join(batch), len(batch))
    until_visible(client, organization, SHIPPED)
    return SHIPPED / (time.perf_counter() - start)


def figures(fluent_bit: bool) -> Iterator[Figure]:
    with running("relay", (19310, 34310, 34380)) as (reader, admin, forward, folder):
        client = connect(admin)
        yield at_least(
            0.6, name="relay to searchable", peer="bulk load of prepared bodies", unit="events/s",
            **_pair(ROUNDS, lambda: forwarded_rate(client, forward, folder), lambda: bulk_rate(client)),
        )  # fmt: skip
        yield at_least(
            0.6, name="emit to searchable (relay)", peer="bulk load of prepared bodies", unit="events/s",
            **_pair(ROUNDS, lambda: shipped_rate(client, forward, folder), lambda: bulk_rate(client)),
        )  # fmt: skip
        yield from _reading(client, reader, folder)
    if fluent_bit:
        with running("fluent-bit", (19311, 34311, 34381)) as (_, admin, forward, folder):
            client = connect(admin)
            yield at_least(
                0.6, name="Fluent Bit to searchable", peer="bulk load of prepared bodies", unit="events/s",
                **_pair(ROUNDS, lambda: forwarded_rate(client, forward, folder), lambda: bulk_rate(client)),
            )  # fmt: skip


def _pair(rounds: int, ours: Any, theirs: Any) -> dict[str, list[float]]:
    mine, other = paired(rounds, ours, theirs)
    return {"ours": mine, "theirs": other}


def _reading(client: OpenSearch, reader: Any, folder: Path) -> Iterator[Figure]:
    while (there := client.count(index="audit-events-*")["count"]) < SCANNED:
        bulk_rate(client)
    who = connect(reader)
    yield at_least(
        0.7, name=f"export of {there:,} events", peer="bare PIT scan", unit="events/s",
        **_pair(ROUNDS, lambda: export_rate(who, folder), lambda: scan_rate(who)),
    )  # fmt: skip
    yield at_least(
        0.5, name=f"verify of {there:,} events", peer="export of them", unit="events/s",
        **_pair(ROUNDS, lambda: verify_rate(who), lambda: export_rate(who, folder)),
    )  # fmt: skip
    exported = folder / "verified.ndjson"
    export.to_file(who, export.Request(Filters()), exported)
    yield at_least(
        1.0, name=f"verify of a file of {there:,}", peer="export of it", unit="events/s",
        **_pair(ROUNDS, lambda: verify_file_rate(exported), lambda: export_rate(who, folder)),
    )  # fmt: skip
    environment = {**os.environ, "AUDITPIPE_HOME": str(reader.home)}
    command = [sys.executable, "-m", "auditpipe.cli", "search", "--limit", "20"]
    script = [sys.executable, str(SHORT_SCRIPT), reader.url, reader.get("ca_file"), reader.get("username")]
    yield at_most(
        1.3, name="auditpipe search", peer="short click and opensearch-py script", unit="s",
        **_pair(
            9, lambda: process_seconds(command, environment),
            lambda: process_seconds([*script, reader.get("password_file")], environment),
        ),
    )  # fmt: skip


def export_rate(client: OpenSearch, folder: Path) -> float:
    target = folder / f"{secrets.token_hex(4)}.ndjson"
    start = time.perf_counter()
    manifest = export.to_file(client, export.Request(Filters()), target)
    return manifest.count / (time.perf_counter() - start)


def verify_rate(client: OpenSearch) -> float:
    start, tally, terms = time.perf_counter(), Tally(), Terms()
    view = from_index.view_of(client, Filters(), terms)
    with from_index.findings(client, Filters(), view, tally, export.silent, terms) as flaws:
        assert not list(flaws)
    return _verified(tally, verdict(tally, view), start)


def verify_file_rate(file: Path) -> float:
    start, tally = time.perf_counter(), Tally()
    with from_file.findings(from_file.open_export(file), tally, export.silent, Terms()) as (view, flaws):
        assert not list(flaws)
    return _verified(tally, verdict(tally, view), start)


def _verified(tally: Tally, said: str, start: float) -> float:
    assert said == "sound", said
    return tally.events / (time.perf_counter() - start)


def scan_rate(client: OpenSearch) -> float:
    """PIT and search_after with nothing done to the hits."""
    start, count = time.perf_counter(), 0
    pit = client.create_pit(index="audit-events-*", params={"keep_alive": "1m"})["pit_id"]
    body: dict[str, Any] = {"size": 1000, "pit": {"id": pit}, "sort": [{"@timestamp": "asc"}, {"event.id": "asc"}]}
    while hits := client.search(body=body)["hits"]["hits"]:
        count += len(hits)
        body["search_after"] = hits[-1]["sort"]
    client.delete_pit(body={"pit_id": [pit]})
    return count / (time.perf_counter() - start)


def process_seconds(command: list[str], environment: dict[str, str]) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert done.stdout.count(b"\n") >= 20
    return time.perf_counter() - start
