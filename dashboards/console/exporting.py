"""Export of exactly what is filtered: a ZIP of the events and their manifest, made while it is sent.

One file, because a browser takes one: the events and what they say about themselves stay together. A ZIP's directory
stands at its end, so that an export that broke off on the way is no ZIP and can't pass for one that is whole.
"""

import logging
import threading
import zipfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from itertools import chain
from typing import IO, cast

from anyio import CancelScope, fail_after
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from auditpipe.dashboards.console import filters
from auditpipe.dashboards.console.person import client_for
from auditpipe.dashboards.console.visit import Visit
from auditpipe.pipeline.export import Format, Request, stream
from auditpipe.pipeline.manifest import SUFFIX, Manifest
from auditpipe.schemas.errors import UsageError

log = logging.getLogger(__name__)

#: A browser that takes nothing for so long has left: its export would keep others of the person waiting.
STALLED_S = 300.0
FORMATS: tuple[Format, ...] = ("ndjson", "csv")


def export(visit: Visit) -> Response:
    """The answer to the form on the list. The filters are those of its link."""
    kind = next((known for known in FORMATS if known == visit.form.get("format")), None)
    if kind is None:
        raise UsageError(f"format: expected one of {', '.join(FORMATS)}, got {visit.form.get('format')!r}")
    purpose = visit.form.get("purpose", "").strip() or None
    wanted = Request(filters.meant(filters.typed(visit.query.multi_items())), kind, purpose)
    name = f"audit-events-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    with ExitStack() as held:
        held.enter_context(visit.console.at_once.export(visit.who.user))
        client = held.enter_context(
            closing(client_for(visit.who.settings, visit.who.caller, "console export", purpose))
        )
        parts = held.enter_context(closing(zipped(stream(client, wanted, name=f"{name}.{kind}"), f"{name}.{kind}")))
        # The first part now: what can't be exported is said on a page, and not in a broken file.
        return Download(Parts(next(parts), parts, held.pop_all()), f"{name}.zip")


class Parts(Iterator[bytes]):
    """An export's parts, and `held`, which frees what it holds. For threads, of which one at a time gets in.

    A server that stops ends the task that waits for a part, and not the thread that makes it.
    """

    def __init__(self, first: bytes, rest: Iterator[bytes], held: ExitStack) -> None:
        self._parts = chain([first], rest)
        self._held = held
        self._lock = threading.Lock()

    def __next__(self) -> bytes:
        with self._lock:
            return next(self._parts)

    def close(self) -> None:
        """Free it; waits until the part that is being made is made."""
        with self._lock:
            self._held.close()


class Download(StreamingResponse):
    """The parts as they are made, freed at the end however it comes.

    Freeing asks the node, and may wait for an answer on its way: not on the event loop, where everybody would wait.
    """

    def __init__(self, parts: Parts, name: str) -> None:
        disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
        super().__init__(parts, media_type="application/zip", headers=disposition)
        self._close = parts.close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, to whoever takes it."""

        async def while_taken(message: Message) -> None:
            with fail_after(STALLED_S):
                await send(message)

        try:
            await super().__call__(scope, receive, while_taken)
        except TimeoutError:
            log.warning("an export was given up: its browser has taken nothing for %g s", STALLED_S)
        finally:
            with CancelScope(shield=True):
                await run_in_threadpool(self._close)


def zipped(events: Generator[bytes, None, Manifest], name: str) -> Generator[bytes, None, None]:
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
