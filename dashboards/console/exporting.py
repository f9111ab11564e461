"""Export of exactly what is filtered: a ZIP of the events and their manifest, made while it is sent.

One file, because a browser takes one: the events and what they say about themselves stay together. A ZIP's directory
stands at its end, so that an export that broke off on the way is no ZIP and can't pass for one that is whole.
"""

import zipfile
from collections.abc import Generator, Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import chain
from typing import IO, cast

from starlette.responses import Response, StreamingResponse

from auditpipe.dashboards.console import filters
from auditpipe.dashboards.console.person import client_for
from auditpipe.dashboards.console.visit import Visit
from auditpipe.pipeline.export import Format, Request, stream
from auditpipe.pipeline.manifest import SUFFIX, Manifest
from auditpipe.schemas.errors import UsageError

FORMATS: tuple[Format, ...] = ("ndjson", "csv")


def export(visit: Visit) -> Response:
    """The answer to the form on the list. The filters are those of its link."""
    kind = next((known for known in FORMATS if known == visit.form.get("format")), None)
    if kind is None:
        raise UsageError(f"format: expected one of {', '.join(FORMATS)}, got {visit.form.get('format')!r}")
    purpose = visit.form.get("purpose", "").strip() or None
    wanted = Request(filters.meant(filters.typed(visit.query.multi_items())), kind, purpose)
    client = client_for(visit.who.settings, visit.who.caller, "console export", purpose)
    name = f"audit-events-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    parts = zipped(stream(client, wanted, name=f"{name}.{kind}"), f"{name}.{kind}")
    # The first part now: what can't be exported is said on a page, and not in a broken file.
    first = next(parts)
    disposition = {"Content-Disposition": f'attachment; filename="{name}.zip"'}
    return StreamingResponse(chain([first], parts), media_type="application/zip", headers=disposition)


def zipped(events: Generator[bytes, None, Manifest], name: str) -> Iterator[bytes]:
    """The ZIP, part by part; the events in constant memory."""
    out = _Outbox()
    with closing(events), zipfile.ZipFile(cast(IO[bytes], out), "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open(name, "w", force_zip64=True) as entry:
            manifest = None
            while manifest is None:
                try:
                    entry.write(next(events))
                except StopIteration as done:
                    manifest = done.value
                if sent := out.take():
                    yield sent
        archive.writestr(name + SUFFIX, manifest.to_json())
        yield out.take()
    yield out.take()


class _Outbox:
    """A file that can only be written, and emptied."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        """Keep it until `take`."""
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits behind it."""

    def take(self) -> bytes:
        """What was written since."""
        parts, self._parts = self._parts, []
        return b"".join(parts)
