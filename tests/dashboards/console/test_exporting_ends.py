"""An export that nobody takes any more: what it holds is freed, and nobody else waits for that."""

import asyncio
import os
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

from auditpipe.dashboards.console import exporting
from auditpipe.dashboards.console.exporting import Download, Parts
from tests.dashboards.console.conftest import Served, console
from tests.dashboards.console.test_at_once import signed_in
from tests.waiting import until

SCOPE: dict[str, Any] = {"type": "http", "asgi": {"spec_version": "2.3"}}


class Events:
    """Stands in for the events of a slow node: without end, and slow to be freed."""

    def __init__(self) -> None:
        self.freeing, self.freed = threading.Event(), threading.Event()
        self.thread = ""

    def __call__(self, *_args: object, **_kwargs: object) -> Generator[bytes]:
        try:
            while True:
                yield os.urandom(50_000)
        finally:
            self.thread = threading.current_thread().name
            self.freeing.set()
            self.freed.wait(20)


@pytest.fixture
def away(tmp_path: Path) -> Iterator[Served]:
    with console("http://127.0.0.1:9", None, tmp_path) as made:
        yield made


def test_who_goes_away_keeps_nobody_waiting(away: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    events, closed = Events(), threading.Event()
    made = exporting.client_for

    def watched(*args: Any) -> Any:
        client = made(*args)
        monkeypatch.setattr(client, "close", closed.set)
        return client

    monkeypatch.setattr(exporting, "stream", events)
    monkeypatch.setattr(exporting, "client_for", watched)
    ada, session = signed_in(away, "ada")
    form = {"token": session.form_token, "format": "ndjson"}
    with ada.stream("POST", "/export", data=form) as answer:
        assert answer.status_code == 200
        next(answer.iter_raw())
    until(events.freeing.is_set, 30)
    try:
        assert away.browser().get("/healthz", timeout=5).status_code == 200
    finally:
        events.freed.set()
    assert events.thread.startswith("AnyIO worker")
    until(closed.is_set)
    until(lambda: not away.console.at_once._held)


def download(parts: Iterator[bytes], held: ExitStack) -> Download:
    return Download(Parts(b"first", parts, held), "a.zip")


async def stays() -> Message:
    await asyncio.sleep(60)
    return {"type": "http.disconnect"}


def test_a_task_that_is_cancelled_while_a_part_is_made_frees_it_after_that() -> None:
    """As the server does it when it stops: the thread goes on, and its generator can't be closed meanwhile."""
    making, made, freed = threading.Event(), threading.Event(), threading.Event()

    def parts() -> Generator[bytes]:
        try:
            making.set()
            made.wait(20)
            yield b"second"
        finally:
            freed.set()

    async def run() -> None:
        source, held = parts(), ExitStack()
        held.callback(source.close)

        async def send(_message: Message) -> None:
            pass

        task = asyncio.create_task(download(source, held)(SCOPE, stays, send))
        await asyncio.to_thread(making.wait, 20)
        task.cancel()
        asyncio.get_running_loop().call_later(0.1, made.set)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert freed.is_set()


def test_a_browser_that_takes_nothing_for_long_has_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(exporting, "STALLED_S", 0.1)
    freed: list[bool] = []

    async def run(free: Callable[[], None]) -> None:
        held = ExitStack()
        held.callback(free)

        async def send(message: Message) -> None:
            await asyncio.sleep(60 if message.get("body") else 0)

        await download(iter([b"second"]), held)(SCOPE, stays, send)

    asyncio.run(run(lambda: freed.append(True)))
    assert freed == [True]
    assert "its browser has taken nothing for 0.1 s" in caplog.text
