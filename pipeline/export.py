"""Events into a file of any size, with its manifest: both whole under their names, or neither there."""

import errno
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from opensearchpy import OpenSearch

from auditpipe.pipeline import purpose
from auditpipe.pipeline.client import edge, version
from auditpipe.pipeline.manifest import Heads, Manifest, name_of, path_beside
from auditpipe.pipeline.query import Filters
from auditpipe.pipeline.reader import Snapshot, by_time
from auditpipe.pipeline.retention import removed_ranges
from auditpipe.pipeline.tabular import csv_header, csv_row
from auditpipe.pipeline.visible import json_bytes
from auditpipe.schemas.errors import NotAllowed, NotFinished, UsageError
from auditpipe.schemas.identity import format_time

Format = Literal["ndjson", "csv"]
#: Called with the number of events to come; gives what is called with each number written.
Progress = Callable[[int], AbstractContextManager[Callable[[int], None]]]

_REPORT_EVERY = 500
#: What file systems without hard links (FAT, some network shares) answer; there the name is taken by an empty file.
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


@dataclass(frozen=True, slots=True)
class Request:
    """What is exported, how, and why."""

    filters: Filters
    format: Format = "ndjson"
    purpose: str | None = None


def silent(_total: int) -> AbstractContextManager[Callable[[int], None]]:
    """No progress shown."""
    return nullcontext(lambda _count: None)


def to_file(
    client: OpenSearch, request: Request, target: Path, *, force: bool = False, progress: Progress = silent
) -> Manifest:
    """Write the file and FILE.manifest.json.

    On any failure, Ctrl-C included, nothing of it is left, and what was there before is untouched. UsageError: the
    file is there (and not `force`) or can't be written. OutOfReach, NotFinished, NotAllowed, BadFilter.
    """
    check_free(target, force=force)
    beside = path_beside(target)
    check_free(beside, force=force)
    with _draft(target) as data, _draft(beside) as notes:
        manifest = to_stream(client, request, data, name=name_of(target), progress=progress)
        notes.write(manifest.to_json())
        for draft in (data, notes):
            draft.flush()
            os.fsync(draft.fileno())
        _publish(data, target, notes, beside, force)
    return manifest


def to_stream(
    client: OpenSearch, request: Request, out: IO[bytes], *, name: str = "-", progress: Progress = silent
) -> Manifest:
    """Write the events and return the manifest. NotFinished if fewer came than there were."""
    with closing(stream(client, request, name=name, progress=progress)) as chunks:
        while True:
            try:
                out.write(next(chunks))
            except StopIteration as done:
                manifest: Manifest = done.value
                return manifest


def stream(
    client: OpenSearch, request: Request, *, name: str = "-", progress: Progress = silent
) -> Generator[bytes, None, Manifest]:
    """The events' bytes, chunk by chunk, and at the end the manifest.

    NotFinished if fewer came than there were; UsageError if it has to have a purpose, and has none.
    """
    now_ns = time.time_ns()
    filters = request.filters.until_at_latest(now_ns)
    told, cluster = whoami(client), cluster_facts(client)
    purpose.check(told, request.purpose)
    digest, heads, count, size = hashlib.sha256(), Heads(), 0, 0
    with Snapshot.open(client, filters.query(), by_time("asc")) as snapshot, progress(snapshot.total) as advance:
        for count, chunk in _chunks(snapshot, request.format, heads):
            digest.update(chunk)
            size += len(chunk)
            yield chunk
            advance(count)
        expected = snapshot.total
    if count != expected:
        raise NotFinished(f"{expected} events were there and {count} came: nothing is kept; run the export again")
    return Manifest(
        file=name,
        format=request.format,
        sha256=digest.hexdigest(),
        size=size,
        count=count,
        filter=filters.describe(),
        since=None if filters.since_ns is None else format_time(filters.since_ns),
        until=None if filters.until_ns is None else format_time(filters.until_ns),
        whole_streams=filters.keeps_streams_whole,
        exported_at=format_time(now_ns),
        exported_by=name_in(told),
        purpose=request.purpose,
        tool=f"auditpipe {version()}",
        cluster=cluster,
        schemas=heads.schemas(),
        streams=heads.streams(),
        removed=removed_ranges.about_streams(client, [head.stream for head in heads.streams()]),
    )


def write_alone(target: Path, content: bytes, *, force: bool = False) -> None:
    """A small file, whole or not at all. UsageError: it is there (and not `force`) or can't be written."""
    with _draft(target) as draft:
        draft.write(content)
        draft.flush()
        os.fsync(draft.fileno())
        _give_name(Path(draft.name), target, force)


def check_free(path: Path, *, force: bool) -> None:
    """Early, before much work for nothing. UsageError: no name for a file, or taken (a link to nowhere takes it)."""
    if not path.name:
        raise UsageError(f"expected the name of a file, got {str(path)!r}")
    try:
        regular = not path.exists() or path.is_file()
    except OSError as error:
        raise UsageError(f"{path}: can't write there: {error.strerror}") from error
    if not regular:
        raise UsageError(f"{path} is no regular file: for another program to read, export with --to -")
    if os.path.lexists(path) and not force:
        raise _taken(path)


def whoami(client: OpenSearch) -> Mapping[str, Any]:
    """What the node says of whoever asks: `user_name`, `roles`, `backend_roles`."""
    with edge():
        told: Mapping[str, Any] = client.transport.perform_request("GET", "/_plugins/_security/authinfo")
    return told


def name_in(told: Mapping[str, Any]) -> str:
    """Their name in that."""
    return str(told.get("user_name", "unknown"))


def cluster_facts(client: OpenSearch) -> dict[str, str | None]:
    """Name, UUID and version of the cluster; None for each where the reader's role may not ask."""
    try:
        with edge():
            answer: dict[str, Any] = client.info()
    except NotAllowed:
        answer = {}
    number = answer.get("version", {}).get("number")
    return {"name": answer.get("cluster_name"), "uuid": answer.get("cluster_uuid"), "opensearch": number}


def _chunks(snapshot: Snapshot, kind: Format, heads: Heads) -> Iterator[tuple[int, bytes]]:
    """(events so far, bytes) until all are through; the CSV header is a chunk of no events."""
    count, lines = 0, [csv_header().encode()] if kind == "csv" else []
    encode = _csv_line if kind == "csv" else _json_line
    for hit in snapshot.hits():
        document = hit["_source"]
        heads.add(document)
        lines.append(encode(document))
        count += 1
        if len(lines) >= _REPORT_EVERY:
            yield count, b"".join(lines)
            lines = []
    yield count, b"".join(lines)


def _csv_line(document: dict[str, Any]) -> bytes:
    return csv_row(document).encode()


def _json_line(document: dict[str, Any]) -> bytes:
    return json_bytes(document) + b"\n"


def _taken(path: Path) -> UsageError:
    return UsageError(f"{path} is there already: give another name, or --force to replace it")


@contextmanager
def _draft(target: Path) -> Iterator[IO[bytes]]:
    """A file of mode 0600 in the target's folder, gone on leaving unless it was renamed."""
    # Named before it is made, inside of the try: a signal in between leaves nothing behind either.
    path = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.part")
    opened = False
    try:
        with open(path, "xb", buffering=1 << 20, opener=_private) as file:
            opened = True
            yield file
    except OSError as error:
        if isinstance(error, BrokenPipeError) or error.errno is None:
            raise
        if not opened:
            raise UsageError(f"{target}: can't write there: {error.strerror}") from error
        raise NotFinished(f"{target}: {error.strerror}; nothing is kept") from error
    finally:
        with suppress(OSError):  # a folder that is not there, or that nobody may write to
            path.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _publish(data: IO[bytes], target: Path, notes: IO[bytes], beside: Path, force: bool) -> None:
    """Give both their names. At no moment does a manifest stand beside a file that it is not about."""
    ours = os.fstat(data.fileno())
    if force:
        beside.unlink(missing_ok=True)
    try:
        _give_name(Path(data.name), target, force)
        _give_name(Path(notes.name), beside, force)
    except BaseException:
        with suppress(OSError):
            if os.path.samestat(target.lstat(), ours):
                target.unlink()
        raise
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _give_name(draft: Path, target: Path, force: bool) -> None:
    """The name, whole file and all. Without `force` never one that is taken, however short a time ago."""
    if not force:
        try:
            os.link(draft, target)
            return
        except FileExistsError as error:
            raise _taken(target) from error
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
        try:
            target.touch(0o600, exist_ok=False)
        except FileExistsError as error:
            raise _taken(target) from error
    draft.replace(target)
