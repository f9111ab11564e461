"""An export that has to say why, because a Super Admin wants it so: on whichever machine, by whichever of our tools."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from auditpipe.pipeline import purpose, roles
from auditpipe.schemas.settings import Settings
from tests.builders import event
from tests.conftest import RealOpenSearch
from tests.dashboards.console.conftest import console, token
from tests.pipeline.test_looked import environment
from tests.stored import organization, run_here, store

pytestmark = pytest.mark.opensearch


@pytest.fixture(scope="module")
def org(opensearch: RealOpenSearch) -> str:
    name = organization()
    store(opensearch, [event(organization__id=name)])
    return name


@pytest.fixture(scope="module")
def reader(opensearch: RealOpenSearch) -> Settings:
    return opensearch.add_user(roles.ADMIN)


@pytest.fixture
def required(opensearch: RealOpenSearch) -> Iterator[None]:
    env = opensearch.environment()
    assert run_here("access", "require-purpose", "on", env=env).code == 0
    try:
        yield
    finally:
        assert run_here("access", "require-purpose", "off", env=env).code == 0


def test_it_is_optional_until_a_super_admin_says_otherwise(
    opensearch: RealOpenSearch, reader: Settings, org: str
) -> None:
    done = run_here("export", "--org", org, "--to", "-", env=environment(reader))
    assert done.code == 0 and len(done.documents) == 1
    for state in ("on", "off"):
        refused = run_here("access", "require-purpose", state, env=environment(reader))
        assert refused.code == 4 and "Super Admin" in refused.err
    env = opensearch.environment()
    assert run_here("access", "require-purpose", "off", env=env).code == 0  # it is off: fine


@pytest.mark.parametrize("given", [(), ("--purpose", ""), ("--purpose", "  ")])
def test_without_one_nothing_is_exported(
    required: None, reader: Settings, org: str, tmp_path: Path, given: tuple[str, ...]
) -> None:
    for target in ("-", "f.ndjson"):
        done = run_here("export", "--org", org, "--to", target, *given, env=environment(reader), cwd=tmp_path)
        assert done.code == 2 and "give it a purpose (--purpose TEXT)" in done.said, done
        assert done.out == "" and list(tmp_path.iterdir()) == []


def test_with_one_all_is_as_ever(required: None, reader: Settings, org: str, tmp_path: Path) -> None:
    done = run_here("export", "--org", org, "--to", "f", "--purpose", " why ", env=environment(reader), cwd=tmp_path)
    assert done.code == 0, done
    assert json.loads((tmp_path / "f.manifest.json").read_text())["purpose"] == "why"
    assert run_here("search", "--org", org, env=environment(reader)).code == 0


def test_the_console_asks_for_it_too(
    opensearch: RealOpenSearch, required: None, reader: Settings, org: str, tmp_path: Path
) -> None:
    with console(opensearch.url, opensearch.ca_file, tmp_path) as served, served.signed_in(reader) as browser:
        page = browser.get(f"/?org={org}").text
        assert '<input name="purpose" maxlength="500" required' in page
        form = {"token": token(browser, "/"), "format": "ndjson"}
        refused = browser.post(f"/export?org={org}", data=form)
        assert refused.status_code == 400 and "every export to say why" in refused.text
        assert browser.post(f"/export?org={org}", data={**form, "purpose": "why"}).status_code == 200


def test_the_role_allows_nothing_and_nobody_misses_anything_by_it(opensearch: RealOpenSearch, required: None) -> None:
    """It is everyone's, the shipper's too."""
    nobody, shipper = opensearch.add_user(), opensearch.client(opensearch.shipper)
    assert run_here("search", env=environment(nobody)).code == 4
    told = shipper.transport.perform_request("GET", "/_plugins/_security/authinfo")
    assert purpose.is_required(told)
    document = event()
    index = "audit-events-2026.10"
    shipper.create(index=index, id=document["event"]["id"], body=document)
    done = run_here("doctor", env=opensearch.environment("operator"))
    assert purpose.ROLE not in done.out
