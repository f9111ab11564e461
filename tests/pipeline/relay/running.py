"""A relay in a thread of the test's own process."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import orjson

from auditpipe.pipeline.relay.config import Limits, RelayConfig
from auditpipe.pipeline.relay.security import Security
from auditpipe.pipeline.relay.server import Relay
from auditpipe.pipeline.relay.transport import open_transport
from auditpipe.schemas.settings import Settings


class RunningRelay:
    """Its ports, its dead letters, its metrics."""

    def __init__(self, config: RelayConfig) -> None:
        self.relay = Relay(config, open_transport(config.settings))
        self.error: BaseException | None = None
        self._folder = config.dead_letters
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._started.wait(120)

    @property
    def port(self) -> int:
        return self.relay.ports[0]

    def stop(self) -> None:
        """As SIGTERM does; waits for the end."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self.join()

    def join(self) -> None:
        self._thread.join(120)
        assert not self._thread.is_alive()

    def letters(self) -> list[Any]:
        files = sorted(self._folder.glob("*.ndjson"))
        return [orjson.loads(line) for file in files for line in file.read_bytes().splitlines()]

    def page(self, path: str) -> tuple[int, str]:
        try:
            with urlopen(f"http://127.0.0.1:{self.relay.ports[1]}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, line: str) -> float | None:
        """The value of the metric with this name and labels, None if it is not there."""
        for one in self.page("/metrics")[1].splitlines():
            if one.startswith(f"auditpipe_relay_{line} "):
                return float(one.rpartition(" ")[2])
        return None

    def _run(self) -> None:
        async def run() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            await self.relay.run(self._stop, self._started.set)

        try:
            asyncio.run(run())
        except Exception as error:  # noqa: BLE001 - looked at by the test
            self.error = error
            self._started.set()


@contextmanager
def running_relay(
    settings: Settings, folder: Path, limits: Limits | None = None, security: Security | None = None
) -> Iterator[RunningRelay]:
    local = ("127.0.0.1", 0)
    config = RelayConfig(settings, local, folder, local, limits or Limits(stop=2.0), security or Security())
    relay = RunningRelay(config)
    try:
        yield relay
    finally:
        if relay._thread.is_alive():
            relay.stop()
