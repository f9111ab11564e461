"""Export from a real node: complete, atomic, and described by its manifest."""

import errno
import hashlib
import io
import os
from pathlib import Path
from typing import Any

import orjson
import pytest
from opensearchpy import OpenSearch

from auditpipe.pipeline import export as module
from auditpipe.pipeline.export import Request, check_free, to_file, to_stream
from auditpipe.pipeline.manifest import Manifest, path_beside
from auditpipe.pipeline.query import Filters
from auditpipe.pipeline.reader import Snapshot
from auditpipe.schemas.errors import NotAllowed, NotFinished, UsageError
from auditpipe.schemas.identity import SECOND
from tests.builders import START_NS, Document, stream
from tests.conftest import RealOpenSearch
from tests.stored import ids, organization, store

pytestmark = pytest.mark.opensearch


@pytest.fixture(scope="module")
def org(opensearch: RealOpenSearch) -> str:
    name = organization()
    store(opensearch, [*stream(30, organization__id=name), *stream(4, organization__id=name, service__name="other")])
    return name


@pytest.fixture
def client(opensearch: RealOpenSearch) -> OpenSearch:
    return opensearch.client(opensearch.super_admin)


def lines(path: Path) -> list[Document]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def test_every_event_once_in_order_of_time_as_stored(client: OpenSearch, org: str, tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    to_file(client, Request(Filters(organization=org)), path)
    got = lines(path)
    assert len(got) == len(set(ids(got))) == 34
    assert got == sorted(got, key=lambda d: (d["@timestamp"], d["event"]["id"]))


def test_the_manifest_says_what_the_file_holds(client: OpenSearch, org: str, tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    given = to_file(client, Request(Filters(organization=org, since_ns=START_NS), purpose="a test"), path)
    manifest = Manifest.read(path_beside(path))
    assert manifest == given
    assert manifest.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert manifest.size == path.stat().st_size
    assert manifest.count == 34
    assert (manifest.exported_by, manifest.purpose) == ("superadmin", "a test")
    assert manifest.since == "2026-10-10T10:00:00.000000Z"
    assert manifest.until == manifest.exported_at == manifest.filter["until"]
    assert manifest.filter["org"] == org
    assert manifest.whole_streams
    assert (manifest.cluster["opensearch"] or "").startswith("3.")
    assert manifest.cluster["uuid"] == client.info()["cluster_uuid"]
    assert sorted((head.first, head.last, head.count) for head in manifest.streams) == [(1, 4, 4), (1, 30, 30)]
    hashes = {document["audit"]["hash"] for document in lines(path)}
    assert {head.last_hash for head in manifest.streams} <= hashes


def test_the_range_is_half_open(client: OpenSearch, org: str, tmp_path: Path) -> None:
    filters = Filters(organization=org, service="accounts", since_ns=START_NS + SECOND, until_ns=START_NS + 3 * SECOND)
    to_file(client, Request(filters), tmp_path / "f")
    assert [document["audit"]["sequence"] for document in lines(tmp_path / "f")] == [2, 3]


def test_both_files_are_private_and_nothing_else_is_left(client: OpenSearch, org: str, tmp_path: Path) -> None:
    to_file(client, Request(Filters(organization=org), "csv"), tmp_path / "e.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.csv", "e.csv.manifest.json"]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_what_is_there_is_not_replaced_unless_asked(client: OpenSearch, org: str, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        to_file(client, Request(Filters(organization=org)), path)
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]
    to_file(client, Request(Filters(organization=org)), path, force=True)
    assert len(lines(path)) == 34


@pytest.mark.parametrize("taken", ["f", "f.manifest.json"])
def test_a_link_to_nowhere_takes_a_name_too(client: OpenSearch, org: str, tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).symlink_to("nowhere")
    with pytest.raises(UsageError, match="is there already"):
        to_file(client, Request(Filters(organization=org)), tmp_path / "f")
    assert [(path.name, path.is_symlink()) for path in tmp_path.iterdir()] == [(taken, True)]


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("taken", ["f", "f.manifest.json"])
def test_what_appears_meanwhile_is_not_replaced(
    client: OpenSearch, org: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: str, links: bool
) -> None:
    """At the last moment, after every check; also where there are no hard links."""
    fsync, link = os.fsync, os.link

    def appearing(descriptor: int) -> None:
        fsync(descriptor)
        (tmp_path / taken).write_text("theirs")

    def linking(source: Path, target: Path) -> None:
        if not links:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        link(source, target)

    monkeypatch.setattr(os, "fsync", appearing)
    monkeypatch.setattr(os, "link", linking)
    with pytest.raises(UsageError, match="is there already"):
        to_file(client, Request(Filters(organization=org)), tmp_path / "f")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(taken, "theirs")]


def test_without_hard_links_an_export_is_the_same(
    client: OpenSearch, org: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_source: Path, _target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    to_file(client, Request(Filters(organization=org)), tmp_path / "f")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f", "f.manifest.json"]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize("target", ["", ".", "/", "n" * 300])
def test_what_is_no_name_is_refused_before_anything_is_read(target: str) -> None:
    with pytest.raises(UsageError):
        check_free(Path(target), force=True)


@pytest.mark.parametrize("target", ["absent/f", "."])
def test_a_place_that_can_not_be_written_is_wrong_usage(client: OpenSearch, tmp_path: Path, target: str) -> None:
    with pytest.raises(UsageError):
        to_file(client, Request(Filters()), tmp_path / target)


class Interrupting:
    """A progress that fails at its first step, as Ctrl-C, a full disk or a bug would."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __call__(self, _total: int) -> "Interrupting":
        return self

    def __enter__(self) -> Any:
        def fail(_count: int) -> None:
            raise self.error

        return fail

    def __exit__(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    ("error", "seen"),
    [(KeyboardInterrupt(), KeyboardInterrupt), (OSError(28, "No space left on device"), NotFinished)],
)
def test_a_failure_leaves_nothing_new_and_nothing_changed(
    client: OpenSearch, org: str, tmp_path: Path, force: bool, error: BaseException, seen: type[BaseException]
) -> None:
    path = tmp_path / "f"
    if force:
        to_file(client, Request(Filters(organization=org)), path)
    before = {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()}
    with pytest.raises(seen):
        to_file(client, Request(Filters(organization=org)), path, force=force, progress=Interrupting(error))
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == before


@pytest.mark.parametrize("force", [False, True])
def test_a_failure_at_the_last_rename_leaves_no_file_without_manifest(
    client: OpenSearch, org: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    replace, link = Path.replace, os.link

    def check(target: Path) -> None:
        if str(target).endswith(".manifest.json"):
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "replace", lambda self, target: (check(target), replace(self, target)))
    monkeypatch.setattr(os, "link", lambda source, target: (check(target), link(source, target)))
    with pytest.raises(NotFinished, match="nothing is kept"):
        to_file(client, Request(Filters(organization=org)), tmp_path / "f", force=force)
    assert list(tmp_path.iterdir()) == []


def test_fewer_events_than_there_were_is_an_error(
    client: OpenSearch, org: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hits = Snapshot.hits
    monkeypatch.setattr(Snapshot, "hits", lambda self: list(hits(self))[:-1])
    with pytest.raises(NotFinished, match="34 events were there and 33 came"):
        to_file(client, Request(Filters(organization=org)), tmp_path / "f")
    assert list(tmp_path.iterdir()) == []


def test_many_batches_and_chunks(client: OpenSearch, org: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REPORT_EVERY", 3)
    whole = Snapshot.open
    monkeypatch.setattr(Snapshot, "open", lambda *args: whole(*args, batch=5))
    out = io.BytesIO()
    manifest = to_stream(client, Request(Filters(organization=org)), out)
    assert len(out.getvalue().splitlines()) == manifest.count == 34
    assert manifest.sha256 == hashlib.sha256(out.getvalue()).hexdigest()


def test_nothing_to_export_is_an_empty_file_with_a_manifest(client: OpenSearch, tmp_path: Path) -> None:
    manifest = to_file(client, Request(Filters(organization=organization())), tmp_path / "f")
    assert (manifest.count, (tmp_path / "f").read_bytes()) == (0, b"")


def test_csv_has_its_header_even_if_empty(client: OpenSearch, tmp_path: Path) -> None:
    to_file(client, Request(Filters(organization=organization()), "csv"), tmp_path / "f")
    assert (tmp_path / "f").read_text().startswith("@timestamp,event.id,")


def test_who_may_not_read_exports_nothing(opensearch: RealOpenSearch, tmp_path: Path) -> None:
    nobody = opensearch.client(opensearch.add_user())
    with pytest.raises(NotAllowed, match="ask a Super Admin"):
        to_file(nobody, Request(Filters()), tmp_path / "f")
    assert list(tmp_path.iterdir()) == []
