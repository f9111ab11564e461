"""A fake OpenSearch over HTTP, for faults that a real node can't be made to give on demand.

It answers `_bulk` and `_mget` as 3.4 does (tests on the real node hold the classification to that) and can be told to
answer the next requests otherwise: 429 with Retry-After, 503, garbage, a cut connection. It proves nothing about
OpenSearch itself.
"""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from auditpipe.schemas.identity import RECORDS_INDEX
from auditpipe.schemas.settings import Settings, load


@dataclass(frozen=True)
class Fault:
    """An answer that is not OpenSearch's usual one. `body` None: the connection is cut."""

    status: int = 503
    body: bytes | None = b'{"error":"unavailable","status":503}'
    headers: tuple[tuple[str, str], ...] = ()


CUT = Fault(body=None)
Rule = Callable[[str, dict[str, Any]], dict[str, Any] | None]


@dataclass
class FakeOpenSearch:
    """What is stored, by id, and what was asked."""

    port: int = 0
    documents: dict[str, Any] = field(default_factory=dict)
    #: What the index of records holds, by id.
    records: dict[str, Any] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    #: While set, every request gets it.
    outage: Fault | None = None
    #: An answer of its own for an item, by action and document.
    rule: Rule = lambda _id, _document: None
    #: Larger requests get 413, as from a proxy.
    largest: int = 2**31
    #: While cleared, requests are read and not answered, as by a node that is paused.
    running: threading.Event = field(default_factory=threading.Event)
    paused: int = 0
    requests: list[tuple[str, int]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def bulks(self) -> int:
        """How many bulk requests came."""
        return sum(path == "/_bulk" for path, _ in self.requests)

    @property
    def settings(self) -> Settings:
        return load({"url": f"http://127.0.0.1:{self.port}"}, environment={})

    def settings_with(self, ca_file: Path) -> Settings:
        """Over HTTPS."""
        return load({"url": f"https://127.0.0.1:{self.port}", "ca_file": str(ca_file)}, environment={})

    def bulk(self, body: bytes) -> Any:
        lines = body.split(b"\n")
        items = [self._item(json.loads(a)["create"], b) for a, b in zip(lines[::2], lines[1::2], strict=False)]
        return {"took": 1, "errors": any(i["create"]["status"] != 201 for i in items), "items": items}

    def mget(self, body: bytes) -> Any:
        docs = []
        for one in json.loads(body)["docs"]:
            if one["_index"] == RECORDS_INDEX:
                found = self.records.get(one["_id"])
                docs.append({"found": found is not None, "_source": found})
                continue
            stored = self.documents.get(one["_id"])
            source = {"audit": {"hash": stored["audit"]["hash"]}} if stored and "hash" in stored["audit"] else {}
            docs.append({"found": stored is not None, "_source": source})
        return {"docs": docs}

    def _item(self, action: dict[str, str], document: bytes) -> dict[str, Any]:
        try:
            return self._create(action, json.loads(document, object_pairs_hook=_once_each))
        except ValueError:
            error = {"type": "mapper_parsing_exception", "reason": "failed to parse"}
            return {"create": {"status": 400, "error": error}}

    def _create(self, action: dict[str, str], document: dict[str, Any]) -> dict[str, Any]:
        answer = self.rule(action["_index"], document)
        if answer is None and action["_id"] in self.documents:
            answer = {"status": 409, "error": {"type": "version_conflict_engine_exception", "reason": "exists"}}
        if answer is None:
            self.documents[action["_id"]] = document
            answer = {"status": 201}
        return {"create": answer}


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a key that comes twice")
    return found


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeOpenSearch

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        fake = self.fake
        fake.paused += not fake.running.is_set()
        fake.running.wait()
        with fake.lock:
            fake.requests.append((self.path.partition("?")[0], len(body)))
            fault = fake.outage or (fake.faults.pop(0) if fake.faults else None)
            if fault is None and len(body) > fake.largest:
                fault = Fault(413, b"<html>Request Entity Too Large</html>")
            if fault is None:
                answer = fake.bulk(body) if self.path.startswith("/_bulk") else fake.mget(body)
                fault = Fault(200, json.dumps(answer).encode())
        if fault.body is None:
            self.close_connection = True
            return
        self.send_response(fault.status)
        for name, value in fault.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(fault.body)))
        self.end_headers()
        self.wfile.write(fault.body)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def fake_opensearch(tls: ssl.SSLContext | None = None) -> Iterator[FakeOpenSearch]:
    """Over HTTPS where a context is given."""
    fake = FakeOpenSearch()
    fake.running.set()
    handler = type("Handler", (_Handler,), {"fake": fake})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if tls is not None:
        # The handshake is each connection's own thread's, not the listener's.
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    fake.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        fake.running.set()
        server.shutdown()
        server.server_close()
