"""The example application over HTTP: what it does, what it refuses, and that both are on record."""

import httpx
import pytest

from auditpipe.examples.accounts.exports import KINDS
from auditpipe.examples.accounts.web import COOKIE
from auditpipe.schemas.errors import SpoolFull
from tests.examples.conftest import PASSWORD, id_of, sign_in


def test_nothing_works_without_signing_in(browser, store, events):
    assert browser.get("/api/users").status_code == 401
    assert browser.delete(f"/api/teams/{next(iter(store.teams))}").status_code == 401
    assert events.actions == []


def test_wrong_name_and_wrong_password_look_the_same(browser):
    answers = [sign_in(browser, "nobody"), sign_in(browser, password="wrong")]
    assert {(answer.status_code, answer.text) for answer in answers} == {(401, answers[0].text)}


def test_recovery_tells_nobody_which_accounts_exist(browser, events):
    answers = [browser.post("/api/password-recovery", json={"email": e}) for e in ("tess@example.com", "no@example")]
    assert {(answer.status_code, answer.text) for answer in answers} == {(202, answers[0].text)}
    assert events.actions == ["user.password_recovery_requested", "user.password_recovery_failed"]


def test_what_was_typed_for_an_unknown_account_is_in_no_event(browser, events):
    sign_in(browser, "MyPassword-typed-as-name")
    [event] = events.events
    assert "MyPassword" not in event.model_dump_json()
    assert event.audit.redacted == ["user.name"]


def test_no_password_and_no_cookie_is_in_any_event(browser, events):
    sign_in(browser)
    secret = browser.cookies[COOKIE]
    person = {"name": "nia", "first_name": "Nia", "last_name": "New", "email": "nia@example.com"}
    assert browser.post("/api/users", json={**person, "password": "hunter2-hunter2"}).status_code == 200
    text = "".join(event.model_dump_json() for event in events.events)
    assert events.events[-1].audit.redacted == ["password"]
    for hidden in (secret, PASSWORD, "hunter2"):
        assert hidden not in text


def test_a_refusal_is_an_event_and_changes_nothing(browser, store, events):
    sign_in(browser, "tess")
    before = dict(store.users)
    answer = browser.patch(f"/api/users/{id_of(store, 'ada')}", json={"last_name": "Owned"})
    assert (answer.status_code, answer.json()["reason"]) == (403, "not_allowed")
    assert store.users == before
    event = events.events[-1]
    assert (event.event.action, event.event.outcome, event.event.reason) == (
        "user.user.updated",
        "failure",
        "not_allowed",
    )
    assert (event.user.name, event.audit.target.id) == ("tess", id_of(store, "ada"))
    assert event.audit.changes is None


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reason"),
    [
        ("PATCH", "/api/users/u999", {"last_name": "X"}, 404, "not_found"),
        ("PATCH", "/api/users/{tess}", {"last_name": "\u202eX"}, 422, "invalid_input"),
        ("PATCH", "/api/users/{tess}", {"email": "ada@example.com"}, 409, "conflict"),
        ("PUT", "/api/users/{tess}/roles", {"roles": ["emperor"]}, 422, "invalid_input"),
        ("POST", "/api/users/{ada}/deactivate", None, 409, "conflict"),
        ("POST", "/api/teams", {"name": ["Support"]}, 422, "invalid_input"),
        ("DELETE", "/api/roles/agent", None, 409, "conflict"),
        ("POST", "/api/roles", {"id": "x", "name": "X", "permissions": ["fly"]}, 422, "invalid_input"),
    ],
)
def test_what_can_not_be_done_says_why_and_is_on_record(browser, store, events, method, path, body, status, reason):
    sign_in(browser)
    place = path.format(tess=id_of(store, "tess"), ada=id_of(store, "ada"))
    answer = browser.request(method, place, json=body)
    assert (answer.status_code, answer.json()["reason"]) == (status, reason)
    assert (events.events[-1].event.outcome, events.events[-1].event.reason) == ("failure", reason)


@pytest.mark.parametrize("body", [b"{", b"[]", b'"text"', b'{"name": "\\ud800", "password": "x"}', b"x" * 70_000])
def test_a_body_that_means_nothing_is_refused_in_words(browser, body):
    answer = browser.post("/api/sign-in", content=body)
    assert answer.status_code == 422
    assert answer.json()["reason"] == "invalid_input"


def test_saving_what_was_there_is_no_event(browser, store, events):
    sign_in(browser)
    assert browser.patch(f"/api/users/{id_of(store, 'tess')}", json={"last_name": "Doe"}).status_code == 200
    assert events.actions == ["user.login_succeeded"]


def test_what_can_not_be_put_on_record_is_not_done(browser, store, events, monkeypatch):
    sign_in(browser)

    def full(*_):
        raise SpoolFull("the spool is full")

    monkeypatch.setattr(events, "append", full)
    users, teams, roles = dict(store.users), dict(store.teams), dict(store.roles)
    tess, team = id_of(store, "tess"), next(iter(store.teams))
    answers = [
        browser.patch(f"/api/users/{tess}", json={"last_name": "Dow"}),
        browser.post(f"/api/users/{tess}/deactivate"),
        browser.post("/api/teams", json={"name": "Billing"}),
        browser.delete(f"/api/teams/{team}"),
        browser.post("/api/roles", json={"id": "x", "name": "X"}),
    ]
    assert [answer.status_code for answer in answers] == [503] * 5
    assert (store.users, store.teams, store.roles) == (users, teams, roles)


@pytest.mark.parametrize("kind", KINDS)
def test_each_export_is_on_record_with_its_size(browser, events, kind):
    sign_in(browser)
    rows = browser.get(f"/api/exports/{kind}").json()
    event = events.events[-1]
    assert event.event.action == f"user.{kind}.exported"
    assert event.audit.details == {"format": "json", "rows": len(rows)}


def test_an_export_that_does_not_exist_is_not_found(browser):
    sign_in(browser)
    assert browser.get("/api/exports/passwords").status_code == 404


def test_an_event_names_the_session_and_the_actor_of_the_request(browser, store, events):
    sign_in(browser)
    browser.patch(f"/api/users/{id_of(store, 'tess')}", json={"last_name": "Dow"})
    signed_in, changed = events.events
    assert changed.audit.session.id == signed_in.audit.session.id
    assert changed.audit.session.id != browser.cookies[COOKIE]
    assert (changed.user.id, changed.user.roles) == (id_of(store, "ada"), ["admin"])
    assert changed.source.ip == "127.0.0.1"
    assert changed.user_agent.original.startswith("python-httpx/")


def test_signing_out_ends_the_session_itself(browser, events):
    sign_in(browser)
    secret = browser.cookies[COOKIE]
    browser.post("/api/sign-out")
    assert events.actions == ["user.login_succeeded", "user.logged_out"]
    assert browser.get("/api/users", headers={"cookie": f"{COOKIE}={secret}"}).status_code == 401


def test_signing_in_again_ends_the_session_before(browser):
    sign_in(browser)
    secret = browser.cookies[COOKIE]
    sign_in(browser)
    assert browser.cookies[COOKIE] != secret
    assert httpx.get(browser.base_url.join("/api/users"), cookies={COOKIE: secret}).status_code == 401


def test_a_deactivated_user_is_out_at_once_and_may_not_come_back(browser, address, store, events):
    sign_in(browser)
    with httpx.Client(base_url=f"http://{address}") as other:
        sign_in(other, "tess")
        assert other.get("/api/teams").status_code == 200
        browser.post(f"/api/users/{id_of(store, 'tess')}/deactivate")
        assert other.get("/api/teams").status_code == 401
        assert sign_in(other, "tess").status_code == 401
    assert events.events[-1].event.reason == "account_inactive"


@pytest.mark.parametrize(
    "headers",
    [{"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"origin": "https://evil.example"}],
)
def test_another_site_can_make_no_browser_act_here(browser, events, headers):
    answer = browser.post("/api/sign-in", json={"name": "ada", "password": PASSWORD}, headers=headers)
    assert answer.status_code == 403
    assert events.actions == []


def test_another_name_for_this_machine_is_refused(browser):
    assert browser.get("/sign-in", headers={"host": "rebound.example"}).status_code == 400


def test_the_cookie_is_kept_from_scripts_and_other_sites(browser):
    header = sign_in(browser).headers["set-cookie"].lower()
    assert "httponly" in header
    assert "samesite=lax" in header
