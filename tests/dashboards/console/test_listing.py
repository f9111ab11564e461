"""The list: what it shows, finds, counts and suggests; its pages; its states."""

import re
import threading
from html import unescape

import httpx
import pytest

from auditpipe.dashboards.console import counts, paging
from auditpipe.dashboards.console.histogram import HEIGHT, columns
from auditpipe.dashboards.console.paging import Place
from auditpipe.pipeline.client import connect
from auditpipe.schemas.errors import BadFilter
from auditpipe.schemas.identity import DAY, SECOND
from auditpipe.schemas.settings import Settings, load
from tests.builders import START_NS, event, stream
from tests.conftest import RealOpenSearch
from tests.dashboards.console.conftest import Served, Tenant, console, sign_in
from tests.stored import organization, store

pytestmark = pytest.mark.opensearch

ROW = re.compile(r'<tr role="row" data-href="/events/([^"]+)">')


def rows(page: str) -> list[str]:
    """Ids of the events on a page."""
    return ROW.findall(page)


def next_page(page: str, rel: str = "next") -> str | None:
    match = re.search(rf'rel="{rel}" href="([^"]+)"', page)
    return unescape(match[1]) if match else None


def words(page: str) -> str:
    """The text of a page."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page.replace("<wbr>", ""))).split())


@pytest.fixture(scope="module")
def org(opensearch: RealOpenSearch) -> str:
    """120 events of 120 minutes, ten of which failed, and one of another action."""
    name = organization()
    minute = {"step_ns": 60 * SECOND, "organization__id": name}
    store(opensearch, stream(110, **minute))
    failed = {"event__outcome": "failure", "event__reason": "not_allowed", "audit__changes": None}
    store(opensearch, stream(10, start_ns=START_NS + 110 * 60 * SECOND, **minute, **failed))
    team = {"event__action": "user.team.updated", "audit__target": {"type": "team", "id": "t4"}}
    members = {"audit__changes": [{"field": "members", "after": "u7"}], "audit__changed": ["members"]}
    store(opensearch, [event(START_NS - SECOND, organization__id=name, **team, **members)])
    return name


def test_it_shows_who_did_what_to_what_and_what_changed(browser: httpx.Client, org: str) -> None:
    page = browser.get("/", params={"org": org, "outcome": "success", "action": "user.user.updated"}).text
    assert len(rows(page)) == 50
    text = words(page)
    assert "Time UTC Action Actor Target What changed Outcome Address" in text
    assert "2026-10-10 11:49:00 user.user.updated ada user:Tess Test last_name: Doe -> Dow success 192.0.2.1" in text
    assert "110 events" in text


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"action": "user.team.*"}, 1),
        ({"action": ["user.team.updated", "user.login_failed"]}, 1),
        ({"actor": "ada@example.com"}, 121),
        ({"user": "u7"}, 121),
        ({"target": "team:t4"}, 1),
        ({"changed": "last_name"}, 120),
        ({"outcome": "failure"}, 10),
        ({"reason": "not_allowed"}, 10),
        ({"ip": "192.0.2.0/24"}, 121),
        ({"service": "accounts"}, 121),
        ({"session": "s1", "request": "r1"}, 121),
        ({"since": "2026-10-10T11:50", "until": "2026-10-10T11:55"}, 5),
        ({"query": "audit.changes.after:u7"}, 1),
        ({"actor": "nobody"}, 0),
    ],
)
def test_each_filter_finds_its_own(browser: httpx.Client, org: str, given: dict[str, str], found: int) -> None:
    text = words(browser.get("/", params={"org": org, **given}).text)
    assert (f"{found} event{'' if found == 1 else 's'} " in text) if found else ("Nothing found" in text)


def test_a_form_with_empty_fields_leads_to_a_link_that_can_be_shared(browser: httpx.Client, org: str) -> None:
    answer = browser.get("/", params={"org": org, "actor": "", "action": "a.b c.d", "since": " "})
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/?org={org}&action=a.b&action=c.d"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"since": "soon"}, "Since (UTC): expected a time"),
        ({"query": "a:("}, "OpenSearch can't read this query"),
        ({"at": "damaged"}, "this link to a page is damaged"),
        ({"at": str(Place(["x", "y", "z", "w"]))}, "OpenSearch can't read this query"),
    ],
)
def test_a_bad_filter_says_what_is_wrong_and_keeps_the_rest(
    browser: httpx.Client, org: str, given: dict[str, str], said: str
) -> None:
    answer = browser.get("/", params={"org": org, **given})
    assert answer.status_code == 400
    assert said in words(answer.text)
    assert f'name="org" value="{org}"' in answer.text


def test_pages_neither_repeat_nor_miss_while_events_are_added(
    opensearch: RealOpenSearch, browser: httpx.Client, org: str
) -> None:
    """Newer, older and in between, between each two pages; and another month's, in another index."""
    name = organization()
    there = store(opensearch, stream(120, organization__id=name))
    expected = [document["event"]["id"] for document in reversed(there)]
    seen, link = [], f"/?org={name}"
    for number in range(3):
        page = browser.get(link).text
        seen += rows(page)
        more = [START_NS + 500 * SECOND, START_NS - DAY * 40, START_NS - SECOND, START_NS + number * SECOND + 1]
        store(opensearch, [event(ns, organization__id=name) for ns in more])
        link = next_page(page) or ""
        if number:
            assert "of 120" not in words(page)  # the first page counted 120; the view was opened a little later
    new = [one for one in seen if one not in expected]
    assert len(seen) == len(set(seen))
    assert [one for one in seen if one in expected] == expected
    # Only what had come before the second page was asked for, and is older than the first page's last event.
    assert len(new) <= 3


def test_pages_lead_back_to_where_they_came_from(browser: httpx.Client, org: str) -> None:
    first = browser.get("/", params={"org": org}).text
    second = browser.get(next_page(first) or "").text
    third = browser.get(next_page(second) or "").text
    assert [len(rows(page)) for page in (first, second, third)] == [50, 50, 21]
    assert next_page(third) is None
    assert next_page(first, "prev") is None
    assert rows(browser.get(next_page(third, "prev") or "").text) == rows(second)
    back = browser.get(next_page(second, "prev") or "").text
    assert rows(back) == rows(first)
    assert next_page(back, "prev") is None
    assert "121 events" in words(third)


def test_a_view_that_expired_is_opened_again_where_it_was(served: Served, browser: httpx.Client, org: str) -> None:
    second = browser.get(next_page(browser.get("/", params={"org": org}).text) or "").text
    session = served.session(browser)
    session.client.delete_pit(body={"pit_id": [*session.views._kept.values()]})
    third = browser.get(next_page(second) or "").text
    assert len(rows(third)) == 21


def test_a_session_holds_two_views_at_most(served: Served, browser: httpx.Client, org: str) -> None:
    for given in ({"org": org}, {"org": org, "actor": "ada"}, {"org": org, "user": "u7"}):
        browser.get(next_page(browser.get("/", params=given).text) or "")
    session = served.session(browser)
    assert len(session.views._kept) == paging.KEPT
    session.views.close(session.client)
    assert not session.views._kept


def test_counts_and_bars_are_links_that_narrow_the_list(browser: httpx.Client, org: str) -> None:
    page = browser.get("/", params={"org": org}).text
    facets = re.findall(r'<a class="facet[^>]*href="([^"]+)"[^>]*>(.*?)</a>', page)
    told = {words(inner): unescape(target) for target, inner in facets}
    assert set(told) == {"success 111", "failure 10", "user.user.updated 120", "user.team.updated 1"}
    assert len(rows(browser.get(told["failure 10"]).text)) == 10
    bars = re.findall(r'<a href="([^"]+)" aria-label="(\d+) events, (\d+) failed', page)
    assert 20 < len(bars) <= 60
    assert sum(int(count) for _, count, _ in bars) == 121
    assert sum(int(failed) for _, _, failed in bars) == 10
    target, count, _ = bars[7]
    assert len(rows(browser.get(unescape(target)).text)) == int(count)


@pytest.mark.parametrize("span", [0, 1, 59_000, 3_600_000, 86_400_000 * 31, 86_400_000 * 366 * 130])
def test_there_are_never_more_than_sixty_bars(span: int) -> None:
    seconds = counts.interval(1_000, 1_000 + span)
    assert span / 1_000 / seconds < 60


def test_one_event_among_many_is_seen_in_a_bar() -> None:
    bars = [counts.Bar("a", "b", 1_000_000, 1), counts.Bar("b", "c", 1, 0), counts.Bar("c", "d", 0, 0)]
    many, one, none = columns(bars)
    assert many.bad_height >= 2
    assert many.good_height + many.bad_height <= HEIGHT
    assert one.good_height >= 2
    assert (none.good_height, none.bad_height) == (0, 0)
    assert columns([]) == []


def test_suggestions_are_values_that_this_person_may_see(served: Served, tenant: Tenant, org: str) -> None:
    with served.signed_in(tenant.admin) as browser:
        page = browser.get("/").text
    listed = set(re.findall(r'<option value="([^"]+)">', page))
    assert {"user.user.updated", "ada", "user", "user:u7"} <= listed
    assert "team:t4" not in listed


def test_another_tenants_events_are_not_there(
    opensearch: RealOpenSearch, served: Served, browser: httpx.Client, tenant: Tenant, org: str
) -> None:
    [foreign, *_] = rows(browser.get("/", params={"org": org}).text)
    with served.signed_in(tenant.admin) as own:
        page = own.get("/").text
        assert len(rows(page)) == 1
        assert "1 event " in words(page)
        assert "Nothing found" in own.get("/", params={"org": org}).text
        answer = own.get(f"/events/{foreign}")
        assert answer.status_code == 404
        assert "No such event" in answer.text
        assert own.post("/export", params={"org": org}, data={"format": "csv"}).status_code == 403  # no token


def test_a_grant_that_was_taken_back_ends_what_they_see(opensearch: RealOpenSearch, served: Served) -> None:
    person = opensearch.add_user("audit_admin")
    with served.signed_in(person) as browser:
        patch = [{"op": "replace", "path": "/opendistro_security_roles", "value": []}]
        opensearch.request("PATCH", f"/_plugins/_security/api/internalusers/{person.get('username')}", patch)
        answer = browser.get("/")
    assert answer.status_code == 403
    assert "You may not see this" in answer.text
    assert "ask a Super Admin" in answer.text


def test_a_page_of_long_values_stays_small(opensearch: RealOpenSearch, browser: httpx.Client) -> None:
    name = organization()
    changes = [{"field": "note", "before": "<b>" * 2_600, "after": "\u202e" * 8_000}]
    store(opensearch, stream(50, organization__id=name, audit__changes=changes))
    page = browser.get("/", params={"org": name})
    assert len(rows(page.text)) == 50
    assert len(page.content) < 150_000


def test_a_node_that_is_away_is_said_to_be(fresh: Served, admin: Settings) -> None:
    with fresh.signed_in(admin) as browser:
        away = load({"url": "https://127.0.0.1:9", "username": "ada", "password_file": admin.get("password_file")})
        fresh.session(browser).client = connect(away)
        answer = browser.get("/?actor=ada")
    assert answer.status_code == 503
    text = words(answer.text)
    assert "OpenSearch does not answer" in text
    assert "Wait a little and load this page again." in text
    assert '<a class="button" href="/?actor=ada">Try again</a>' in answer.text


def test_nobody_signs_in_while_the_node_is_away(opensearch: RealOpenSearch, tmp_path) -> None:
    with console("https://127.0.0.1:9", opensearch.ca_file, tmp_path) as made, made.browser() as browser:
        answer = sign_in(browser, "ada", "x")
        assert answer.status_code == 503
        assert "nothing listens there" in answer.text


@pytest.mark.parametrize("text", ["", "!", "bnVsbA", str(Place([1])), "x" * 5_000])
def test_a_damaged_place_is_no_place(text: str) -> None:
    with pytest.raises(BadFilter):
        Place.read(text)


def test_a_place_comes_back_from_its_link() -> None:
    place = Place([1790000000000000000, "id", "audit-events-2026.10", None], newer=True)
    assert Place.read(str(place)) == place


def test_views_are_safe_for_two_tabs_at_once(served: Served, browser: httpx.Client, org: str) -> None:
    link = next_page(browser.get("/", params={"org": org}).text) or ""
    pages: list[str] = []
    tabs = [threading.Thread(target=lambda: pages.append(browser.get(link).text)) for _ in range(4)]
    for tab in tabs:
        tab.start()
    for tab in tabs:
        tab.join()
    assert len({tuple(rows(page)) for page in pages}) == 1
    assert len(rows(pages[0])) == 50
