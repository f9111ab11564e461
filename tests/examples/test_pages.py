"""The pages: the article's walkthroughs as a person performs them, with forms."""

import re

from auditpipe.examples.accounts.web import COOKIE
from tests.examples.conftest import PASSWORD, id_of


def sign_in(browser, name="ada"):
    return browser.post("/sign-in", data={"name": name, "password": PASSWORD})


def test_the_three_walkthroughs_with_forms(browser, store, events):
    failed = sign_in(browser, "ada.typo")
    assert failed.status_code == 401
    assert '<p role="alert">Wrong name or password</p>' in failed.text
    assert "User Management" in sign_in(browser).text

    tess = id_of(store, "tess")
    form = {"first_name": "Tess", "email": "tess@example.com"}
    assert 'value="Doe"' in browser.get(f"/users/{tess}").text
    assert 'value="Dow"' in browser.post(f"/users/{tess}", data={**form, "last_name": "Dow"}).text
    assert 'value="Doe"' in browser.post(f"/users/{tess}", data={**form, "last_name": "Doe"}).text

    [team] = re.findall(r'href="(/teams/[^"]+)"', browser.get("/teams").text)
    page = browser.get(team).text
    before, unassigned = page.split("Users Not Assigned to a Team")
    assert "Tess Doe" in unassigned
    assert "Tess Doe" not in before
    ticked = re.findall(r'value="([^"]+)" checked', page)
    page = browser.post(team, data={"members": [*ticked, tess]}).text
    assert f'value="{tess}" checked' in page

    assert events.actions == [
        "user.login_failed",
        "user.login_succeeded",
        "user.user.updated",
        "user.user.updated",
        "user.team.updated",
    ]
    assert events.events[-1].message == "Ada Adams changed members of team Support: + Tess Doe"
    assert [item.name for item in events.events[-1].audit.involved] == ["Tess Doe"]


def test_pages_send_whoever_is_not_signed_in_to_sign_in(browser):
    for page in ("/", "/users", "/users/u3", "/teams", "/teams/t5"):
        assert browser.get(page).url.path == "/sign-in"


def test_signing_out_takes_the_cookie_away(browser):
    sign_in(browser)
    assert browser.post("/sign-out").url.path == "/sign-in"
    assert COOKIE not in browser.cookies


def test_recovery_answers_the_same_for_everyone(browser, events):
    texts = {browser.post("/password-recovery", data={"email": e}).text for e in ("tess@example.com", "no@example")}
    assert len(texts) == 1
    assert len(events.actions) == 2


def test_a_refusal_is_on_the_page(browser, store):
    sign_in(browser, "tess")
    answer = browser.post(f"/users/{id_of(store, 'ada')}", data={"last_name": "Owned"})
    assert answer.status_code == 403
    assert "You may not do this" in answer.text
    assert browser.get("/users/u999").status_code == 404


def test_names_are_text_and_never_markup(browser, store):
    sign_in(browser)
    tess, markup = id_of(store, "tess"), '"><script>alert(1)</script>'
    browser.post(f"/users/{tess}", data={"last_name": markup})
    for page in ("/users", f"/users/{tess}", next(f"/teams/{team}" for team in store.teams)):
        answer = browser.get(page)
        assert "<script" not in answer.text
        assert "&lt;script&gt;" in answer.text
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
