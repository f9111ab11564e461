"""The ASGI middleware, under Starlette."""

import logging

import pytest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient

from auditpipe.emitters.asgi import AuditMiddleware
from auditpipe.emitters.context import current
from auditpipe.schemas.errors import UsageError

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def application(audit, *, wait=False, **options):
    async def export(request):
        audit.emit("user.user.exported")
        return PlainTextResponse("done")

    def from_a_thread(request):
        audit.emit("user.user.exported")
        return PlainTextResponse("done")

    async def through_a_pool(request):
        await run_in_threadpool(audit.emit, "user.user.exported")
        return PlainTextResponse("done")

    async def socket(websocket):
        await websocket.accept()
        audit.emit("user.user.exported")
        await websocket.close()

    routes = [Route("/async", export), Route("/sync", from_a_thread), Route("/pool", through_a_pool)]
    routes.append(WebSocketRoute("/socket", socket))
    return Starlette(routes=routes, middleware=[Middleware(AuditMiddleware, **options)])


def client(app):
    return TestClient(app, client=("192.0.2.7", 50_000), headers={"user-agent": "tests/1"})


@pytest.mark.parametrize("path", ["/async", "/sync", "/pool"])
def test_an_event_of_a_request_says_where_it_came_from(audit_log, audit_events, path):
    headers = {"x-request-id": "r-1", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    client(application(audit_log)).get(path, headers=headers)
    [event] = audit_events.events
    assert event.source.ip == "192.0.2.7"
    assert event.user_agent.original == "tests/1"
    assert event.http.request.id == "r-1"
    assert event.trace.id == TRACE
    assert event.audit.actor.type == "anonymous"


def test_a_websocket_has_a_context_too(audit_log, audit_events):
    with client(application(audit_log)).websocket_connect("/socket", headers={"x-request-id": "r-2"}):
        pass
    assert [event.http.request.id for event in audit_events.events] == ["r-2"]


def test_requests_have_ids_of_their_own_and_leave_nothing_behind(audit_log, audit_events):
    browser = client(application(audit_log))
    browser.get("/async")
    browser.get("/async")
    first, second = (event.http.request.id for event in audit_events.events)
    assert first != second
    assert not current()


async def from_a_database(scope):
    return {"actor": {"id": "u1", "name": "ada"}, "organization": "acme", "session": "s-9", "ip": "198.51.100.9"}


@pytest.mark.parametrize(
    "identify", [from_a_database, lambda scope: {"actor": {"id": "u1", "name": "ada"}, "organization": "acme"}]
)
def test_identify_says_who_acts(audit_log, audit_events, identify):
    client(application(audit_log, identify=identify)).get("/async")
    [event] = audit_events.events
    assert (event.user.id, event.user.name, event.organization.id) == ("u1", "ada", "acme")


def test_what_identify_says_goes_over_the_headers(audit_log, audit_events):
    client(application(audit_log, identify=from_a_database)).get("/async")
    [event] = audit_events.events
    assert event.source.ip == "198.51.100.9"
    assert event.audit.session.id == "s-9"


def test_identify_may_know_nobody(audit_log, audit_events):
    client(application(audit_log, identify=lambda scope: None)).get("/async")
    assert audit_events.events[0].audit.actor.type == "anonymous"


def broken(scope):
    raise LookupError("no session store")


def test_a_broken_identify_fails_the_request_before_anything_is_done(audit_log, audit_events):
    with pytest.raises(LookupError, match="no session store"):
        client(application(audit_log, identify=broken)).get("/async")
    assert audit_events.events == []


@pytest.mark.parametrize("identify", [broken, lambda scope: {"actr": "u1"}])
def test_with_continue_a_broken_identify_is_logged_and_the_request_goes_on(audit_log, audit_events, caplog, identify):
    with caplog.at_level(logging.ERROR):
        answer = client(application(audit_log, identify=identify, on_error="continue")).get("/async")
    assert answer.status_code == 200
    assert audit_events.events[0].audit.actor.type == "anonymous"
    assert "identify failed for /async" in caplog.text


@pytest.mark.parametrize(("trusted", "ip"), [((), "192.0.2.7"), (("192.0.2.0/24",), "198.51.100.1")])
def test_forwarded_for_counts_only_from_trusted_proxies(audit_log, audit_events, trusted, ip):
    # A list: two lines of one header, as two proxies may write them.
    headers = [("x-forwarded-for", "203.0.113.5"), ("x-forwarded-for", "198.51.100.1")]
    client(application(audit_log, trusted_proxies=trusted)).get("/async", headers=headers)
    assert audit_events.events[0].source.ip == ip


def test_a_wrong_option_is_refused_at_start():
    with pytest.raises(UsageError, match="on_error"):
        AuditMiddleware(application, on_error="ignore")


def test_lifespan_passes_through(audit_log):
    with TestClient(application(audit_log)) as browser:
        assert browser.get("/async").status_code == 200
