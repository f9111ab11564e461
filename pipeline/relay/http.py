"""Two pages for monitoring, GET /metrics and GET /healthz: as much of HTTP/1.1 (RFC 9112) as that takes."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, NamedTuple

from auditpipe.pipeline.relay.config import Limits
from auditpipe.pipeline.relay.listener import open_streams

#: For a request and its answer; and so many at a time, more being closed unheard: this is for one or two monitors.
SECONDS = 5.0
AT_ONCE = 16


class Page(NamedTuple):
    """An answer."""

    status: int
    text: str
    type: str = "text/plain; charset=utf-8"


class StatusPages:
    """Answers one request a connection."""

    def __init__(self, metrics: Callable[[], Page], health: Callable[[], Page], limits: Limits) -> None:
        self._pages = {"/metrics": metrics, "/healthz": health}
        self._limits = limits
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, accepted: socket.socket, _: Any) -> None:
        """A connection that was accepted: answer it, if there are not too many."""
        if len(self._tasks) >= AT_ONCE:
            accepted.close()
            return
        task = asyncio.create_task(self._serve(accepted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, accepted: socket.socket) -> None:
        with suppress(ConnectionError):  # it has left
            await self._answer(*await open_streams(accepted, None, self._limits))

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read a request, answer it, close."""
        try:
            async with asyncio.timeout(SECONDS):
                request = await reader.readuntil(b"\r\n\r\n")
                writer.write(_encode(self._page(request.split(b"\r\n")[0].decode("latin-1"))))
                await writer.drain()
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return  # no request: nothing to answer
        finally:
            writer.close()

    def _page(self, request_line: str) -> Page:
        method, _, rest = request_line.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if path not in self._pages:
            return Page(404, "there are /metrics and /healthz\n")
        return self._pages[path]() if method == "GET" else Page(405, "GET only\n")


def _encode(page: Page) -> bytes:
    body = page.text.encode()
    head = (
        f"HTTP/1.1 {page.status} {HTTPStatus(page.status).phrase}\r\n"
        f"Content-Type: {page.type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("latin-1") + body
