"""Rows for `verify` from an exported file, and the file against its manifest."""

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import IO, Any

from auditpipe.pipeline.any_json import loaded
from auditpipe.pipeline.duplicate_keys import key_given_twice
from auditpipe.pipeline.export import Progress
from auditpipe.pipeline.manifest import Head, Heads, Manifest, name_of, path_beside
from auditpipe.pipeline.retention import removed_ranges
from auditpipe.pipeline.tabular import COLUMNS
from auditpipe.pipeline.verify.chain import Tally, check
from auditpipe.pipeline.verify.event import Flaw, Row, row_of
from auditpipe.pipeline.verify.form import Form
from auditpipe.pipeline.verify.view import Terms, View, latest_ns
from auditpipe.pipeline.visible import json_bytes
from auditpipe.pipeline.workspace import Workspace
from auditpipe.schemas.errors import Finding, UsageError
from auditpipe.schemas.identity import LATEST_NS, parse_time

#: An event is at most 256 kB; a line longer than this is none.
_LONGEST_LINE = 8 << 20
_REPORT_EVERY = 1_000
#: How every CSV file of ours begins; further columns may be added one day.
_CSV_BEGINS = ",".join(COLUMNS[:4]).encode()


@dataclass(frozen=True, slots=True)
class ExportFile:
    """A file to verify, and what its manifest says, if there is one."""

    path: Path
    manifest: Manifest | None
    is_csv: bool
    #: Of the manifest itself, and of what it says the file is.
    flaws: tuple[Flaw, ...] = ()


def open_export(path: Path, manifest: Path | None = None) -> ExportFile:
    """Look at what is there. UsageError: no such file, or no readable manifest where one stands or was named."""
    beside = manifest or path_beside(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"{path}: expected a regular file: it is read more than once")
        with path.open("rb") as file:
            # By its content: the manifest is not signed, and CSV is hardly checked.
            is_csv = file.read(len(_CSV_BEGINS)) == _CSV_BEGINS
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}") from error
    if not manifest and not os.path.lexists(beside):
        return ExportFile(path, None, is_csv)
    try:
        read = Manifest.read(beside)
    except Finding as finding:
        return ExportFile(path, None, is_csv, (Flaw("manifest", f"it is not as an export writes it: {finding}"),))
    return ExportFile(path, read, is_csv, tuple(_against_file(read, path, "csv" if is_csv else "ndjson")))


@contextmanager
def findings(
    export: ExportFile, tally: Tally, progress: Progress, terms: Terms
) -> Iterator[tuple[View, Iterator[Flaw]]]:
    """(the view that the file is, findings and notes on it). The file is read once; its rows are sorted on disk."""
    # Without a manifest nothing tells when the file was written, and so what became of its streams.
    exported_ns = parse_time(export.manifest.exported_at) if export.manifest else time.time_ns()
    view = View(is_file=True, until=True, held=terms.held, latest_ns=latest_ns(exported_ns))
    if export.manifest:
        since = export.manifest.since
        view = replace(view, whole=export.manifest.whole_streams, since_ns=parse_time(since) if since else None)
        view = _with_removed(view, export.manifest, terms)
    with Workspace() as workspace, progress(export.path.stat().st_size) as advance:
        yield view, _all(export, workspace, view, tally, terms, advance)


def csv_findings(export: ExportFile) -> list[Flaw]:
    """All that can be said of CSV: whether its bytes are still those that were written."""
    digest, size = hashlib.sha256(), 0
    with export.path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            size += len(chunk)
    if export.manifest is None:
        return list(export.flaws)
    return [*export.flaws, *_against_bytes(export.manifest, digest.hexdigest(), size)]


def _all(
    export: ExportFile,
    workspace: Workspace,
    view: View,
    tally: Tally,
    terms: Terms,
    advance: Callable[[int], None],
) -> Iterator[Flaw]:
    """First what single lines and the manifest show, while the file is read; then the streams."""
    yield from map(tally.note, export.flaws)
    yield from map(tally.note, _Reading(export, workspace, Form(terms.catalogue, view.latest_ns)).run(advance))
    if export.manifest and not tally.kinds["manifest"]:
        # What the file lacked when it was written, its manifest may explain. What it lost since, it lost.
        view = _explained(view, export.manifest, terms)
    yield from check(chain(_items(workspace), view.misrecorded()), view, tally)


def _with_removed(view: View, manifest: Manifest, terms: Terms) -> View:
    """What retention removed, by the records in the manifest: each of these is signed, whatever the manifest is."""
    if not manifest.removed or terms.trust is None or not terms.trust.authorities:
        return view
    found = removed_ranges.of_documents(manifest.removed, terms.trust)
    return replace(view, removed=found.parts, misrecorded=found.flaws)


def _unrecorded(view: View, manifest: Manifest) -> str:
    if manifest.removed is None:
        return "who exported it could not read the records of that"
    if manifest.removed and view.removed is None:
        return "no authority is named to check its records against: use a profile, or --url with --ca-file"
    return ""


def _explained(view: View, manifest: Manifest, terms: Terms) -> View:
    # Without --until the range ends when the export begins.
    exported_ns, ends_early = parse_time(manifest.exported_at), manifest.until not in (None, manifest.exported_at)
    return replace(
        view,
        until=ends_early,
        is_range=ends_early or manifest.since is not None,
        settled_ns=terms.settled_ns(exported_ns),
        abandoned_ns=terms.abandoned_ns(exported_ns),
        unrecorded=_unrecorded(view, manifest),
    )


def _items(workspace: Workspace) -> Iterator[Row | Flaw]:
    yield from workspace.ordered()
    yield from workspace.at_the_end()


class _Reading:
    """One pass over a file: lines into the workspace, and what can be said at once."""

    def __init__(self, export: ExportFile, workspace: Workspace, form: Form) -> None:
        self._export = export
        self._form = form
        self._workspace = workspace
        self._digest = hashlib.sha256()
        self._heads = Heads()
        self._last: tuple[int, str] = (0, "")
        said = export.manifest
        self._since_ns = parse_time(said.since) if said and said.since else 0
        self._until_ns = parse_time(said.until) if said and said.until else LATEST_NS + 1

    def run(self, advance: Callable[[int], None]) -> Iterator[Flaw]:
        size = count = 0
        with self._export.path.open("rb") as file:
            for number, line in _lines(file):
                self._digest.update(line)
                size += len(line)
                count += 1
                if number % _REPORT_EVERY == 0:
                    advance(size)
                yield from self._line(number, line)
        advance(size)
        if self._export.manifest:
            yield from _against_bytes(self._export.manifest, self._digest.hexdigest(), size)
            yield from _against_events(self._export.manifest, count, self._heads)

    def _line(self, number: int, line: bytes) -> Iterator[Flaw]:
        try:
            document = loaded(line)
        except ValueError as error:
            yield Flaw("unreadable", f"line {number} is no JSON: {error}")
            return
        if not isinstance(document, dict):
            yield Flaw("unreadable", f"line {number} is no event")
            return
        row = row_of(document, self._form)
        if isinstance(row, Flaw):
            yield Flaw(row.kind, f"line {number}: {row.detail}", row.stream, row.sequence, row.event_id, row.time)
            return
        if row.problem is None and (ambiguous := _ambiguity(line, document)):
            detail = f"line {number}: {ambiguous}"
            yield Flaw("altered", detail, row.stream, row.sequence, row.event_id, row.time)
        self._heads.add_link(row.stream, row.sequence, row.own_hash)
        self._workspace.add(row)
        self._workspace.remember(row)
        if self._export.manifest:
            yield from self._against_range(number, row)

    def _against_range(self, number: int, row: Row) -> Iterator[Flaw]:
        try:
            place = (parse_time(row.time), row.event_id)
        except ValueError:
            return  # said already, with the row
        if place < self._last:
            detail = f"line {number} is out of order: exports are by @timestamp and event.id"
            yield Flaw("reordered", detail, row.stream, row.sequence, row.event_id, row.time)
        if not self._since_ns <= place[0] < self._until_ns:
            detail = f"line {number} is not of the range of time that its manifest says"
            yield Flaw("manifest", detail, row.stream, row.sequence, row.event_id, row.time)
        self._last = place


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := file.readline(_LONGEST_LINE):
        number += 1
        yield number, line


def _ambiguity(line: bytes, document: dict[str, Any]) -> str | None:
    """What in a line whose hash holds could be read otherwise: a forged value before or after the true one."""
    if line == json_bytes(document) + b"\n":
        return None  # as export writes it: no key can be there twice
    try:
        key = key_given_twice(line)
    except ValueError as error:
        return str(error)
    return None if key is None else f"it has the key {key!r} twice, and readers differ in which they take"


def _against_file(manifest: Manifest, path: Path, kind: str) -> Iterator[Flaw]:
    if manifest.format != kind:
        yield Flaw("manifest", f"the file is {kind}, its manifest says {manifest.format}")
    # What went to stdout has no name of its own.
    if manifest.file not in ("-", name_of(path)):
        yield Flaw("other_name", f"the manifest is about {manifest.file!r}, this file is {name_of(path)!r}")


def _against_bytes(manifest: Manifest, sha256: str, size: int) -> Iterator[Flaw]:
    if size != manifest.size:
        yield Flaw("manifest", f"the file has {size} bytes, its manifest says {manifest.size}")
    if sha256 != manifest.sha256:
        yield Flaw("manifest", f"the file's SHA-256 is {sha256}, its manifest says {manifest.sha256}")


def _against_events(manifest: Manifest, count: int, heads: Heads) -> Iterator[Flaw]:
    if count != manifest.count:
        yield Flaw("manifest", f"the file has {count} lines, its manifest says {manifest.count} events")
    there = {head.stream: head for head in heads.streams()}
    for head in manifest.streams:
        found = there.pop(head.stream, None)
        if found is None:
            yield Flaw("manifest", f"its manifest has {head.count} events of this stream, the file none", head.stream)
        elif found != head:
            yield Flaw("manifest", f"its manifest says {_words(head)}; the file has {_words(found)}", head.stream)
    for stream in there:
        yield Flaw("manifest", "its manifest does not know this stream", stream)


def _words(head: Head) -> str:
    return f"{head.count} events, numbers {head.first} to {head.last}, last hash {head.last_hash[:16]}..."
