"""What write-once can't refuse to the cluster's admin (Security's role `all_access`), and which of our tools finds it.

The refusal table (docs/access.md) says what is refused; docs/security.md names what is here.
"""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest
from opensearchpy.exceptions import NotFoundError

from auditpipe.pipeline import template
from auditpipe.pipeline.doctor import cluster
from auditpipe.pipeline.doctor.check import Check, Level
from auditpipe.schemas.identity import index_of, parse_time
from auditpipe.schemas.settings import Settings
from tests.builders import Document, seal, stream
from tests.conftest import RealOpenSearch
from tests.stored import Ran, organization, run_here, store

pytestmark = pytest.mark.opensearch

#: In these months there is nothing else: two that are over, and one to come.
_OVER, _TO_ADD = parse_time("1977-05-02T00:00:00Z"), parse_time("1977-06-02T00:00:00Z")
COMING = "audit-events-2091.03"

Request = tuple[str, str, Any]


@dataclass(frozen=True)
class Ground:
    """A month with a stream in it, and another index of somebody's."""

    month: str
    other: str
    organization: str
    events: list[Document]

    def named(self, text: str) -> str:
        """With the names of this run."""
        return text.replace("MONTH", self.month).replace("OTHER", self.other).replace("COMING", COMING)


@pytest.fixture(scope="module")
def cluster_admin(opensearch: RealOpenSearch) -> Settings:
    return opensearch.add_user("all_access")


@pytest.fixture(scope="module")
def ground(opensearch: RealOpenSearch) -> Iterator[Ground]:
    month, other, name = index_of(_OVER), f"other-{secrets.token_hex(4)}", organization()
    with removed(opensearch, f"/{month}", f"/{other}", f"/{COMING}", MADE, f"/_index_template/{other}"):
        events = store(opensearch, stream(3, start_ns=_OVER, organization__id=name))
        opensearch.request("PUT", f"/{other}/_create/1?refresh=true", {"message": "theirs"})
        opensearch.request("PUT", f"/{COMING}")
        yield Ground(month, other, name, events)


@contextmanager
def removed(opensearch: RealOpenSearch, *paths: str) -> Iterator[None]:
    try:
        yield
    finally:
        for path in paths:
            with suppress(NotFoundError):
                opensearch.request("DELETE", path)


def odd(opensearch: RealOpenSearch) -> list[Check]:
    """The lines of `doctor` that are not ok."""
    return [check for check in cluster.examine(opensearch.admin, opensearch.shipper) if check.level is not Level.OK]


@dataclass(frozen=True)
class Found:
    """What `doctor` and a search say after all of it was done."""

    checks: list[Check]
    search: Ran


@pytest.fixture(scope="module")
def found(opensearch: RealOpenSearch, cluster_admin: Settings, ground: Ground) -> Found:
    """What is not the month's own is undone then."""
    for (method, path, body), _, _ in DONE.values():
        sent = None if body is None else json.loads(ground.named(json.dumps(body)))
        opensearch.request(method, ground.named(path), sent, settings=cluster_admin)
    told = Found(odd(opensearch), run_here("search", env=opensearch.environment()))
    with removed(opensearch, f"/{ground.other}", MADE, f"/_index_template/{ground.other}"):
        return told


def alias(index: str, name: str) -> Request:
    return ("POST", "/_aliases", {"actions": [{"add": {"index": index, "alias": name}}]})


MADE = "/audit-events-2091.05"
THEIRS = {"properties": {"theirs": {"type": "keyword"}}}
#: What is done (OTHER, MONTH, COMING stand for the test's own), which line of doctor tells, and with which words.
DONE: dict[str, tuple[Request, str, str]] = {
    "change the mapping": (("PUT", "/COMING/_mapping", THEIRS), "index COMING", "mapping differs in"),
    "set an ingest pipeline": (
        ("PUT", "/MONTH/_settings", {"index.default_pipeline": "theirs"}),
        "pipelines",
        "MONTH (index.default_pipeline theirs)",
    ),
    "block writing": (("PUT", "/MONTH/_block/write", None), "blocks", "MONTH: blocked by index.blocks.write"),
    "hide": (("PUT", "/MONTH/_settings", {"index.hidden": True}), "settings", "MONTH: index.hidden true"),
    "change a setting": (
        ("PUT", "/MONTH/_settings", {"index.refresh_interval": "-1"}),
        "settings",
        "MONTH: index.refresh_interval -1",
    ),
    "put another index under our alias": (alias("OTHER", "audit-events"), "alias audit-events", "leads to OTHER"),
    "give another index a month's name": (
        alias("OTHER", "audit-events-2091.04"),
        "alias audit-events-2091.04",
        "leads to OTHER",
    ),
    "make a month": (("PUT", MADE, {"mappings": THEIRS}), "index audit-events-2091.05", "mapping differs in"),
    "put an index template": (
        ("PUT", "/_index_template/OTHER", {"index_patterns": ["audit-events-2*"], "priority": 999}),
        "template OTHER",
        "goes over ours",
    ),
}


@pytest.mark.parametrize("words", DONE)
def test_doctor_finds_it(found: Found, ground: Ground, words: str) -> None:
    _, line, said = DONE[words]
    (check,) = (one for one in found.checks if one.name == ground.named(line) and ground.named(said) in one.sentence)
    assert check.level is (Level.WARN if words == "change a setting" else Level.FINDING) and check.remedy


def test_an_index_that_can_not_be_read_as_a_month_is_no_short_answer(found: Found) -> None:
    assert found.search.code == 3 and found.search.out == ""
    assert "an index that is not auditpipe's is among the months" in found.search.said


def test_a_hidden_month_is_read_all_the_same(opensearch: RealOpenSearch, found: Found, ground: Ground) -> None:
    """The node itself passes it over: nothing is missed by what our commands ask for."""
    wanted = {"query": {"term": {"organization.id": ground.organization}}}
    assert opensearch.request("POST", "/audit-events-*/_count", wanted)["count"] == 0
    env, org = opensearch.environment(), ("--org", ground.organization)
    assert run_here("search", *org, "--sort", "asc", "-o", "ndjson", env=env).documents == ground.events
    assert run_here("export", *org, "--to", "-", env=env).documents == ground.events
    told = run_here("verify", *org, env=env)
    assert told.code == 0 and "3 events in 1 stream" in told.err


def test_doctor_finds_our_template_gone(opensearch: RealOpenSearch, cluster_admin: Settings) -> None:
    path = f"/_index_template/{template.TEMPLATE}"
    kept = opensearch.request("GET", path)["index_templates"][0]["index_template"]
    try:
        opensearch.request("DELETE", path, settings=cluster_admin)
        assert "missing" in [check.sentence for check in odd(opensearch) if check.name == "template audit-events"]
    finally:
        opensearch.request("PUT", path, kept)


@pytest.fixture
def added(opensearch: RealOpenSearch) -> Iterator[Ground]:
    """A month that takes events."""
    name = organization()
    with removed(opensearch, f"/{index_of(_TO_ADD)}"):
        events = store(opensearch, stream(3, start_ns=_TO_ADD, organization__id=name))
        yield Ground(index_of(_TO_ADD), "", name, events)


def verified(opensearch: RealOpenSearch, added: Ground) -> list[dict[str, Any]]:
    done = run_here("verify", "--org", added.organization, "-o", "json", env=opensearch.environment())
    assert done.code == 1, done
    findings: list[dict[str, Any]] = json.loads(done.out)["findings"]
    return findings


def put(month: str, document: Document, doc_id: str | None = None) -> Request:
    return ("PUT", f"/{month}/_create/{doc_id or document['event']['id']}?refresh=true", document)


def test_verify_finds_what_they_add(opensearch: RealOpenSearch, cluster_admin: Settings, added: Ground) -> None:
    """Into a stream that is there, beside its own events, or an event of no stream at all."""
    first, second, last = added.events
    forged = seal({**json.loads(json.dumps(second)), "message": "nothing happened"})
    forged["event"]["id"] = first["event"]["id"][:-4] + "ffff"
    seal(forged)
    loose = json.loads(json.dumps(last))
    loose["event"]["id"] = first["event"]["id"][:-4] + "eeee"
    for name in ("stream", "sequence", "previous", "hash"):
        del loose["audit"][name]
    for document in (forged, loose):
        method, path, body = put(added.month, document)
        opensearch.request(method, path, body, settings=cluster_admin)
    kinds = {finding["kind"] for finding in verified(opensearch, added)}
    assert {"double", "unlinked"} <= kinds


def test_verify_finds_a_copy_of_a_month(opensearch: RealOpenSearch, cluster_admin: Settings, added: Ground) -> None:
    copy = f"audit-events-copy-{secrets.token_hex(4)}"
    with removed(opensearch, f"/{copy}"):
        opensearch.request("PUT", f"/{added.month}/_block/write", settings=cluster_admin)
        opensearch.request("POST", f"/{added.month}/_clone/{copy}?wait_for_active_shards=1", settings=cluster_admin)
        told = verified(opensearch, added)
    assert {finding["kind"] for finding in told} >= {"double", "wrong_index"}
