"""Signing in with a token, and through a proxy that signs people in: a real node checks both."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from auditpipe.dashboards.console.proxy import trusting
from auditpipe.pipeline import access
from tests import sign_in
from tests.builders import event
from tests.conftest import RealOpenSearch
from tests.dashboards.console.conftest import Served, console, token
from tests.dashboards.console.test_listing import rows
from tests.stored import organization, store

pytestmark = pytest.mark.opensearch

_HEADER = "X-Forwarded-User"


@pytest.fixture(scope="module")
def domains(opensearch: RealOpenSearch) -> Iterator[None]:
    """While this module runs the node takes tokens, and names that the console's address vouches for."""
    with sign_in.further_ways(opensearch):
        yield


@dataclass(frozen=True)
class Someone:
    """Known to the node by a grant alone, for one organization, in which there is one event."""

    name: str = field(default_factory=lambda: f"token-{secrets.token_hex(4)}")
    org: str = field(default_factory=organization)


@pytest.fixture(scope="module")
def someone(opensearch: RealOpenSearch, domains: None) -> Someone:
    made = Someone()
    store(opensearch, [event(organization__id=made.org)])
    access.grant(opensearch.client(opensearch.super_admin), access.Grant(made.name, "admin", made.org))
    return made


@pytest.fixture
def proxied(opensearch: RealOpenSearch, domains: None, tmp_path: Path) -> Iterator[Served]:
    """A console behind a proxy at 127.0.0.1 that sends names."""
    with console(opensearch.url, opensearch.ca_file, tmp_path, trusting(["127.0.0.1"], _HEADER)) as made:
        yield made


def by_token(browser: httpx.Client, bearer: str) -> httpx.Response:
    return browser.post("/sign-in", data={"token": token(browser), "bearer": bearer, "next": "/"})


def test_a_token_shows_what_security_lets_its_subject_see(fresh: Served, someone: Someone) -> None:
    with fresh.browser() as browser:
        assert by_token(browser, f" Bearer {sign_in.token(someone.name)} ").status_code == 303
        page = browser.get("/").text
        assert len(rows(page)) == 1
        assert someone.name in page
        assert browser.get("/who-looked").status_code == 403
        [done] = fresh.events.events
    assert (done.event.action, done.user.id) == ("user.login_succeeded", someone.name)


def test_every_token_that_does_not_get_in_has_the_same_answer_and_is_on_record(fresh: Served, someone: Someone) -> None:
    tries = [
        sign_in.token(someone.name, key=secrets.token_bytes(64)),
        sign_in.token(someone.name, seconds=-600),
        "x",
        "é",
        "x" * 8_000,
    ]
    with fresh.browser() as browser:
        answers = [by_token(browser, bearer) for bearer in [*tries, sign_in.token("token-nobody")]]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    assert "This token is not taken, or no role of it may look." in answers[0].text
    *refused, no_role = fresh.events.events
    reasons = [event.event.reason for event in (*refused, no_role)]
    assert reasons == ["bad_credentials"] * len(tries) + ["account_inactive"]
    assert not any(event.user and event.user.id for event in refused)
    assert no_role.user.id == "token-nobody"


def test_a_token_that_ends_ends_the_session(fresh: Served, someone: Someone) -> None:
    with fresh.browser() as browser:
        by_token(browser, sign_in.token(someone.name))
        session = fresh.session(browser)
        session.client.transport.connection_pool.connections[0].headers["authorization"] = "Bearer ended"
        assert browser.get("/").headers["location"].startswith("/sign-in?next=")


def test_an_export_is_the_tokens_too(fresh: Served, someone: Someone) -> None:
    with fresh.browser() as browser:
        by_token(browser, sign_in.token(someone.name))
        given = {"token": token(browser, "/"), "format": "ndjson"}
        assert browser.post("/export", data=given).headers["content-type"] == "application/zip"


def test_whom_the_proxy_names_is_signed_in_and_security_decides(proxied: Served, someone: Someone) -> None:
    with proxied.browser() as browser:
        browser.headers[_HEADER] = someone.name
        answer = browser.get("/?outcome=success", follow_redirects=True)
        assert answer.url.params["outcome"] == "success"
        assert len(rows(answer.text)) == 1
        assert browser.get("/who-looked").status_code == 403
        # Around the proxy, or as someone else, the cookie is worth nothing.
        for name in (None, "root"):
            browser.headers = httpx.Headers({_HEADER: name} if name else {})
            answer = browser.get("/")
            assert answer.status_code == 303
    assert proxied.events.actions == ["user.login_succeeded"]


def test_whom_the_proxy_names_and_nobody_granted_anything_is_told_so_once(proxied: Served) -> None:
    with proxied.browser() as browser:
        browser.headers[_HEADER] = "token-stranger"
        answer = browser.get("/", follow_redirects=True)
    assert answer.status_code == 403
    assert len(answer.history) == 1
    assert "ask a Super Admin" in answer.text
    [failed] = proxied.events.events
    assert (failed.event.reason, failed.user.id) == ("account_inactive", "token-stranger")


def test_signing_out_behind_a_proxy_stays_out_until_it_is_wanted(proxied: Served, someone: Someone) -> None:
    with proxied.browser() as browser:
        browser.headers[_HEADER] = someone.name
        browser.get("/", follow_redirects=True)
        out = browser.post("/sign-out", data={"token": token(browser, "/")}, follow_redirects=True)
        assert "You have signed out." in out.text
        assert "auditpipe" not in browser.cookies
        assert 'href="/sign-in?next=/">Sign in as before' in out.text


def test_a_proxy_that_passes_tokens_on_may_renew_them(
    opensearch: RealOpenSearch, someone: Someone, tmp_path: Path
) -> None:
    with console(opensearch.url, opensearch.ca_file, tmp_path, trusting(["127.0.0.1"], None)) as made:
        with made.browser() as browser:
            browser.headers["Authorization"] = f"Bearer {sign_in.token(someone.name)}"
            browser.get("/", follow_redirects=True)
            session = made.session(browser)
            browser.headers["Authorization"] = f"Bearer {sign_in.token(someone.name, seconds=900)}"
            assert len(rows(browser.get("/").text)) == 1
            assert made.session(browser) is session
            browser.headers["Authorization"] = f"Bearer {sign_in.token('token-nobody')}"
            assert browser.get("/").status_code == 303
        assert made.events.actions == ["user.login_succeeded"]
