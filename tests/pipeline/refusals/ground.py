"""What the calls of the refusal table are made on: a month, indices, a snapshot and a user of the test's own.

All of it is made and removed with the admin certificate; the node forgets scroll and point in time by itself. Whatever
a call should not have been able to do would be done to these, and not to what other tests share.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError

from auditpipe.schemas.identity import index_of, parse_time
from tests.builders import Document, event

API = "/_plugins/_security/api"
_LONG_AGO = parse_time("1971-02-03T04:05:06Z")
#: In this month there are no events; it is there to be deleted, shrunk and the like.
_SPARE = "audit-events-1971.03"
#: This one is closed, as a month has to be before anyone restores over it.
_CLOSED = "audit-events-1971.05"
_SPARE_BODY = {"settings": {"index.number_of_shards": 2, "index.blocks.write": True}}

Request = tuple[str, str, Any]


@dataclass(frozen=True)
class Ground:
    """Names are of this run alone; `mine` and `theirs` are events of two organizations, `victim` is to be altered."""

    name: str
    month: str
    spare: str
    closed: str
    mine: Document
    theirs: Document
    victim: Document
    pit: str

    @property
    def record(self) -> str:
        """An index under the pattern of the node's record of who looked."""
        return f"security-auditlog-{self.name}"

    @property
    def both(self) -> dict[str, Any]:
        """A query for the events of the two organizations."""
        return {"terms": {"event.id": [id_of(self.mine), id_of(self.theirs)]}}

    @property
    def put_spare(self) -> Request:
        """Make the spare month, again."""
        return ("PUT", f"/{self.spare}", _SPARE_BODY)

    @property
    def put_victim(self) -> Request:
        """The victim as it was."""
        return self._put(self.victim)

    @property
    def put_mine(self) -> Request:
        """The event of the limited reader's organization as it was."""
        return self._put(self.mine)

    def _put(self, document: Document) -> Request:
        return ("PUT", f"/{self.month}/_doc/{id_of(document)}?refresh=true", document)

    @property
    def removal(self) -> dict[str, Any]:
        """A record of a removal, of the limited reader's organization; unsigned, so that it explains nothing."""
        about = {"@timestamp": "1971-02-03T04:05:06.000Z", "kind": "removed", "record": f"removal of {self.name}"}
        return {**about, "month": "1971-02", "organization": {"id": f"{self.name}-mine"}}

    @property
    def put_removal(self) -> Request:
        """The record as it was."""
        return ("PUT", f"/audit-records/_doc/{self.name}?refresh=true", self.removal)

    def scroll(self, client: OpenSearch) -> Request:
        """Go on with a scroll that somebody else has just begun: the node forgets one that a stranger asks for."""
        begun = send(client, ("POST", f"/{self.month}/_search?scroll=5m", {"size": 1}))["_scroll_id"]
        return ("POST", "/_search/scroll", {"scroll_id": begun, "scroll": "1s"})

    @staticmethod
    def put_user(name: str) -> Request:
        """Make a user with a password that nobody knows."""
        return ("PUT", f"{API}/internalusers/{name}", {"password": f"Aa1-{secrets.token_urlsafe(20)}"})

    @property
    def take_snapshot(self) -> Request:
        """The snapshot, again."""
        body = {"indices": f"{self.name},{self.closed}", "include_global_state": False}
        return ("PUT", f"/_snapshot/{self.name}/taken?wait_for_completion=true", body)


def id_of(document: Document) -> str:
    """`event.id`, and `_id`."""
    return str(document["event"]["id"])


@contextmanager
def prepared(client: OpenSearch) -> Iterator[Ground]:
    """The ground, removed at the end; `client` is the admin certificate's."""
    name, month = f"refusals-{secrets.token_hex(4)}", index_of(_LONG_AGO)
    mine, theirs, victim = (
        event(_LONG_AGO, organization__id=f"{name}-{whose}", message=f"a secret of {name}-{whose}")
        for whose in ("mine", "theirs", "victim")
    )
    try:
        send(client, ("PUT", f"/{month}", None))
        for document in (victim, mine, theirs):
            send(client, ("PUT", f"/{month}/_create/{id_of(document)}?refresh=true", document))
        pit = send(client, ("POST", f"/{month}/_search/point_in_time?keep_alive=5m", None))["pit_id"]
        ground = Ground(name, month, _SPARE, _CLOSED, mine, theirs, victim, pit)
        for request in _requests(ground):
            send(client, request)
        yield ground
    finally:
        for path in _made(name, month):
            _remove(client, path)


def send(client: OpenSearch, request: Request) -> Any:
    """Make one request."""
    method, path, body = request
    return client.transport.perform_request(method, path, body=body)


def _requests(ground: Ground) -> Iterator[Request]:
    """What is there before the first call."""
    name = ground.name
    yield ground.put_spare
    yield "PUT", f"/{name}/_create/seed?refresh=true", {"message": f"seed of {name}"}
    yield "PUT", f"/{name}/_create/{id_of(ground.victim)}?refresh=true", {"event": {"id": id_of(ground.victim)}}
    record = {"@timestamp": "1971-02-03T04:05:06.000Z", "audit_request_body": f"looked of {name}"}
    yield "PUT", f"/{ground.record}/_create/looked?refresh=true", record
    yield ground.put_removal
    yield "PUT", f"/audit-records-{name}", None
    yield "PUT", f"/_index_template/{name}", {"index_patterns": [f"{name}-none-*"]}
    yield "PUT", f"/_snapshot/{name}", {"type": "fs", "settings": {"location": name}}
    yield "PUT", f"/{ground.closed}", _SPARE_BODY
    # A search by the alias would fail at a closed index.
    yield "POST", "/_aliases", {"actions": [{"remove": {"index": ground.closed, "alias": "audit-events"}}]}
    yield ground.take_snapshot
    yield "POST", f"/{ground.closed}/_close", None
    yield ground.put_user(name)
    yield "PUT", f"{API}/roles/{name}", {"cluster_permissions": []}


def _made(name: str, month: str) -> Iterator[str]:
    """What is there, and what a call may have made where the test failed before it was undone."""
    yield from (
        f"/{month}",
        f"/{_SPARE}",
        f"/{_CLOSED}",
        "/audit-events-1971.06",
        f"/{name}",
        f"/security-auditlog-{name}",
        f"/_index_template/{name}",
    )
    yield from (f"/audit-records/_doc/{name}", f"/audit-records/_doc/{name}-theirs", f"/audit-records-{name}")
    yield from (f"/_snapshot/{name}/taken", f"/_snapshot/{name}", f"/_snapshot/{name}-other")
    yield from (f"{API}/rolesmapping/{name}", f"{API}/tenants/{name}", f"/_ingest/pipeline/{name}")
    for made in (name, f"{name}-new"):
        yield from (f"{API}/internalusers/{made}", f"{API}/roles/{made}")


def _remove(client: OpenSearch, path: str) -> None:
    try:
        send(client, ("DELETE", path, None))
    except NotFoundError:
        return  # undone already, or never made because something before it failed, which is what the test tells
