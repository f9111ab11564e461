"""Signing in and out: who gets in, what a browser is given, what is on record."""

import httpx
import pytest

from auditpipe.dashboards.console import throttle
from auditpipe.dashboards.console.guard import HEADERS
from auditpipe.dashboards.console.signin import local
from auditpipe.schemas.errors import SpoolFull
from tests.conftest import RealOpenSearch
from tests.dashboards.console.conftest import Served, sign_in, token

pytestmark = pytest.mark.opensearch


@pytest.mark.parametrize("role", ["audit_admin", "audit_super_admin", "audit_auditor"])
def test_each_reading_role_gets_in_and_only_a_super_admin_sees_who_looked(opensearch, fresh: Served, role: str) -> None:
    with fresh.signed_in(opensearch.add_user(role)) as browser:
        assert browser.get("/").status_code == 200
        is_super = role == "audit_super_admin"
        assert ("/who-looked" in browser.get("/").text) is is_super
        answer = browser.get("/who-looked")
        assert answer.status_code == (200 if is_super else 403)
        assert ("You may not see this" in answer.text) is not is_super


def test_every_failure_has_the_same_answer(opensearch: RealOpenSearch, fresh: Served, admin) -> None:
    name = admin.get("username")
    without, writer = opensearch.add_user(), opensearch.add_user("audit_writer")
    tries = [
        (name, "wrong"),
        ("nobody-of-this-name", "wrong"),
        ("a:b", "wrong"),
        (name, ""),
        ("", "x"),
        ("é" * 900, "\N{SNOWMAN}"),
        (without.get("username"), without.password),
        (writer.get("username"), writer.password),
    ]
    answers = set()
    with fresh.browser() as browser:
        for given, password in tries:
            answer = sign_in(browser, given, password)
            answers.add((answer.status_code, answer.text))
            assert "auditpipe" not in answer.cookies
    assert len(answers) == 1
    [(status, page)] = answers
    assert status == 401
    assert "Wrong name or password, or no role that may look." in page


def test_sign_ins_failures_and_sign_outs_are_on_record(opensearch: RealOpenSearch, fresh: Served, admin) -> None:
    name, without = admin.get("username"), opensearch.add_user()
    with fresh.browser() as browser:
        sign_in(browser, "hunter2", "x")
        sign_in(browser, without.get("username") or "", without.password or "")
        sign_in(browser, name, admin.password)
        browser.post("/sign-out", data={"token": token(browser, "/")})
        sign_in(browser, name, "wrong")
    unknown, no_role, succeeded, out, wrong = fresh.events.events
    assert fresh.events.actions == ["user.login_failed"] * 2 + ["user.login_succeeded", "user.logged_out"] + [
        "user.login_failed"
    ]
    assert [event.event.reason for event in (unknown, no_role, wrong)] == [
        "unknown_account",
        "account_inactive",
        "bad_credentials",
    ]
    # What was typed for a name that nobody has may be a password.
    assert "hunter2" not in unknown.model_dump_json()
    assert unknown.audit.redacted == ["user.name"]
    assert {event.user.id for event in (succeeded, out, wrong)} == {name}
    assert succeeded.audit.session == out.audit.session != None  # noqa: E711
    assert {event.source.ip for event in fresh.events.events} == {"127.0.0.1"}
    assert {event.service.name for event in fresh.events.events} == {"auditpipe-console"}


def test_what_can_be_no_name_and_password_is_on_record_without_what_was_typed(fresh: Served) -> None:
    with fresh.browser() as browser:
        for given, password in (("", "x"), ("n" * 257, "x"), ("ada", ""), ("ada", "p" * 401)):
            assert sign_in(browser, given, password).status_code == 401
    assert fresh.events.actions == ["user.login_failed"] * 4
    for event in fresh.events.events:
        assert event.event.reason == "bad_credentials"
        assert event.user is None or event.user.id is None


def test_who_can_not_be_put_on_record_does_not_get_in(fresh: Served, admin) -> None:
    def full(*_args: object, **_kwargs: object) -> None:
        raise SpoolFull("the spool has reached its limit")

    fresh.console.record = full
    with fresh.browser() as browser:
        answer = sign_in(browser, admin.get("username"), admin.password)
        assert answer.status_code == 503
        assert "the spool has reached its limit" in answer.text
        assert browser.get("/").status_code == 303


def test_after_ten_failures_nobody_is_asked_for_a_while(fresh: Served, admin) -> None:
    for _ in range(throttle.FAILURES - 1):
        fresh.console.throttle.enter(["address 127.0.0.1"])
    with fresh.browser() as browser:
        assert sign_in(browser, "nobody", "x").status_code == 401
        answer = sign_in(browser, admin.get("username"), admin.password)
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= throttle.WINDOW_S + 1
    assert "Too many failed sign-ins. Try again in 5 minutes." in answer.text


def test_the_cookie_is_for_this_host_alone_and_not_for_scripts(fresh: Served, admin) -> None:
    with fresh.browser() as browser:
        given = sign_in(browser, admin.get("username"), admin.password).headers.get_list("set-cookie")
    [cookie] = [line for line in given if line.startswith("auditpipe=")]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Domain" not in cookie
    fresh.console.secure = True
    with fresh.browser() as browser:
        [cookie] = browser.get("/sign-in").headers.get_list("set-cookie")
    assert cookie.startswith("__Host-auditpipe-form=")
    assert "Secure" in cookie


def test_a_session_begins_anew_with_each_sign_in_and_ends_with_sign_out(fresh: Served, admin) -> None:
    with fresh.signed_in(admin) as browser:
        first = browser.cookies["auditpipe"]
        sign_out = {"token": token(browser, "/")}
        assert browser.post("/sign-out", data=sign_out).headers["location"] == "/sign-in?out=1"
        assert "auditpipe" not in browser.cookies
        sign_in(browser, admin.get("username"), admin.password)
        assert browser.cookies["auditpipe"] != first
        browser.cookies.set("auditpipe", first, domain="127.0.0.1")
        assert browser.get("/").status_code == 303


def test_a_session_that_ended_says_so_and_leads_back(fresh: Served, admin) -> None:
    with fresh.signed_in(admin) as browser:
        fresh.console.sessions.end_all()
        answer = browser.get("/?actor=ada&since=24h")
        assert answer.headers["location"] == "/sign-in?next=/%3Factor%3Dada%26since%3D24h&ended=1"
        page = browser.get(answer.headers["location"]).text
    assert "Your session has ended. Sign in again to go on." in page
    assert 'name="next" value="/?actor=ada&amp;since=24h"' in page


def test_a_password_that_was_changed_ends_the_session(opensearch: RealOpenSearch, fresh: Served) -> None:
    person = opensearch.add_user("audit_admin")
    with fresh.signed_in(person) as browser:
        assert browser.get("/").status_code == 200
        opensearch.add_user("audit_admin", name=person.get("username"))
        answer = browser.get("/")
        assert answer.headers["location"].startswith("/sign-in?next=")
        assert "auditpipe" not in browser.cookies


@pytest.mark.parametrize("path", ["/sign-in", "/sign-out", "/export"])
@pytest.mark.parametrize("form", [{}, {"token": ""}, {"token": "x" * 43}])
def test_no_form_is_taken_without_its_token(
    served: Served, browser: httpx.Client, path: str, form: dict[str, str]
) -> None:
    given = {"name": "a", "password": "b", "format": "csv", **form}
    before = len(served.events.events)
    answer = browser.post(path, data=given)
    assert answer.status_code in (400, 403)
    assert len(served.events.events) == before
    assert browser.get("/").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}],
)
def test_a_form_of_another_site_is_not_taken(browser: httpx.Client, headers: dict[str, str]) -> None:
    answer = browser.post("/sign-out", data={"token": token(browser, "/")}, headers=headers)
    assert answer.status_code == 403
    assert browser.get("/").status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:24800", "", "[", "127.0.0.1.evil.example", "a@b"])
def test_another_host_is_refused(served: Served, host: str) -> None:
    with served.browser() as browser:
        answer = browser.get("/sign-in", headers={"Host": host})
    assert answer.status_code in (400, 421)
    assert "Sign in" not in answer.text


@pytest.mark.parametrize("path", ["/sign-in", "/", "/nowhere", "/static/console.css", "/static/nothing", "/healthz"])
def test_every_answer_has_the_headers(browser: httpx.Client, path: str) -> None:
    answer = browser.get(path)
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert answer.headers["cache-control"] == ("no-cache" if path.startswith("/static") else "no-store")


@pytest.mark.parametrize(
    "path",
    [None, "", "//evil.example", "/\\evil.example", "https://evil.example", "evil", "/a\nb", "/sign-in", "///evil"],
)
def test_a_sign_in_leads_to_no_other_site(path: str | None) -> None:
    assert local(path) == "/"
    assert local("/events/x?y=z") == "/events/x?y=z"


def test_a_huge_form_is_refused(served: Served) -> None:
    with served.browser() as browser:
        answer = browser.post("/sign-in", data={"name": "x" * 100_000})
    assert answer.status_code == 400
    assert "a form has at most" in answer.text
