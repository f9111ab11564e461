"""A known vulnerability fails it; that nobody could be asked is said, and fails it only where that is wanted."""

import json
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tests.lint.dependency_audit import installed
from tests.lint.secret_scan import ROOT
from tests.stored import environment


class Advisories(BaseHTTPRequestHandler):
    """A service that knows one vulnerability, of orjson (https://google.github.io/osv.dev/post-v1-query/)."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = asked["package"]["name"]
        of = {"package": asked["package"], "ranges": [{"type": "ECOSYSTEM", "events": [{"fixed": "9999"}]}]}
        known = {"id": "PYSEC-0000-1", "summary": "s", "published": "2026-01-01T00:00:00Z", "affected": [of]}
        body = json.dumps({"vulns": [known]} if name == "orjson" else {}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def service() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Advisories)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def audit(url: str, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "tests.lint.dependency_audit", *arguments]
    given = {"PIP_AUDIT_VULNERABILITY_SERVICE": "osv", "PIP_AUDIT_OSV_URL": url}
    done = subprocess.run(command, env=environment(**given), cwd=ROOT, capture_output=True, text=True, timeout=180)
    return done.returncode, done.stdout


def test_a_known_vulnerability_fails_it(service: str) -> None:
    code, out = audit(service)
    count = len(installed("auditpipe", frozenset({"all"})))
    assert code == 1, out
    assert "PYSEC-0000-1, fixed in 9999" in out.splitlines()[0]
    assert out.splitlines()[-1].endswith(f"{count} of {count} were asked for, 1 vulnerabilities are known")


@pytest.mark.parametrize(("arguments", "code"), [((), 0), (("--strict",), 1)])
def test_that_nobody_could_be_asked_is_said(arguments: tuple[str, ...], code: int) -> None:
    ended, out = audit("http://127.0.0.1:1/", *arguments)
    assert (ended, "NOTHING IS KNOWN of" in out) == (code, True), out


def test_it_asks_for_all_that_an_installation_brings() -> None:
    versions = installed("auditpipe", frozenset({"all"}))
    assert {
        "orjson",
        "pydantic-core",
        "opensearch-py",
        "urllib3",
        "cryptography",
        "starlette",
        "jgo",
    } <= versions.keys()
    assert "pytest" not in versions
