"""A local HTTP server that answers as the saved objects API of OpenSearch Dashboards does. It is not Dashboards.

Dashboards is published as no package, so its answers are taken from its source (3.4): `saved_objects/routes` and
`saved_objects/import` with their tests, and of the security plugin `tenant_resolver.ts`, `authentication_type.ts` and
`multitenancy/routes.ts`. What a test wants to go wrong is set in `Trouble`.
"""

import base64
import email
import html
import json
import secrets
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from auditpipe.dashboards.check.form import ATTRIBUTES
from auditpipe.dashboards.objects.saved import MIGRATION_VERSIONS

USER, PASSWORD = "root-admin", "Aa1-a-password-that-no-message-shows"
#: Stays unread by `import`: it is in a session, encrypted.
COOKIE = "security_authentication"

Key = tuple[str, str]
Stored = dict[str, Any]


@dataclass
class Trouble:
    """What goes wrong."""

    starting: int = 0  # so many requests are answered 503 first
    opensearch_away: int = 0  # so many are answered 401, because OpenSearch can't be asked who it is
    red: bool = False
    no_multitenancy: bool = False
    conflicts: set[Key] = field(default_factory=set)  # objects that an import may not overwrite
    fails: set[Key] = field(default_factory=set)  # objects that OpenSearch does not store, the others it does
    lost: set[Key] = field(default_factory=set)  # said to be stored, and not
    altered: set[Key] = field(default_factory=set)  # stored otherwise than sent
    hangs_up: str = ""  # the end of a path: the request is done and gets no answer
    dead_after_import: bool = False
    moved: str = ""  # everything is elsewhere


class Fake:
    """State: objects by tenant, and of which tenants the one user may see (False) or change (True) them."""

    def __init__(self) -> None:
        self.tenants: dict[str, bool] = {"audit": True}
        self.objects: dict[str, dict[Key, Stored]] = {}
        self.trouble = Trouble()
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.sessions: dict[str, str] = {}
        self.url = ""
        self.dead = False

    def put(self, tenant: str, document: dict[str, Any]) -> None:
        """Something that somebody had there before."""
        stored = {**document, "updated_at": "2026-01-01T00:00:00.000Z", "version": "WzEsMV0="}
        self.objects.setdefault(tenant, {})[document["type"], document["id"]] = stored

    def state(self) -> dict[str, dict[Key, Any]]:
        """All that is stored, without when and how often it was written."""
        return {
            tenant: {key: (one["attributes"], one.get("references", [])) for key, one in held.items()}
            for tenant, held in self.objects.items()
            if held
        }

    def written(self) -> list[str]:
        """Paths of the requests that could change something."""
        return [path for method, path, _ in self.requests if method != "GET" and not path.endswith("_bulk_get")]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet an answer: the end of two would wait for an acknowledgement of the first
    fake: Fake
    tenant: str

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_DELETE(self) -> None:
        self._handle()

    def _handle(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.fake.requests.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        if self.fake.dead:
            self.close_connection = True
            return
        status, body = self._before() or self._route()
        if self.fake.trouble.hangs_up and self.path.split("?")[0].endswith(self.fake.trouble.hangs_up):
            self.fake.trouble.hangs_up = ""
            self.close_connection = True
            return
        self._answer(status, body)

    def _before(self) -> tuple[int, Any] | None:
        """What comes before the routes: not ready, a proxy's redirect, xsrf, who it is, and which tenant."""
        trouble, authorization = self.fake.trouble, self.headers.get("authorization", "")
        if trouble.starting:
            trouble.starting -= 1
            return 503, "OpenSearch Dashboards server is not ready yet"
        if trouble.moved:
            return 302, ""
        if trouble.opensearch_away:
            trouble.opensearch_away -= 1
            return 401, _error(401, "Unauthorized", "No Living connections")
        expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if authorization != expected:
            return 401, _error(401, "Unauthorized", "Authentication Exception")
        if self.command != "GET" and "osd-xsrf" not in self.headers:
            return 400, _error(400, "Bad Request", "Request must contain a osd-xsrf header.")
        self.tenant = self._resolve(self.headers.get("securitytenant"))
        return None

    def _resolve(self, asked: str | None) -> str:
        """`resolve` of tenant_resolver.ts, with the global tenant enabled and no private one."""
        if asked is not None and asked in self.fake.tenants:
            return asked
        return ""

    def _route(self) -> tuple[int, Any]:
        path, _, query = self.path.partition("?")
        if path == "/api/status":
            return 200, {"status": {"overall": {"state": "red" if self.fake.trouble.red else "green", "title": "Red"}}}
        if path == "/api/v1/multitenancy/tenant" and not self.fake.trouble.no_multitenancy:
            session = self.headers.get("cookie", "").partition(f"{COOKIE}=")[2].partition(";")[0]
            if session not in self.fake.sessions:
                return 400, _error(400, "Bad Request", "Invalid cookie.")
            return 200, html.escape(self.fake.sessions[session])
        if path == "/api/saved_objects/_bulk_get":
            return 200, {"saved_objects": [self._get(row["type"], row["id"]) for row in json.loads(self.body)]}
        if path == "/api/saved_objects/_bulk_create":
            return self._write() or (200, {"saved_objects": [self._store(row) for row in json.loads(self.body)]})
        if path == "/api/saved_objects/_import":
            answer = self._import(overwrite="overwrite=true" in query)
            self.fake.dead = self.fake.trouble.dead_after_import
            return answer
        if self.command == "DELETE":
            return self._write() or self._delete(*(unquote(part) for part in path.split("/")[-2:]))
        return 404, _error(404, "Not Found", "Not Found")

    def _write(self) -> tuple[int, Any] | None:
        """OpenSearch's refusal of a write into a tenant that one may only see."""
        if self.fake.tenants.get(self.tenant):
            return None
        reason = f"no permissions for [indices:data/write/bulk] and User [name={USER}, requestedTenant={self.tenant}]"
        return 403, _error(403, "Forbidden", f"security_exception: {reason}")

    def _get(self, kind: str, name: str) -> Stored:
        held = self.fake.objects.get(self.tenant, {}).get((kind, name))
        if held is None:
            missing = f"Saved object [{kind}/{name}] not found"
            return {"type": kind, "id": name, "error": _error(404, "Not Found", missing)}
        return held

    def _store(self, row: Stored) -> Stored:
        key, trouble = (row["type"], row["id"]), self.fake.trouble
        if key in trouble.fails:
            trouble.fails.discard(key)
            return {**row, "error": _error(500, "Internal Server Error", "mapper_parsing_exception: failed to parse")}
        unknown = set(row["attributes"]) - ATTRIBUTES[row["type"]]
        if unknown:
            reason = f"mapping set to strict, dynamic introduction of [{min(unknown)}] within [{row['type']}]"
            return {**row, "error": _error(400, "Bad Request", f"strict_dynamic_mapping_exception: {reason}")}
        stored = {**row, "updated_at": "2026-11-25T00:00:00.000Z", "version": "WzIsMV0="}
        if key in trouble.altered:
            stored["attributes"] = {**row["attributes"], "title": "another"}
        if key in trouble.lost:
            trouble.lost.discard(key)
        else:
            self.fake.objects.setdefault(self.tenant, {})[key] = stored
        return stored

    def _delete(self, kind: str, name: str) -> tuple[int, Any]:
        if self.fake.objects.get(self.tenant, {}).pop((kind, name), None) is None:
            return 404, _error(404, "Not Found", f"Saved object [{kind}/{name}] not found")
        return 200, {}

    def _import(self, *, overwrite: bool) -> tuple[int, Any]:
        """`importSavedObjectsFromStream`: with a resolvable error nothing is written, and success is listed."""
        name, content = _file(self.headers["content-type"], self.body)
        if not name.lower().endswith(".ndjson"):
            return 400, _error(400, "Bad Request", f"Invalid file extension .{name.rpartition('.')[2]}")
        rows = [json.loads(line) for line in content.splitlines() if line.strip()]
        for row in rows:
            version, known = row.get("migrationVersion", {}).get(row["type"]), MIGRATION_VERSIONS[row["type"]]
            if version and (known is None or version > known):
                newer = f'has property "{row["type"]}" which belongs to a more recent version ({version})'
                return 422, _error(422, "Unprocessable Entity", f"Document {row['id']} {newer}.")
        held, errors = self.fake.objects.get(self.tenant, {}), []
        for row in rows:
            key = (row["type"], row["id"])
            missing = [
                {"type": r["type"], "id": r["id"]}
                for r in row.get("references", [])
                if r["type"] in ("index-pattern", "search")
                and (r["type"], r["id"]) not in held
                and not any((o["type"], o["id"]) == (r["type"], r["id"]) for o in rows)
            ]
            if missing:
                errors.append(_failed(row, {"type": "missing_references", "references": missing}))
            if key in self.fake.trouble.conflicts or (key in held and not overwrite):
                errors.append(_failed(row, {"type": "conflict"}))
        wrong = {(row["type"], row["id"]) for row in errors}
        good = [row for row in rows if (row["type"], row["id"]) not in wrong]
        if not errors:
            if refused := self._write():
                return refused
            done = [self._store(row) for row in good]
            errors = [_failed(row, {**row["error"], "type": "unknown"}) for row in done if "error" in row]
            good = [row for row in done if "error" not in row]
        results = [{"type": row["type"], "id": row["id"], "meta": {"title": _title(row)}} for row in good]
        answer = {"successCount": len(good), "success": not errors}
        return 200, answer | ({"successResults": results} if results else {}) | ({"errors": errors} if errors else {})

    def _answer(self, status: int, body: Any) -> None:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        if hasattr(self, "tenant"):
            session = secrets.token_hex(8)
            self.fake.sessions[session] = self.tenant
            self.send_header("set-cookie", f"{COOKIE}={session}; HttpOnly; SameSite=Strict; Path=/")
        if status == 302:
            self.send_header("location", self.fake.trouble.moved)
        self.send_header("content-type", "text/html" if isinstance(body, str) else "application/json; charset=utf-8")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _error(status: int, name: str, message: str) -> dict[str, Any]:
    return {"statusCode": status, "error": name, "message": message}


def _failed(row: Stored, error: dict[str, Any]) -> Stored:
    about = {"id": row["id"], "type": row["type"], "title": _title(row), "meta": {"title": _title(row)}}
    return {**about, "error": error}


def _title(row: Stored) -> str:
    return str(row["attributes"].get("title", ""))


def _file(content_type: str, body: bytes) -> tuple[str, str]:
    """(name, content) of the one file of a multipart form."""
    message = email.message_from_bytes(b"content-type: " + content_type.encode() + b"\r\n\r\n" + body)
    [part] = message.get_payload()
    assert not isinstance(part, str)
    return str(part.get_filename()), part.get_payload(decode=True).decode()  # type: ignore[union-attr]


@contextmanager
def fake_dashboards(tls: ssl.SSLContext | None = None) -> Iterator[Fake]:
    """The server, on a free port of 127.0.0.1, for the length of a test."""
    fake = Fake()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"fake": fake}))
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    fake.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
