"""What each role and each state of the console looks like in a real Chromium: the words, the keyboard's place, axe."""

from typing import Any

import pytest

from auditpipe.pipeline.client import connect
from auditpipe.schemas.settings import Settings, load
from tests.builders import event
from tests.conftest import RealOpenSearch
from tests.dashboards.console.browser import NARROW, Tab, tab, violations
from tests.dashboards.console.conftest import Served, Tenant
from tests.stored import organization, store

pytestmark = [pytest.mark.opensearch, pytest.mark.browser]


def look(window: Tab, *said: str) -> None:
    """The words are there, axe finds nothing, and nothing is wider than the screen."""
    page = window.page
    for words in said:
        assert words in window.words(), window.words()
    assert violations(page) == ""
    for size in (NARROW, window.size):
        page.set_viewport_size(size)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # What the browser says of an answer of 401, 403 or 503 is no error of the page.
    window.wrong = [told for told in window.wrong if "the server responded with a status of" not in told]


@pytest.mark.parametrize("role", ["audit_admin", "audit_auditor", "audit_super_admin"])
def test_each_role_sees_the_list_and_only_a_super_admin_who_looked(
    chromium: Any, opensearch: RealOpenSearch, served: Served, role: str
) -> None:
    org = organization()
    store(opensearch, [event(organization__id=org)])
    with tab(chromium, served, opensearch.add_user(role)) as window:
        window.page.goto(f"/?org={org}")
        assert "1 event" in window.words("#how-many")
        pages = window.words("nav[aria-label=Pages]")
        assert pages == ("Events Who looked" if role == "audit_super_admin" else "Events")
        window.page.goto("/who-looked")
        if role == "audit_super_admin":
            assert "Who looked The node's own record" in window.words()
        else:
            look(window, "You may not see this", "ask a Super Admin to grant it to you")


def test_an_admin_of_one_organization_sees_its_events_alone(
    chromium: Any, opensearch: RealOpenSearch, served: Served, tenant: Tenant
) -> None:
    [foreign] = store(opensearch, [event(organization__id=organization())])
    with tab(chromium, served, tenant.admin) as window:
        window.page.goto("/")
        assert "1 event" in window.words("#how-many")
        window.page.goto(f"/events/{foreign['event']['id']}")
        look(window, "No such event", "none that you may see")


def test_signing_in_failing_and_out(chromium: Any, fresh: Served, admin: Settings) -> None:
    with tab(chromium, fresh, None) as window:
        page = window.page
        page.goto("/sign-in")
        page.click("summary:has-text('Sign in with a token')")
        look(window, "Sign in", "or a token that OpenSearch takes", "on record")
        page.fill("[name=bearer]", "x")
        page.keyboard.press("Enter")
        page.wait_for_selector("[role=alert]")
        assert page.evaluate("document.activeElement.name") == "bearer"
        look(window, "This token is not taken")
        page.fill("[name=name]", admin.get("username"))
        page.fill("[name=password]", "wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=Wrong name or password")
        assert page.evaluate("document.activeElement.name") == "name"
        page.fill("[name=name]", admin.get("username"))
        page.fill("[name=password]", admin.password)
        page.keyboard.press("Enter")
        page.click("button:has-text('Sign out')")
        page.wait_for_selector("text=You have signed out")
        look(window, "You have signed out.")


def test_a_session_that_ended_and_a_node_that_is_away(chromium: Any, fresh: Served, admin: Settings) -> None:
    with tab(chromium, fresh, admin) as window:
        page = window.page
        for session in fresh.console.sessions._sessions.values():
            session.client = connect(load({"url": "https://127.0.0.1:9"}, environment={}))
        page.goto("/?actor=ada")
        look(window, "OpenSearch does not answer", "Wait a little and load this page again.")
        assert page.get_attribute("a:has-text('Try again')", "href") == "/?actor=ada"
        fresh.console.sessions.end_all()
        page.click("a:has-text('Try again')")
        page.wait_for_selector("text=Your session has ended")
        look(window, "Your session has ended. Sign in again to go on.")
        assert page.evaluate("document.activeElement.name") == "name"


def test_the_link_above_the_list_leads_to_the_form_of_the_export(
    chromium: Any, opensearch: RealOpenSearch, served: Served, admin: Settings
) -> None:
    org = organization()
    store(opensearch, [event(organization__id=org)])
    with tab(chromium, served, admin) as window:
        window.page.goto(f"/?org={org}")
        window.page.click(".to-export")
        window.page.wait_for_function("document.activeElement.name === 'format'")
        with window.page.expect_download() as download:
            window.page.click("button:has-text('Export')")
        assert download.value.suggested_filename.endswith(".zip")
