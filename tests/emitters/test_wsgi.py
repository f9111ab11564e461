"""The WSGI middleware, under the standard library's server and validator."""

import contextvars
import io
import logging
import threading
import urllib.request
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import pytest

from auditpipe.emitters.context import current, enter
from auditpipe.emitters.wsgi import AuditMiddleware


def ask(app, **environ):
    """One request, as a server makes it: the body is read, then closed."""
    setup_testing_defaults(environ)
    body = app(environ, lambda status, headers, exc_info=None: None)
    try:
        return b"".join(body)
    finally:
        if hasattr(body, "close"):
            body.close()


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


def test_an_event_of_a_request_says_where_it_came_from(audit_log, audit_events):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        audit_log.emit("user.user.exported")
        return [b"done"]

    with make_server("127.0.0.1", 0, validator(AuditMiddleware(validator(app))), handler_class=Quiet) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        headers = {"X-Request-ID": "r-1", "User-Agent": "tests/1", "X-Forwarded-For": "198.51.100.1"}
        request = urllib.request.Request(f"http://127.0.0.1:{server.server_port}/", headers=headers)
        with urllib.request.urlopen(request) as answer:
            assert answer.read() == b"done"
        thread.join()
    [event] = audit_events.events
    assert event.source.ip == "127.0.0.1"
    assert event.user_agent.original == "tests/1"
    assert event.http.request.id == "r-1"


def streaming(audit):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        try:
            audit.emit("user.user.exported")
            yield b"one"
            audit.emit("user.dispute.exported")
            yield b"two"
        finally:
            audit.emit("user.calibration.exported")

    return app


def test_a_streamed_body_is_made_in_the_context(audit_log, audit_events):
    assert ask(AuditMiddleware(streaming(audit_log)), HTTP_X_REQUEST_ID="r-2") == b"onetwo"
    assert [event.http.request.id for event in audit_events.events] == ["r-2"] * 3


def test_requests_that_one_thread_serves_by_turns_keep_their_own_context(audit_log, audit_events):
    app = AuditMiddleware(streaming(audit_log))
    bodies = []
    for request in ("r-1", "r-2"):
        environ = {"HTTP_X_REQUEST_ID": request}
        setup_testing_defaults(environ)
        bodies.append(app(environ, lambda *_: None))
    for one, other in zip(*bodies, strict=True):
        assert one == other
    assert sorted(event.http.request.id for event in audit_events.events) == ["r-1"] * 3 + ["r-2"] * 3


def test_a_body_that_the_server_forgets_to_close_leaves_nothing_behind(audit_log):
    def scenario():
        environ = {}
        setup_testing_defaults(environ)
        body = AuditMiddleware(streaming(audit_log))(environ, lambda *_: None)
        next(iter(body))
        return dict(current())

    assert contextvars.copy_context().run(scenario) == {}


def test_lists_and_files_reach_the_server_as_they_are(audit_log):
    listed, file = [b"done"], FileWrapper(io.BytesIO(b"done"))
    environ = {}
    setup_testing_defaults(environ)
    environ["wsgi.file_wrapper"] = FileWrapper
    for body in (listed, file):
        assert AuditMiddleware(lambda *_, body=body: body)(environ, None) is body


def test_identify_says_who_acts(audit_log, audit_events):
    app = AuditMiddleware(streaming(audit_log), identify=lambda environ: {"actor": environ.get("REMOTE_USER")})
    ask(app, REMOTE_USER="ada")
    ask(app)
    assert [event.audit.actor.type for event in audit_events.events] == ["user"] * 3 + ["anonymous"] * 3


def test_an_actor_that_the_application_adds_holds_to_the_end_of_the_body_and_no_longer(audit_log, audit_events):
    def app(environ, start_response):
        enter(actor="ada")
        return streaming(audit_log)(environ, start_response)

    ask(AuditMiddleware(app))
    assert [event.user.id for event in audit_events.events] == ["ada"] * 3
    assert not current()


def test_a_broken_identify_fails_the_request_before_anything_is_done(audit_log, audit_events):
    with pytest.raises(KeyError, match="REMOTE_USER"):
        ask(AuditMiddleware(streaming(audit_log), identify=lambda environ: {"actor": environ["REMOTE_USER"]}))
    assert audit_events.events == []


def test_with_continue_a_broken_identify_is_logged_and_the_request_goes_on(audit_log, audit_events, caplog):
    app = AuditMiddleware(streaming(audit_log), identify=lambda environ: environ["REMOTE_USER"], on_error="continue")
    with caplog.at_level(logging.ERROR):
        assert ask(app, PATH_INFO="/users") == b"onetwo"
    assert "identify failed for /users" in caplog.text
    assert {event.audit.actor.type for event in audit_events.events} == {"anonymous"}
