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

from auditpipe.pipeline import doctor, template
from auditpipe.pipeline.doctor import Check, Level
from auditpipe.schemas.identity import index_of, parse_time
from auditpipe.schemas.settings import Settings
from tests.builders import Document, seal, stream
from tests.conftest import RealOpenSearch
from tests.stored import organization, run_here, store

pytestmark = pytest.mark.opensearch

#: In these months there is nothing else: one that is over, and one to come.
_OVER = parse_time("1973-05-02T00:00:00Z")
COMING = "audit-events-2091.03"

Request = tuple[str, str, Any]


@dataclass(frozen=True)
class Ground:
    """A month with a stream in it, made for one test; and another index of somebody's."""

    month: str
    other: str
    organization: str
    events: list[Document]


@pytest.fixture(scope="module")
def cluster_admin(opensearch: RealOpenSearch) -> Settings:
    return opensearch.add_user("all_access")


@pytest.fixture
def ground(opensearch: RealOpenSearch) -> Iterator[Ground]:
    month, other, name = index_of(_OVER), f"other-{secrets.token_hex(4)}", organization()
    with removed(opensearch, f"/{month}", f"/{other}", f"/{COMING}"):
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


def found(opensearch: RealOpenSearch, name: str) -> Check:
    """The line of `doctor` of this name that is not ok."""
    odd = [check for check in doctor.examine(opensearch.admin, opensearch.shipper) if check.level is not Level.OK]
    (check,) = (check for check in odd if check.name == name)
    return check


def alias(index: str, name: str) -> Request:
    return ("POST", "/_aliases", {"actions": [{"add": {"index": index, "alias": name}}]})


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
    "put an index template": (
        ("PUT", "/_index_template/OTHER", {"index_patterns": ["audit-events-2*"], "priority": 999}),
        "template OTHER",
        "goes over ours",
    ),
}


@pytest.mark.parametrize("words", DONE)
def test_doctor_finds_it(opensearch: RealOpenSearch, cluster_admin: Settings, ground: Ground, words: str) -> None:
    def named(text: str) -> str:
        return text.replace("MONTH", ground.month).replace("OTHER", ground.other).replace("COMING", COMING)

    (method, path, body), line, said = DONE[words]
    with removed(opensearch, f"/_index_template/{ground.other}"):
        sent = None if body is None else json.loads(named(json.dumps(body)))
        opensearch.request(method, named(path), sent, settings=cluster_admin)
        check = found(opensearch, named(line))
        assert check.level is (Level.WARN if words == "change a setting" else Level.FINDING)
        assert named(said) in check.sentence and check.remedy


def test_doctor_finds_a_month_of_theirs(opensearch: RealOpenSearch, cluster_admin: Settings, ground: Ground) -> None:
    with removed(opensearch, "/audit-events-2091.05"):
        opensearch.request("PUT", "/audit-events-2091.05", {"mappings": THEIRS}, settings=cluster_admin)
        assert "mapping differs in" in found(opensearch, "index audit-events-2091.05").sentence


def test_doctor_finds_our_template_gone(opensearch: RealOpenSearch, cluster_admin: Settings) -> None:
    path = f"/_index_template/{template.TEMPLATE}"
    kept = opensearch.request("GET", path)["index_templates"][0]["index_template"]
    try:
        opensearch.request("DELETE", path, settings=cluster_admin)
        assert found(opensearch, "template audit-events").sentence == "missing"
    finally:
        opensearch.request("PUT", path, kept)


def test_a_hidden_month_is_read_all_the_same(
    opensearch: RealOpenSearch, cluster_admin: Settings, ground: Ground
) -> None:
    """The node itself would pass it over: nothing is missed by what our commands ask for."""
    opensearch.request("PUT", f"/{ground.month}/_settings", {"index.hidden": True}, settings=cluster_admin)
    wanted = {"query": {"term": {"organization.id": ground.organization}}}
    assert opensearch.request("POST", "/audit-events-*/_count", wanted)["count"] == 0
    env = opensearch.environment()
    found = run_here("search", "--org", ground.organization, "--sort", "asc", "-o", "ndjson", env=env)
    assert found.documents == ground.events
    exported = run_here("export", "--org", ground.organization, "--to", "-", env=env)
    assert exported.documents == ground.events
    verified = run_here("verify", "--org", ground.organization, env=env)
    assert verified.code == 0 and "3 events in 1 stream" in verified.err


def verified(opensearch: RealOpenSearch, ground: Ground) -> list[dict[str, Any]]:
    done = run_here("verify", "--org", ground.organization, "-o", "json", env=opensearch.environment())
    assert done.code == 1, done
    findings: list[dict[str, Any]] = json.loads(done.out)["findings"]
    return findings


def put(month: str, document: Document, doc_id: str | None = None) -> Request:
    return ("PUT", f"/{month}/_create/{doc_id or document['event']['id']}?refresh=true", document)


def test_verify_finds_what_they_add(opensearch: RealOpenSearch, cluster_admin: Settings, ground: Ground) -> None:
    """Into a stream that is there, beside its own events, or an event of no stream at all."""
    first, second, last = ground.events
    forged = seal({**json.loads(json.dumps(second)), "message": "nothing happened"})
    forged["event"]["id"] = first["event"]["id"][:-4] + "ffff"
    seal(forged)
    loose = json.loads(json.dumps(last))
    loose["event"]["id"] = first["event"]["id"][:-4] + "eeee"
    for name in ("stream", "sequence", "previous", "hash"):
        del loose["audit"][name]
    for document in (forged, loose):
        method, path, body = put(ground.month, document)
        opensearch.request(method, path, body, settings=cluster_admin)
    kinds = {finding["kind"] for finding in verified(opensearch, ground)}
    assert {"double", "unlinked"} <= kinds


def test_verify_finds_a_copy_of_a_month(opensearch: RealOpenSearch, cluster_admin: Settings, ground: Ground) -> None:
    copy = f"audit-events-copy-{secrets.token_hex(4)}"
    with removed(opensearch, f"/{copy}"):
        opensearch.request("PUT", f"/{ground.month}/_block/write", settings=cluster_admin)
        opensearch.request("POST", f"/{ground.month}/_clone/{copy}?wait_for_active_shards=1", settings=cluster_admin)
        told = verified(opensearch, ground)
    assert {finding["kind"] for finding in told} >= {"double", "wrong_index"}
