"""A fake OpenSearch, and a relay that delivers to it; both anew for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.relay.fake import FakeOpenSearch, fake_opensearch
from tests.pipeline.relay.running import RunningRelay, running_relay


@pytest.fixture
def fake() -> Iterator[FakeOpenSearch]:
    with fake_opensearch() as server:
        yield server


@pytest.fixture
def relay(fake: FakeOpenSearch, tmp_path: Path) -> Iterator[RunningRelay]:
    with running_relay(fake.settings, tmp_path / "dead") as running:
        yield running
