"""Whoever asks for much that is slow gets no more of it, and holds nobody else up."""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from auditpipe.dashboards.console import at_once
from auditpipe.dashboards.console.person import client_for, settings_for
from auditpipe.dashboards.console.sessions import Session
from auditpipe.pipeline.client import basic
from tests.dashboards.console.conftest import Served, console
from tests.waiting import until

#: Answered without the node: it is no event's id.
QUICK = "/events/none"


@pytest.fixture
def node() -> Iterator[socket.socket]:
    """One that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        yield listener


@pytest.fixture
def slow(node: socket.socket, tmp_path: Path) -> Iterator[Served]:
    with console(f"http://127.0.0.1:{node.getsockname()[1]}", None, tmp_path) as made:
        yield made


def signed_in(served: Served, user: str) -> tuple[httpx.Client, Session]:
    settings, caller = settings_for(served.console.settings), basic(user, "x")
    session = Session(user, False, settings, caller, client_for(settings, caller))
    browser = served.browser()
    browser.cookies.set("auditpipe", served.console.sessions.begin(session), domain="127.0.0.1")
    return browser, session


@contextmanager
def waiting(served: Served, node: socket.socket, ask: Callable[[], object], kind: str, count: int) -> Iterator[None]:
    """So many requests of ada's that wait for the node, until it goes away."""
    with ThreadPoolExecutor(count) as pool:
        for _ in range(count):
            pool.submit(ask)
        try:
            until(lambda: served.console.at_once._held[kind, "ada"] == count)
            yield
        finally:
            node.close()


def test_one_persons_slow_pages_are_limited_and_the_others_go_on(slow: Served, node: socket.socket) -> None:
    (ada, _), (eve, _) = signed_in(slow, "ada"), signed_in(slow, "eve")
    again, _ = signed_in(slow, "ada")
    with waiting(slow, node, lambda: ada.get("/?query=slow"), "pages", at_once.PAGES):
        for browser in (ada, again):
            refused = browser.get(QUICK)
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
            assert f"you wait for {at_once.PAGES} pages already" in refused.text
            assert "Wait until what you asked for is there" in refused.text
        assert eve.get(QUICK).status_code == 400
        for path in ("/static/console.css", "/healthz"):
            assert ada.get(path).status_code == 200
    until(lambda: ada.get(QUICK).status_code == 400)
    assert not slow.console.at_once._held


def test_one_persons_exports_are_limited(slow: Served, node: socket.socket) -> None:
    ada, session = signed_in(slow, "ada")
    form = {"token": session.form_token, "format": "csv"}
    with waiting(slow, node, lambda: ada.post("/export", data=form), "exports", at_once.EXPORTS):
        refused = ada.post("/export?actor=x", data=form)
        assert refused.status_code == 429
        assert f"you wait for {at_once.EXPORTS} exports already" in refused.text
        assert 'href="/?actor=x">Try again' in refused.text
        assert ada.get(QUICK).status_code == 400
    until(lambda: not slow.console.at_once._held)


def test_signing_out_is_not_limited(slow: Served, node: socket.socket) -> None:
    ada, session = signed_in(slow, "ada")
    with waiting(slow, node, lambda: ada.get("/"), "pages", at_once.PAGES):
        answer = ada.post("/sign-out", data={"token": session.form_token})
        assert answer.headers["location"] == "/sign-in?out=1"
