"""The console as people use it: in a real Chromium."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from auditpipe.examples.accounts.app import application, audit_log
from auditpipe.examples.accounts.server import serving
from auditpipe.examples.accounts.store import sample
from auditpipe.pipeline.query import Filters
from auditpipe.pipeline.reader import search
from auditpipe.schemas.settings import Settings
from tests.builders import event
from tests.conftest import RealOpenSearch, RealStack
from tests.dashboards.console.browser import NARROW, WIDE, Tab, tab, violations
from tests.dashboards.console.conftest import Served
from tests.dashboards.console.demo import week
from tests.dashboards.console.test_detail import HOSTILE, hostile_fields
from tests.stored import organization, store
from tests.waiting import until

pytestmark = [pytest.mark.opensearch, pytest.mark.browser]

_PASSWORD = "correct horse battery staple"


@dataclass(frozen=True)
class Walked:
    """The organization of the example application, after the article's three walkthroughs and a week before them."""

    org: str


@pytest.fixture(scope="module")
def walked(chromium: Any, stack: RealStack, tmp_path_factory: pytest.TempPathFactory) -> Walked:
    """The walkthroughs, performed in the example application's own pages; shipped, stored, searchable."""
    org = organization()
    store(stack.opensearch, week(time.time_ns() - 60 * 10**9, org))
    spool = tmp_path_factory.mktemp("accounts")
    with audit_log(forward=stack.forward, spool_dir=spool, organization={"id": org, "name": "Acme"}) as audit:
        with serving(application(audit, sample(_PASSWORD))) as address:
            context = chromium.new_context(base_url=f"http://{address}")
            _perform(context.new_page())
            context.close()
        assert audit.flush(120)

    def all_are_there() -> bool:
        with search(stack.opensearch.client(), Filters(organization=org, service="accounts"), limit=0) as found:
            return found.total >= 240 + 6

    until(all_are_there)
    return Walked(org)


def _perform(page: Any) -> None:
    def sign_in(name: str) -> None:
        page.fill("[name=name]", name)
        page.fill("[name=password]", _PASSWORD)
        page.click("button:has-text('Sign in')")

    page.goto("/sign-in")
    sign_in("ada.typo")
    sign_in("ada")
    for last_name in ("Dow", "Doe"):
        page.goto("/users")
        page.click("a:has-text('Tess')")
        page.fill("[name=last_name]", last_name)
        page.click("main button, form:has([name=last_name]) button")
    page.goto("/teams")
    page.click("a:has-text('Support')")
    page.check("label:has-text('Tess Doe') input")
    page.click("form:has([name=members]) button")


@pytest.fixture(scope="module")
def window(chromium: Any, served: Served, admin: Settings) -> Iterator[Tab]:
    """An Admin's."""
    with tab(chromium, served, admin) as made:
        yield made


def find(window: Tab, org: str, **filters: str) -> None:
    """By the form, as a person does."""
    page = window.page
    page.goto("/")
    page.click("summary:has-text('More filters')")
    for name, value in {"org": org, **filters}.items():
        page.fill(f".filters [name={name}]", value)
    page.click(".filters button:has-text('Search')")
    page.wait_for_url(re.compile(r"[?&]org="))


def open_by_double_click(window: Tab, text: str) -> str:
    window.page.dblclick(f"tbody tr:has-text('{text}')")
    window.page.wait_for_selector(".sentence")
    return window.words()


def test_walkthrough_1_a_failed_sign_in_and_a_good_one(window: Tab, walked: Walked) -> None:
    find(window, walked.org, action="user.login_failed", reason="unknown_account")
    assert "1 event" in window.words("#how-many")
    assert "user.login_failed" in window.words("tbody tr")
    detail = open_by_double_click(window, "user.login_failed")
    assert "failed to sign in: unknown account" in detail
    assert "ada.typo" not in window.page.content()
    find(window, walked.org, action="user.login_succeeded", actor="ada", since="10m")
    assert "Ada Adams signed in" in open_by_double_click(window, "user.login_succeeded")


def test_walkthrough_2_a_last_name_changed_and_changed_back(window: Tab, walked: Walked) -> None:
    find(window, walked.org, changed="last_name")
    assert "2 events" in window.words("#how-many")
    newest, oldest = (" ".join(row.inner_text().split()) for row in window.page.query_selector_all("tbody tr"))
    assert "user.user.updated ada user:Tess Dow last_name: Dow -> Doe success" in newest
    assert "last_name: Doe -> Dow success" in oldest
    detail = open_by_double_click(window, "Doe -> Dow")
    assert "Ada Adams changed last_name of Tess Doe: Doe -> Dow" in detail
    assert "Field Before After last_name Doe Dow" in detail
    assert window.page.inner_text("mark.gone") == "Doe"
    assert window.page.inner_text("mark.come") == "Dow"
    assert "It verifies sound" in detail


def test_walkthrough_3_a_user_added_to_a_team(window: Tab, walked: Walked) -> None:
    find(window, walked.org, action="user.team.*", user="Tess Doe", service="accounts")
    detail = open_by_double_click(window, "team:Support")
    assert "Ada Adams changed members of team Support: + Tess Doe" in detail
    assert re.search(r"members \(nothing\) \w+ \(Tess Doe\)", detail)


def test_the_keyboard_is_enough(window: Tab, walked: Walked) -> None:
    page = window.page
    for _ in range(2):  # the first time, the event that was opened last is chosen
        page.goto(f"/?org={walked.org}")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowDown")
    chosen = page.evaluate("document.activeElement.dataset.href")
    assert chosen == page.get_attribute("tbody tr:nth-child(2)", "data-href")
    page.keyboard.press("Enter")
    page.wait_for_selector(".sentence")
    assert page.url.endswith(chosen)
    page.keyboard.press("Escape")
    page.wait_for_url(re.compile(re.escape(f"/?org={walked.org}") + "$"))
    assert page.evaluate("document.activeElement.dataset.href") == chosen
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "action"
    page.keyboard.type("user.login_failed/")
    assert page.input_value("[name=action]") == "user.login_failed/"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.tagName") == "BODY"


def test_a_bar_and_a_count_narrow_the_list(window: Tab, walked: Walked) -> None:
    page = window.page
    page.goto(f"/?org={walked.org}")
    page.click(".facet.bad")
    page.wait_for_selector(".facet.bad[aria-current]")
    assert {badge.inner_text() for badge in page.query_selector_all("td .badge")} == {"failure"}
    page.click(".histogram a >> nth=0", force=True)
    page.wait_for_url(re.compile("until="))
    assert page.query_selector_all("tbody tr")


def test_times_are_the_viewers_with_utc_beside(
    chromium: Any, opensearch: RealOpenSearch, served: Served, admin
) -> None:
    [document] = store(opensearch, [event(organization__id=organization())])
    link = f"/?org={document['organization']['id']}"
    with tab(chromium, served, admin, timezone_id="Asia/Kolkata") as window:
        window.page.goto(link)
        assert window.page.inner_text("td time") == "2026-10-10 15:30:00"
        assert window.page.get_attribute("td time", "title") == "2026-10-10 10:00:00.000000 UTC"
        assert window.page.inner_text("th .zone") in ("Asia/Kolkata", "Asia/Calcutta")
    with tab(chromium, served, admin, timezone_id="Asia/Kolkata", java_script_enabled=False) as window:
        window.page.goto(link)
        assert window.words("tbody tr").startswith("2026-10-10 10:00:00 user.user.updated")
        assert window.page.inner_text("th .zone") == "UTC"
        window.page.click("tbody a")
        assert "Field Before After last_name Doe Dow" in window.words()


def test_the_raw_json_is_copied(chromium: Any, opensearch: RealOpenSearch, served: Served, admin) -> None:
    [document] = store(opensearch, [event(organization__id=organization())])
    with tab(chromium, served, admin, permissions=["clipboard-read", "clipboard-write"]) as window:
        window.page.goto(f"/events/{document['event']['id']}")
        window.page.click("summary:has-text('Raw JSON')")
        window.page.click("button:has-text('Copy')")
        window.page.wait_for_selector("text=Copied")
        copied = window.page.evaluate("navigator.clipboard.readText().then(JSON.parse)")
    assert copied == document


def test_signing_in_by_the_form_leads_to_where_the_link_led(
    chromium: Any, served: Served, admin: Settings, walked: Walked
) -> None:
    with tab(chromium, served, None) as window:
        page = window.page
        page.goto(f"/?org={walked.org}&changed=last_name")
        page.fill("[name=name]", admin.get("username"))
        page.fill("[name=password]", admin.password)
        page.keyboard.press("Enter")
        page.wait_for_selector("tbody tr")
        assert page.url.endswith(f"/?org={walked.org}&changed=last_name")
        page.click("button:has-text('Sign out')")
        page.wait_for_selector("h1:has-text('Sign in')")
        page.wait_for_function("sessionStorage.length === 0")
        page.goto(f"/?org={walked.org}")
        assert page.query_selector_all("tbody tr") == []
        assert "Sign in" in window.words("h1")


@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
def test_strangers_text_runs_nothing_and_breaks_no_layout(
    chromium: Any, opensearch: RealOpenSearch, served: Served, admin, viewport: dict[str, int]
) -> None:
    """`tab` watches for scripts, errors and requests to elsewhere."""
    org = organization()
    img = {**hostile_fields(), "message": f"<img src=http://evil.example/x onerror=alert(1)>{HOSTILE}"}
    [document, _] = store(
        opensearch, [event(organization__id=org, **img), event(organization__id=org, **hostile_fields())]
    )
    with tab(chromium, served, admin, viewport=viewport) as window:
        for path in (f"/?org={org}", f"/events/{document['event']['id']}"):
            window.page.goto(path)
            assert "<script>alert(1)</script>" in window.words()
            assert "\\x1b[2J\\u202e" in window.words()
            assert window.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path


def test_axe_finds_nothing_in_either_theme(
    chromium: Any, opensearch: RealOpenSearch, served: Served, walked: Walked
) -> None:
    here = f"/?org={walked.org}&since=1h"  # the walkthroughs: axe takes its time with each row
    with tab(chromium, served, opensearch.super_admin) as window:
        page = window.page
        page.goto(here)
        detail = page.get_attribute("tbody tr:has-text('Doe')", "data-href")
        for path in (here, detail, "/who-looked?user=olivia", f"{here}&actor=nobody", f"{here}&ip=home", "/nowhere"):
            page.goto(path)
            for summary in page.query_selector_all("main details:not([open]) > summary"):
                summary.click()
            assert violations(page) == "", path
        page.set_viewport_size(NARROW)
        for path in (here, detail):
            page.goto(path)
            assert violations(page) == "", path
        page.context.clear_cookies()
        page.goto("/")
        assert violations(page) == "", "sign-in"
        # What the browser says of an answer of 400 or 404 is no error of the page.
        window.wrong = [said for said in window.wrong if "the server responded with a status of 40" not in said]


def test_pictures(
    chromium: Any, served: Served, admin: Settings, walked: Walked, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Of the list and of one event, as the documents show them; `make screenshots` keeps them."""
    folder = Path(request.config.getoption("--screenshots", default=None) or tmp_path)
    with tab(chromium, served, admin, viewport={"width": 1280, "height": 960}) as window:
        page = window.page
        page.goto(f"/?org={walked.org}&since=7d")
        # The organization of a test has no name that a reader of the documents could know.
        page.evaluate("document.querySelector('.filters details').open = false")
        page.screenshot(path=folder / "console-list.png")
        page.goto(f"/?org={walked.org}&changed=last_name")
        page.dblclick("tbody tr:last-child")
        page.wait_for_selector(".sentence")
        page.screenshot(path=folder / "console-detail.png")
    for name in ("console-list.png", "console-detail.png"):
        picture = (folder / name).read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert len(picture) < 200_000
