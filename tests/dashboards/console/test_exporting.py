"""Export, and who looked."""

import io
import re
import time
import zipfile
from collections.abc import Generator
from html import unescape
from pathlib import Path

import httpx
import pytest

from auditpipe.dashboards.console import looked
from auditpipe.dashboards.console.exporting import zipped
from auditpipe.dashboards.console.paging import Place
from auditpipe.pipeline.manifest import Manifest
from auditpipe.schemas.errors import NotFinished
from tests.builders import event, stream
from tests.conftest import RealOpenSearch
from tests.dashboards.console.conftest import Served, Tenant, token
from tests.dashboards.console.test_listing import words
from tests.stored import ids, organization, run, store
from tests.waiting import until


@pytest.fixture(scope="module")
def org(opensearch: RealOpenSearch) -> str:
    name = organization()
    store(opensearch, stream(1_200, organization__id=name))
    store(opensearch, [event(organization__id=name, user__name="=cmd()", event__outcome="failure")])
    return name


def export(browser: httpx.Client, path: str, **form: str) -> zipfile.ZipFile:
    answer = browser.post(f"/export{path}", data={"token": token(browser, "/"), **form})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"].startswith('attachment; filename="audit-events-')
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    return archive


@pytest.mark.opensearch
def test_it_is_exactly_what_is_filtered_with_its_manifest(
    opensearch: RealOpenSearch, browser: httpx.Client, admin, org: str, tmp_path: Path
) -> None:
    archive = export(browser, f"?org={org}&outcome=success", format="ndjson", purpose="revision für März")
    data, manifest_file = archive.namelist()
    assert manifest_file == f"{data}.manifest.json"
    archive.extractall(tmp_path)
    manifest = Manifest.read(tmp_path / manifest_file)
    assert (manifest.count, manifest.purpose, manifest.exported_by) == (
        1_200,
        "revision für März",
        admin.get("username"),
    )
    assert manifest.filter["outcome"] == "success"
    done = run("verify", data, env=opensearch.environment(), cwd=tmp_path)
    assert done.code == 0, done


@pytest.mark.opensearch
def test_csv_runs_nothing_in_a_spreadsheet(browser: httpx.Client, org: str) -> None:
    archive = export(browser, f"?org={org}&outcome=failure", format="csv")
    text = archive.read(archive.namelist()[0]).decode()
    assert "'=cmd()" in text
    assert len(text.splitlines()) == 2


@pytest.mark.opensearch
@pytest.mark.parametrize(
    ("path", "form", "said"),
    [
        ("?since=soon", {"format": "csv"}, "expected a time"),
        ("", {"format": "xml"}, "format: expected one of ndjson, csv"),
        ("?query=a:(", {"format": "csv"}, "OpenSearch can't read this query"),
        ("", {"format": "csv", "purpose": "x" * 501}, "at most 500 characters"),
    ],
)
def test_what_can_not_be_exported_is_said_on_a_page(
    browser: httpx.Client, path: str, form: dict[str, str], said: str
) -> None:
    answer = browser.post(f"/export{path}", data={"token": token(browser, "/"), **form})
    assert answer.status_code == 400
    assert said in words(answer.text)
    assert f'href="/{path}">Try again' in answer.text


@pytest.mark.opensearch
def test_a_tenants_export_holds_their_own_events(served: Served, tenant: Tenant) -> None:
    with served.signed_in(tenant.admin) as browser:
        archive = export(browser, "", format="ndjson")
    assert archive.read(archive.namelist()[0]).count(b"\n") == 1


def test_an_export_that_breaks_off_is_no_archive() -> None:
    def events() -> Generator[bytes, None, Manifest]:
        yield b"x" * 10_000
        raise NotFinished("2 events were there and 1 came")

    received = io.BytesIO()
    with pytest.raises(NotFinished):
        for part in zipped(events(), "a.ndjson"):
            received.write(part)
    assert not zipfile.is_zipfile(received)


def test_who_goes_away_frees_what_the_export_holds() -> None:
    closed = []

    def events() -> Generator[bytes, None, Manifest]:
        try:
            while True:
                yield bytes(1_000)
        finally:
            closed.append(True)

    parts = zipped(events(), "a.ndjson")
    next(parts)
    del parts
    assert closed == [True]


@pytest.mark.opensearch
def test_a_super_admin_sees_who_searched_exported_and_why(
    opensearch: RealOpenSearch, served: Served, browser: httpx.Client, admin, org: str
) -> None:
    [document] = store(opensearch, [event(organization__id=org)])
    browser.get(f"/events/{document['event']['id']}")
    browser.get("/", params={"query": f"{org} <b>"})
    export(browser, f"?org={org}&outcome=failure", format="csv", purpose=f"why {org}")
    wanted = (f"why {org}", ids([document])[0], "looked at", "searched", "exported", "console", "&lt;b&gt;")
    with served.signed_in(opensearch.super_admin) as super_admin:

        def told() -> str:
            time.sleep(0.2)  # each look makes a record
            opensearch.request("POST", "/security-auditlog-*/_refresh")
            page = super_admin.get("/who-looked", params={"user": admin.get("username")}).text
            return page if all(word in page for word in wanted) else ""

        page = until(told, 180)
        assert "<b>" not in page
        assert "superadmin" not in page.split("<tbody")[1]
        assert "Nothing found" in super_admin.get("/who-looked", params={"user": "who-never-looked"}).text


@pytest.mark.opensearch
def test_older_looks_are_behind_a_link(
    opensearch: RealOpenSearch, served: Served, browser: httpx.Client, admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looked, "SIZE", 1)
    for number in range(2):
        browser.get(f"/?actor=someone-{number}")

    with served.signed_in(opensearch.super_admin) as super_admin:

        def told() -> str:
            time.sleep(0.2)  # each look makes a record
            opensearch.request("POST", "/security-auditlog-*/_refresh")
            page = super_admin.get("/who-looked", params={"user": admin.get("username")}).text
            return page if "someone-1" in page and "Older" in page else ""

        page, seen = until(told, 180), []
        assert ">Newest</a>" not in page
        while "someone-0" not in page:
            seen.append(page.split("<tbody")[1].split("</tbody>")[0])
            assert seen[-1].count("<tr") == 1
            link = re.search(r'href="([^"]+)">Older', page)
            assert link is not None
            page = super_admin.get(unescape(link[1])).text
        assert len(set(seen)) == len(seen) > 0
        assert ">Newest</a>" in page
        for place in ("x", *map(str, map(Place, (["x", "i", 1], [2**62, "i", 1], [1, "i", "x"])))):
            assert super_admin.get("/who-looked", params={"at": place}).status_code == 400
