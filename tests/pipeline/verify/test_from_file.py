"""`verify` of an exported file: every alteration is found, an untouched one has no finding."""

import hashlib
import json
import os
import random
import sqlite3
import time
import tracemalloc
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from auditpipe.pipeline.export import silent
from auditpipe.pipeline.manifest import Heads, Manifest, path_beside
from auditpipe.pipeline.tabular import csv_header, csv_row
from auditpipe.pipeline.verify.chain import Tally, verdict
from auditpipe.pipeline.verify.event import Flaw
from auditpipe.pipeline.verify.from_file import csv_findings, findings, open_export
from auditpipe.pipeline.verify.view import Terms
from auditpipe.pipeline.workspace import Workspace
from auditpipe.schemas.errors import NotFinished, UsageError
from auditpipe.schemas.identity import DAY, SECOND, format_time
from tests.builders import START_NS, Document, seal, stream


def exported(folder: Path, documents: list[Document], **said: object) -> Path:
    """A file as export leaves it, with its manifest."""
    path = folder / "events.ndjson"
    ordered = sorted(documents, key=lambda document: (document["@timestamp"], document["event"]["id"]))
    path.write_bytes(b"".join(orjson.dumps(document) + b"\n" for document in ordered))
    heads = Heads()
    for document in documents:
        heads.add(document)
    content = path.read_bytes()
    manifest = Manifest(
        **{"file": path.name, "format": "ndjson", "sha256": hashlib.sha256(content).hexdigest()},
        **{"size": len(content), "count": len(documents), "filter": {}, "since": None, "until": None},
        **{"whole_streams": True, "exported_at": format_time(START_NS + DAY), "exported_by": "ada", "purpose": None},
        **{"tool": "auditpipe 0", "cluster": {}, "schemas": heads.schemas(), "streams": heads.streams()},
    )
    path_beside(path).write_bytes(replace(manifest, **said).to_json())
    return path


def examine(path: Path) -> tuple[list[Flaw], str]:
    tally = Tally()
    with findings(open_export(path), tally, silent, Terms()) as (view, flaws):
        found = list(flaws)
    return found, verdict(tally, view)


def without_manifest(path: Path) -> Path:
    path_beside(path).unlink()
    return path


def test_an_untouched_file_has_no_finding(tmp_path: Path) -> None:
    assert examine(exported(tmp_path, [*stream(20), *stream(5)])) == ([], "sound")
    assert examine(without_manifest(tmp_path / "events.ndjson")) == ([], "sound")


def test_a_manifest_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    path = path_beside(exported(tmp_path, stream(2)))
    assert Manifest.read(path).to_json() == path.read_bytes()


def _change(lines: list[Document], rng: random.Random) -> None:
    document = rng.choice(lines)
    path = rng.choice(["message", "@timestamp", "event", "user", "audit"])
    inner = document[path]
    if isinstance(inner, dict):
        key = rng.choice(sorted(inner))
        inner[key] = "changed" if inner[key] != "changed" else None
    else:
        document[path] = inner[:-1] + "x"


def _drop(lines: list[Document], rng: random.Random) -> None:
    lines.pop(rng.randrange(len(lines)))


def _double(lines: list[Document], rng: random.Random) -> None:
    lines.insert(rng.randrange(len(lines)), rng.choice(lines))


def _swap(lines: list[Document], rng: random.Random) -> None:
    one, two = rng.sample(range(len(lines)), 2)
    lines[one], lines[two] = lines[two], lines[one]


def _insert(lines: list[Document], rng: random.Random) -> None:
    lines.insert(rng.randrange(len(lines)), stream(1, start_ns=START_NS + rng.randrange(20) * SECOND)[0])


@pytest.mark.parametrize("alter", [_change, _drop, _double, _swap, _insert])
def test_every_alteration_is_found(tmp_path: Path, alter: Callable[[list[Document], random.Random], None]) -> None:
    path = exported(tmp_path, [*stream(12), *stream(8)])
    original = path.read_bytes()
    for seed in range(60):
        lines = [orjson.loads(line) for line in original.splitlines()]
        alter(lines, random.Random(seed))
        path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
        found, said = examine(path)
        assert found, seed
        assert said == "findings"


@pytest.mark.parametrize("alter", [_change, _double])
def test_without_a_manifest_the_events_own_proof_is_left(
    tmp_path: Path, alter: Callable[[list[Document], random.Random], None]
) -> None:
    path = without_manifest(exported(tmp_path, [*stream(12), *stream(8)]))
    original = path.read_bytes()
    for seed in range(60):
        lines = [orjson.loads(line) for line in original.splitlines()]
        alter(lines, random.Random(seed))
        path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
        assert examine(path)[1] == "findings", seed


def test_a_cut_off_end_is_found_by_the_manifest(tmp_path: Path) -> None:
    path = exported(tmp_path, stream(10))
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))
    found, _ = examine(path)
    assert {flaw.kind for flaw in found} == {"manifest"}
    assert any("numbers 1 to 8" in flaw.detail for flaw in found)


def test_a_line_that_is_no_event_is_named(tmp_path: Path) -> None:
    path = without_manifest(exported(tmp_path, stream(2)))
    with path.open("ab") as file:
        file.write(b'{"torn": \n[]\n\xff\n')
    found, _ = examine(path)
    assert [(flaw.kind, flaw.detail[:7]) for flaw in found] == [
        *[("unreadable", "line 3 "), ("unreadable", "line 4 "), ("unreadable", "line 5 ")]
    ]


RANGES: list[dict[str, object]] = [{"since": format_time(START_NS)}, {"until": format_time(START_NS + SECOND * 9)}]


@pytest.mark.parametrize("said", RANGES)
def test_a_hole_that_a_range_may_have_left_is_for_the_index(tmp_path: Path, said: dict[str, object]) -> None:
    documents = stream(6)
    found, verdict_is = examine(exported(tmp_path, [*documents[:4], documents[5]], **said))
    assert [flaw.kind for flaw in found] == ["out_of_view"]
    assert not found[0].is_note
    assert verdict_is == "ask the index"


def test_what_is_more_than_a_day_ahead_of_its_export_is_a_misfit(tmp_path: Path) -> None:
    path = exported(tmp_path, stream(2, step_ns=DAY + SECOND), exported_at=format_time(START_NS))
    assert [(flaw.kind, flaw.sequence) for flaw in examine(path)[0]] == [("misfit", 2)]
    ahead = without_manifest(exported(tmp_path, stream(1, start_ns=time.time_ns() + 2 * DAY)))
    assert [flaw.kind for flaw in examine(ahead)[0]] == ["misfit"]


@pytest.mark.parametrize("exported_at", [START_NS + SECOND * 3, START_NS + DAY * 300])
def test_a_hole_in_a_file_is_never_on_its_way(tmp_path: Path, exported_at: int) -> None:
    documents = stream(3)
    path = exported(tmp_path, [documents[0], documents[2]], exported_at=format_time(exported_at))
    young = exported_at < START_NS + DAY
    found, said = examine(path)
    assert [flaw.kind for flaw in found] == ["out_of_view" if young else "gap"]
    assert said == ("ask the index" if young else "findings")
    path.write_bytes(path.read_bytes().replace(b"Dow", b"Doe"))
    found, said = examine(path)
    assert "gap" in {flaw.kind for flaw in found}


def test_an_event_outside_of_the_range_of_its_manifest_is_found(tmp_path: Path) -> None:
    for said in ({"since": format_time(START_NS + 1)}, {"until": format_time(START_NS + 2 * SECOND)}):
        found, _ = examine(exported(tmp_path, stream(3), **said))
        assert [flaw.kind for flaw in found] == ["manifest"]


@pytest.mark.parametrize(
    ("true", "forged"),
    [
        (b'"message":', b'"message":"FORGED mallory did it",'),
        (b'"user":', b'"user":{"id":"mallory"},'),
        (b'"id":"u1"', b'"id":"mallory",'),
        (b'"field":', b'"field":"salary",'),
        (b'"message":', b'"mess\\u0061ge":"FORGED",'),
        (b'"message":', b'"message":' + b"[" * 900 + b"]" * 900 + b","),
    ],
)
def test_a_forged_value_beside_the_true_one_is_altered(tmp_path: Path, true: bytes, forged: bytes) -> None:
    path = without_manifest(exported(tmp_path, stream(2)))
    path.write_bytes(path.read_bytes().replace(true, forged + true, 1))
    [flaw], said = examine(path)
    assert (flaw.kind, flaw.sequence, flaw.detail[:7]) == ("altered", 1, "line 1:")
    assert said == "findings"


def test_another_layout_of_the_same_event_is_no_alteration(tmp_path: Path) -> None:
    path = without_manifest(exported(tmp_path, stream(3)))
    lines = [json.dumps(orjson.loads(line), sort_keys=True) for line in path.read_bytes().splitlines()]
    path.write_text("\r\n".join(lines))
    assert examine(path) == ([], "sound")


@pytest.mark.parametrize("first", [b"", b"\n", b" ", b"x\r\n"])
def test_no_manifest_makes_csv_of_altered_events(tmp_path: Path, first: bytes) -> None:
    path = exported(tmp_path, stream(2))
    altered = first + path.read_bytes().replace(b"Dow", b"Doe")
    path.write_bytes(altered)
    said = {"format": "csv", "size": len(altered), "sha256": hashlib.sha256(altered).hexdigest()}
    beside = path_beside(path)
    beside.write_bytes(replace(Manifest.read(beside), **said).to_json())
    assert not open_export(path).is_csv
    found, _ = examine(path)
    assert {"altered", "manifest"} <= {flaw.kind for flaw in found}


def test_a_manifest_that_no_export_wrote_is_a_finding(tmp_path: Path) -> None:
    for said in ({"manifest": "9.9"}, {"exported_at": "garbage"}, {"exported_at": 5}, {"since": "garbage"}):
        found, result = examine(exported(tmp_path, stream(2), **said))
        assert [flaw.kind for flaw in found] == ["manifest"]
        assert result == "findings"


def test_another_name_is_a_note(tmp_path: Path) -> None:
    [note], said = examine(exported(tmp_path, stream(2), file="other.nd"))
    assert (note.kind, note.is_note) == ("other_name", True)
    assert note.detail == "the manifest is about 'other.nd', this file is 'events.ndjson'"
    assert said == "sound"
    assert examine(exported(tmp_path, stream(2), file="-")) == ([], "sound")


@pytest.mark.parametrize("count", [1, 4])
def test_where_no_hash_holds_the_file_is_not_verifiable(tmp_path: Path, count: int) -> None:
    path = without_manifest(exported(tmp_path, stream(count)))
    path.write_bytes(path.read_bytes().replace(b"Dow", b"Doe"))
    assert examine(path)[1] == "not verifiable"


def test_findings_on_lines_come_while_the_file_is_read(tmp_path: Path) -> None:
    path, seen = without_manifest(exported(tmp_path, [])), []
    path.write_bytes(b"x\n" * 3000)
    with findings(open_export(path), Tally(), lambda _total: nullcontext(seen.append), Terms()) as (_, flaws):
        next(flaws)
        assert seen == []
        assert sum(1 for _ in flaws) == 2999


def test_a_line_nested_to_the_limit_is_a_finding(tmp_path: Path) -> None:
    path = without_manifest(exported(tmp_path, stream(2)))
    deep = b"[" * 1000 + b"]" * 1000
    for true in (b'"event":{"id":', b'"@timestamp":'):
        document = path.read_bytes().splitlines()[0]
        head, _, rest = document.partition(true)
        path.write_bytes(head + true + deep + rest[rest.index(b",") :] + b"\n")
        assert examine(path)[0]
        exported(tmp_path, stream(2))
        without_manifest(path)


def test_no_room_to_sort_is_not_finished() -> None:
    with pytest.raises(NotFinished, match="temporary file"), Workspace():
        raise sqlite3.OperationalError("database or disk is full")


def test_what_can_be_read_only_once_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="expected a regular file"):
        open_export(tmp_path / "pipe")


def test_a_filtered_export_is_hash_only(tmp_path: Path) -> None:
    path = exported(tmp_path, stream(9)[::2], whole_streams=False, filter={"actor": "ada"})
    assert examine(path) == ([], "hash only")


def test_repeated_keys_are_listed_with_both_events(tmp_path: Path) -> None:
    documents = [*stream(1, audit__key="order-7"), *stream(1, audit__key="order-7"), *stream(1, audit__key="order-8")]
    found, _ = examine(exported(tmp_path, documents))
    assert [flaw.kind for flaw in found] == ["repeated_key", "repeated_key"]
    assert {flaw.event_id for flaw in found} == {document["event"]["id"] for document in documents[:2]}


def test_one_key_in_two_organizations_is_no_repetition(tmp_path: Path) -> None:
    documents = [*stream(1, audit__key="k"), *stream(1, audit__key="k", organization__id="other")]
    assert examine(exported(tmp_path, documents)) == ([], "sound")


def test_csv_is_checked_as_bytes_only(tmp_path: Path) -> None:
    content = (csv_header() + "".join(map(csv_row, stream(2)))).encode()
    said = {"format": "csv", "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    path = exported(tmp_path, stream(2), **said)
    path.write_bytes(content)
    assert open_export(path).is_csv
    assert csv_findings(open_export(path)) == []
    beside = path_beside(path)
    beside.write_bytes(replace(Manifest.read(beside), format="ndjson").to_json())
    assert [flaw.detail for flaw in csv_findings(open_export(path))] == ["the file is csv, its manifest says ndjson"]
    beside.write_bytes(replace(Manifest.read(beside), format="csv").to_json())
    path.write_bytes(path.read_bytes() + b"x")
    assert [flaw.kind for flaw in csv_findings(open_export(path))] == ["manifest", "manifest"]


def test_a_manifest_that_is_none_is_refused(tmp_path: Path) -> None:
    path = exported(tmp_path, stream(1))
    path_beside(path).write_text("{}")
    with pytest.raises(UsageError, match="expected a manifest"):
        open_export(path)
    with pytest.raises(UsageError, match="can't be read"):
        open_export(tmp_path / "absent")


def test_progress_reaches_the_size_of_the_file(tmp_path: Path) -> None:
    path, seen = exported(tmp_path, stream(3)), []
    with findings(open_export(path), Tally(), lambda _total: nullcontext(seen.append), Terms()) as (_, flaws):
        list(flaws)
    assert seen[-1] == path.stat().st_size


def test_a_resealed_event_is_found_by_its_neighbour(tmp_path: Path) -> None:
    documents = stream(3)
    documents[1]["message"] = "another"
    seal(documents[1])
    found, _ = examine(without_manifest(exported(tmp_path, documents)))
    assert [flaw.kind for flaw in found] == ["broken_link"]


def test_memory_does_not_grow_with_the_number_of_events(tmp_path: Path) -> None:
    """What is kept for each event is on disk; in memory are the streams, here one."""

    def peak(documents: list[Document]) -> int:
        path = exported(tmp_path, documents)
        tracemalloc.start()
        try:
            assert examine(path) == ([], "sound")
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    documents = stream(4_000, step_ns=1_000_000)
    peak(documents[:100])  # what is loaded once
    assert peak(documents) - peak(documents[:1_000]) < 1_000_000
