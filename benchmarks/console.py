"""The console's list over many events, against the bare OpenSearch queries behind each page; and the size of a page."""

import re
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import httpx
import orjson
from opensearchpy import OpenSearch

from auditpipe.dashboards.console import counts, filters, paging
from auditpipe.emitters import AuditLog, MemoryTransport
from auditpipe.pipeline.client import connect
from auditpipe.pipeline.query import Filters
from auditpipe.pipeline.reader import ALL_MONTHS
from auditpipe.schemas.event import Event
from auditpipe.schemas.identity import INDEX_PATTERN, index_of
from auditpipe.schemas.settings import Settings
from benchmarks.cluster import running
from benchmarks.figures import Figure, at_most, paired

PORTS, CONSOLE_PORT = (19312, 34312, 34382), 34812
MONTHS, BULK, ROUNDS = 6, 2_000, 15
PEOPLE, TEAMS = 400, 60
MOST_BYTES = 150_000
_TOKEN = re.compile(r'name="token" value="([^"]+)"')


class Loader(MemoryTransport):
    """Stores what is emitted by bulk requests of prepared bodies, one under way while the next is made."""

    def __init__(self, client: OpenSearch, pool: ThreadPoolExecutor) -> None:
        super().__init__()
        self._client, self._pool = client, pool
        self._lines: list[bytes] = []
        self._sent: Future[None] | None = None

    def append(self, event: Event, document: dict[str, object], moment: int) -> int:
        target = {"create": {"_index": index_of(moment), "_id": event.event.id}}
        self._lines += [orjson.dumps(target), orjson.dumps(document)]
        if len(self._lines) >= 2 * BULK:
            self.send()
        return 0

    def send(self) -> None:
        self.wait()
        body, self._lines = b"\n".join([*self._lines, b""]), []
        self._sent = self._pool.submit(self._store, body)

    def wait(self) -> None:
        if self._sent is not None:
            self._sent.result()

    def _store(self, body: bytes) -> None:
        assert not self._client.bulk(body=body)["errors"]


def load(client: OpenSearch, count: int) -> None:
    """So many events of the last whole months, each month made from the provisioned template."""
    end = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    start = end - timedelta(days=30 * MONTHS)
    for month in {index_of(int((start + timedelta(days=day)).timestamp()) * 10**9) for day in range(30 * MONTHS)}:
        client.indices.create(index=month)
    random, step = Random(7), (end - start) / count
    with ThreadPoolExecutor(1) as pool:
        loader = Loader(client, pool)
        audit = AuditLog("bench", organization="bench", transport=loader)
        for number in range(count):
            emit(audit, random, start + number * step)
            if number % 100_000 == 0:
                print(f"loaded {number:,} of {count:,}", file=sys.stderr)
        if count % BULK:
            loader.send()
        loader.wait()
    client.indices.refresh(index=INDEX_PATTERN)


def emit(audit: AuditLog, random: Random, when: datetime) -> None:
    """One of what people do: sign in or fail to, change someone, change a team."""
    who, other = random.randrange(PEOPLE), random.randrange(PEOPLE)
    about: dict[str, Any] = {"actor": person(who), "ip": f"192.0.2.{who % 250}", "occurred_at": when}
    about |= {"session": f"s{who}-{when:%j}", "request": f"r{random.getrandbits(48):x}"}
    kind = random.random()
    if kind < 0.4:
        audit.emit("user.login_succeeded", target={"type": "user", **person(who)}, **about)
    elif kind < 0.5:
        failed = {"outcome": "failure", "reason": "bad_credentials"}
        audit.emit("user.login_failed", target={"type": "user", **person(who)}, **failed, **about)
    elif kind < 0.85:
        change = {"before": {"last_name": "Doe", "phone": "1"}, "after": {"last_name": "Dow", "phone": "2"}}
        audit.emit("user.user.updated", target={"type": "user", **person(other)}, **change, **about)
    else:
        team = {"type": "team", "id": f"t{other % TEAMS}", "name": f"Team {other % TEAMS}"}
        change = {"before": {"members": ["u1", "u2"]}, "after": {"members": ["u1", "u2", f"u{other}"]}}
        audit.emit("user.team.updated", target=team, **change, **about)


def person(number: int) -> dict[str, Any]:
    return {"id": f"u{number}", "name": f"person{number}"}


def signed_in(settings: Settings) -> httpx.Client:
    """A browser with a session of its own."""
    browser = httpx.Client(base_url=f"http://127.0.0.1:{CONSOLE_PORT}", timeout=300)
    match = _TOKEN.search(browser.get("/sign-in").text)
    assert match is not None
    given = {"token": match[1], "name": settings.get("username"), "password": settings.password, "next": "/"}
    assert browser.post("/sign-in", data=given).status_code == 303
    return browser


def figures(count: int) -> Iterator[Figure]:
    with running("relay", PORTS, CONSOLE_PORT) as (reader, admin, _forward, _folder):
        load(connect(admin), count)
        client, browser, sizes = connect(reader), signed_in(reader), list[float]()
        months = datetime.now(UTC) - timedelta(days=60)
        moments = iter(months + timedelta(seconds=second) for second in range(10_000))

        def page(link: str, by: httpx.Client = browser) -> float:
            start = time.perf_counter()
            answer = by.get(link)
            taken = time.perf_counter() - start
            assert answer.status_code == 200 and answer.text.count("<tr ") > paging.SIZE, answer.text[:2_000]
            sizes.append(len(answer.content) / 1e3)
            return taken * 1e3

        def filtered(ask: Callable[[str], float]) -> float:
            """Since another second each time, so that no answer is one that the node has kept."""
            return ask(f"/?action=user.login_failed&outcome=failure&since={next(moments):%Y-%m-%dT%H:%M:%S}")

        for name, ours, theirs in (
            ("first page", lambda: page("/"), lambda: bare(client, "/")),
            ("filtered page", lambda: filtered(page), lambda: filtered(lambda link: bare(client, link))),
            (
                "first page after signing in",
                lambda: page("/", signed_in(reader)),
                lambda: bare(client, "/") + suggestions(client),
            ),
        ):
            mine, other = paired(ROUNDS, ours, theirs)
            label = f"console, {name} of {count:,} events"
            yield at_most(2.0, name=label, peer="the queries behind it", unit="ms", ours=mine, theirs=other)
        limit = [MOST_BYTES / 1e3] * len(sizes)
        yield at_most(1.0, name="console, size of these pages", peer="the limit", unit="kB", ours=sizes, theirs=limit)


def bare(client: OpenSearch, link: str) -> float:
    """Milliseconds of the searches behind a page, one after the other, with nothing done to the answers."""
    meant: Filters = filters.meant(filters.typed(httpx.URL(link).params.multi_items()))
    start = time.perf_counter()
    found = ask(client, paging.search_body(meant, None, counts.AGGREGATIONS))["aggregations"]
    ask(client, counts.times_body(meant, counts.interval(int(found["oldest"]["value"]), int(found["newest"]["value"]))))
    return (time.perf_counter() - start) * 1e3


def suggestions(client: OpenSearch) -> float:
    start = time.perf_counter()
    ask(client, counts.suggestions_body())
    return (time.perf_counter() - start) * 1e3


def ask(client: OpenSearch, body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = client.search(index=INDEX_PATTERN, body=body, params={"expand_wildcards": ALL_MONTHS})
    return found
