"""The way to OpenSearch: what is refused before a connection, and what each failure says."""

import logging
import socket
import ssl
import threading
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import orjson
import pytest

from auditpipe.pipeline.client import ExactJSON, connect, edge, tool_id, translate
from auditpipe.schemas.errors import (
    BadFilter,
    NotAllowed,
    NotFinished,
    OutOfReach,
    SettingsError,
    UsageError,
)
from auditpipe.schemas.settings import Settings, load
from tests.conftest import RealOpenSearch, free_port
from tests.waiting import recorded


def settings(**flags: str) -> Settings:
    return load(flags, environment={"HOME": "/nonexistent"})


def changed(base: Settings, **values: str | None) -> Settings:
    return replace(base, values={**base.values, **values})


class Canned(BaseHTTPRequestHandler):
    """Answers every request with what the test set."""

    status: ClassVar[int] = 200
    body: ClassVar[bytes] = b"{}"
    kind: ClassVar[str] = "application/json"
    extra: ClassVar[dict[str, str]] = {}
    seen: ClassVar[list[dict[str, str]]] = []

    def do_GET(self) -> None:
        self.seen.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response(self.status)
        for name, value in {"Content-Type": self.kind, "Content-Length": str(len(self.body)), **self.extra}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.body)

    do_POST = do_GET  # noqa: N815 - http.server's naming

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def canned() -> Iterator[tuple[type[Canned], str]]:
    """A local HTTP server that answers as OpenSearch would in states that a real node is not in."""
    handler = type("Handler", (Canned,), {"seen": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield handler, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(given: Settings) -> Any:
    client = connect(given)
    with edge():
        return client.search(index="audit-events-*", body={"size": 0})


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"url": "http://10.0.0.1:9200"}, "http:// is for this machine only"),
        ({"url": "http://opensearch.example:9200"}, "http:// is for this machine only"),
        ({"url": "ftp://127.0.0.1"}, "expected a URL such as"),
        ({"url": "127.0.0.1:9200"}, "expected a URL such as"),
        ({"url": "https://127.0.0.1:no"}, "expected a URL such as"),
        ({"url": "https://h/?a=b"}, "expected a URL such as"),
        ({"url": "https://h", "username": "ada"}, "no password for ada"),
        ({"url": "https://h", "ca_file": "/nonexistent"}, "ca_file /nonexistent"),
        ({"url": "https://h", "cert_file": "/nonexistent", "key_file": "/nonexistent"}, "cert_file /nonexistent"),
        ({"url": "http://127.0.0.1", "cert_file": "/c", "key_file": "/k"}, "a client certificate needs https://"),
    ],
)
def test_what_can_not_work_is_refused_before_a_connection(flags: dict[str, str], expected: str) -> None:
    with pytest.raises(SettingsError) as caught:
        connect(settings(**flags))
    assert expected in str(caught.value)


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(SettingsError) as caught:
        connect(settings(url="https://ada:hunter2@h:9200"))
    assert "hunter2" not in str(caught.value)


def test_name_password_token_and_tool_reach_the_node(canned: tuple[type[Canned], str], tmp_path: Path) -> None:
    handler, url = canned
    secret = tmp_path / "secret"
    secret.write_text("pässwörd\n", encoding="utf-8")
    ask(settings(url=url, username="zoë", password_file=str(secret)))
    secret.write_text("abc.def\n")
    ask(settings(url=url, token_file=str(secret)))
    basic, bearer = handler.seen
    assert basic["authorization"] == "Basic em/Dqzpww6Rzc3fDtnJk"  # RFC 7617 with UTF-8
    assert bearer["authorization"] == "Bearer abc.def"
    assert basic["x-opaque-id"].startswith("auditpipe/")


def test_a_purpose_of_any_text_fits_a_header() -> None:
    made = tool_id("export", "für die Prüfung\r\nX: y")
    assert made.isascii()
    assert made.isprintable()
    assert made.endswith("export purpose=f%C3%BCr%20die%20Pr%C3%BCfung%0D%0AX%3A%20y")


def test_a_purpose_longer_than_a_header_is_refused() -> None:
    with pytest.raises(UsageError, match="at most 500 characters, got 501"):
        tool_id("export", "x" * 501)


def test_a_name_that_basic_authentication_can_not_carry(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x\n")
    with pytest.raises(SettingsError, match="colon"):
        connect(settings(url="https://h", username="ada:x", password_file=str(secret)))


def test_a_token_with_more_than_a_token_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("abc def\n")
    with pytest.raises(SettingsError, match="one token"):
        connect(settings(url="https://h", token_file=str(secret)))


def failure(kind: str, reason: str) -> bytes:
    return orjson.dumps({"error": {"root_cause": [{"type": kind, "reason": reason}], "type": kind}, "status": 0})


@pytest.mark.parametrize(
    ("status", "body", "error", "said"),
    [
        (401, b"Unauthorized", NotAllowed, "was refused: sign in"),
        (
            403,
            failure(
                "security_exception",
                "no permissions for [indices:data/read/search] and User [name=ada, backend_roles=[], x=y]",
            ),
            NotAllowed,
            "ada may not read audit events; ask a Super Admin: auditpipe access grant ada --role admin",
        ),
        (
            403,
            failure(
                "security_exception", "no permissions for [indices:admin/create] and User [name=ada, backend_roles=[]]"
            ),
            NotAllowed,
            "ada may not do this (indices:admin/create)",
        ),
        (403, failure("security_exception", "Index is immutable"), NotAllowed, "write-once"),
        (403, failure("cluster_block_exception", "blocked by: [FORBIDDEN/5/read]"), OutOfReach, "has a block on this"),
        (403, failure("index_create_block_exception", "blocked by: [x]"), OutOfReach, "has a block on this"),
        (400, failure("index_closed_exception", "closed"), OutOfReach, "a month is closed"),
        (403, b"<html>Forbidden", NotAllowed, "refused this to"),
        (
            500,
            failure("security_exception", "Error while evaluating DLS/FLS privileges"),
            NotAllowed,
            "ask a Super Admin to grant it again",
        ),
        (404, failure("index_not_found_exception", "no such index [audit-events]"), OutOfReach, "auditpipe provision"),
        (404, failure("search_context_missing_exception", "No search context"), NotFinished, "expired"),
        (400, failure("query_shard_exception", "Failed to parse query [(]"), BadFilter, "Failed to parse query [(]"),
        (
            429,
            failure("circuit_breaking_exception", "Data too large"),
            OutOfReach,
            "can't answer now (429 Data too large)",
        ),
        (503, b"OpenSearch Security not initialized.", OutOfReach, "can't answer now (503"),
        (
            503,
            b'{"error":{"root_cause":[],"type":"search_phase_execution_exception","reason":"","caused_by":{"reason":'
            b'"Search rejected due to missing shards [[audit-events-2016.01][0], [audit-events-2016.02][0]]."}}}',
            OutOfReach,
            "no answer from 2 shards: the cluster is still recovering",
        ),
        (
            503,
            b'{"error":{"root_cause":[],"type":"search_phase_execution_exception","reason":"all shards failed"}}',
            OutOfReach,
            "no answer from every shard: the cluster is still recovering",
        ),
        (502, b"<html>Bad Gateway", OutOfReach, "can't answer now (502"),
        (418, failure("teapot", "short and stout"), UsageError, "refused this (418): short and stout"),
        (400, b'{"status":"error","reason":"Weak password"}', UsageError, "refused this (400): Weak password"),
        (405, b'{"error":"Incorrect HTTP method for uri [/x]"}', UsageError, "is the path in the URL right?"),
        (302, b"<html>Sign in", OutOfReach, "is it OpenSearch itself"),
        (400, failure("too_many_nested_clauses", "maxClauseCount is set to 1024"), BadFilter, "maxClauseCount"),
        (
            400,
            failure("query_shard_exception", "could not read the current timestamp"),
            NotAllowed,
            "allow_now_in_dls: true",
        ),
        (
            400,
            failure("query_shard_exception", "failed to create query: Invalid value for EpochDay (valid values ...)"),
            NotAllowed,
            "has ended",
        ),
    ],
)
def test_each_answer_has_its_error(
    canned: tuple[type[Canned], str], status: int, body: bytes, error: type[Exception], said: str
) -> None:
    handler, url = canned
    handler.status, handler.body = status, body  # type: ignore[misc]
    handler.kind = "application/json" if body.startswith(b"{") else "text/plain"  # type: ignore[misc]
    with pytest.raises(error) as caught:
        ask(settings(url=url))
    assert type(caught.value) is error
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(handler.seen) == 1, "nothing is retried behind the caller's back"


def test_an_answer_that_is_no_json_is_out_of_reach(canned: tuple[type[Canned], str]) -> None:
    handler, url = canned
    handler.body, handler.kind = b"<html>", "text/html"  # type: ignore[misc]
    with pytest.raises(OutOfReach, match="not JSON"):
        ask(settings(url=url))


def test_no_warning_of_the_node_or_its_client_reaches_a_person(
    canned: tuple[type[Canned], str], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    handler, url = canned
    handler.extra = {"Warning": '299 OpenSearch-3.4.0 "deprecated"'}  # type: ignore[misc]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ask(settings(url=url))
    assert caught == []
    assert capsys.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_nothing_listens() -> None:
    with pytest.raises(OutOfReach, match="nothing listens there"):
        ask(settings(url=f"http://127.0.0.1:{free_port()}"))


def test_a_node_that_never_answers_is_out_of_reach() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = connect(settings(url=f"http://127.0.0.1:{server.getsockname()[1]}"), read_seconds=0.2)
        with pytest.raises(OutOfReach, match="did not answer in time"), edge():
            client.info()


def test_no_such_host() -> None:
    with pytest.raises(OutOfReach, match="no such host name"):
        ask(settings(url="https://nowhere.invalid"))


def test_our_own_errors_pass_unchanged() -> None:
    error = BadFilter("x")
    assert translate(error) is error


def test_integers_come_exact_and_lone_surrogates_come_at_all() -> None:
    assert ExactJSON().loads("[9007199254740993, 18446744073709551615]") == [2**53 + 1, 2**64 - 1]
    assert ExactJSON().loads('"\\ud800"') == "\ud800"


@pytest.mark.opensearch
def test_a_certificate_of_an_unknown_authority_is_refused(opensearch: RealOpenSearch) -> None:
    with pytest.raises(
        OutOfReach, match="signed by no authority that is trusted here: name the authority with --ca-file"
    ):
        ask(changed(opensearch.super_admin, ca_file=None))


@pytest.mark.opensearch
def test_a_certificate_for_another_name_is_refused(opensearch: RealOpenSearch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(opensearch.home / "certs" / "node.pem", opensearch.home / "certs" / "node-key.pem")
    with socket.create_server(("127.0.0.2", 0)) as server:

        def answer() -> None:
            with suppress(OSError):
                context.wrap_socket(server.accept()[0], server_side=True).close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(OutOfReach, match="its certificate is for another host name"):
            ask(changed(opensearch.super_admin, url=f"https://127.0.0.2:{server.getsockname()[1]}"))
        thread.join()


@pytest.mark.opensearch
def test_http_to_a_tls_port_says_so(opensearch: RealOpenSearch) -> None:
    with pytest.raises(OutOfReach, match="should the URL be https://"):
        ask(changed(opensearch.super_admin, url=opensearch.url.replace("https", "http")))


@pytest.mark.opensearch
def test_a_wrong_password_names_who_and_where(opensearch: RealOpenSearch, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong\n")
    with pytest.raises(NotAllowed, match="wrong name or password for superadmin"):
        ask(changed(opensearch.super_admin, password_file=str(wrong)))


@pytest.mark.opensearch
def test_the_purpose_is_on_the_nodes_record(opensearch: RealOpenSearch) -> None:
    """What `X-Opaque-Id` carries is stored by the node's audit log with the request."""
    client = connect(opensearch.super_admin, opaque_id=tool_id("export", "case 2026-17"))
    with edge():
        client.search(index="audit-events-*", body={"size": 0})
    assert recorded(opensearch, {"match_phrase": {"audit_transport_headers.X-Opaque-Id": "case%202026-17"}})
