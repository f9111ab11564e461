"""A Fluent Bit for a test."""

import shutil
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from auditpipe.pipeline.fluent_bit import launcher
from auditpipe.pipeline.local import certificates
from tests.conftest import RealOpenSearch, free_port
from tests.pipeline.fluent_bit.process import Gate, RunningFluentBit
from tests.pipeline.relay.fake import FakeOpenSearch, fake_opensearch

Make = Callable[..., RunningFluentBit]


@pytest.fixture
def fluent_bit(opensearch: RealOpenSearch, fluent_bit_program: str, tmp_path: Path) -> Iterator[Make]:
    """Makes a Fluent Bit that ships to the node; `port` of a gate in between, `retries` fewer for a quick end."""
    made = []

    def make(*, port: int | None = None, **changed: Any) -> RunningFluentBit:
        usual: dict[str, Any] = {
            "folder": tmp_path / f"fluent-bit-{len(made)}",
            "opensearch_url": f"https://127.0.0.1:{port}" if port else opensearch.url,
            "ca_file": opensearch.ca_file,
            "user": str(opensearch.shipper.get("username")),
            "forward": ("127.0.0.1", free_port()),
            "http_port": free_port(),
        }
        launch = launcher.Launch(**(usual | changed))
        made.append(RunningFluentBit(fluent_bit_program, launch, str(opensearch.shipper.password)))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.kill()
        shutil.rmtree(one.launch.folder, ignore_errors=True)


@pytest.fixture
def gate(opensearch: RealOpenSearch) -> Iterator[Gate]:
    """A way to the node that can be shut; it is, at first."""
    url = urlsplit(opensearch.url)
    made = Gate(str(url.hostname), int(url.port or 443))
    yield made
    made.shut()


@pytest.fixture
def authority(tmp_path: Path) -> certificates.Certificates:
    """Of the fake node."""
    return certificates.ensure(tmp_path / "certs")


@pytest.fixture
def fake(authority: certificates.Certificates) -> Iterator[FakeOpenSearch]:
    """With TLS, for faults or a silence that a real node can't give on demand."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.node.certificate, authority.node.key)
    with fake_opensearch(context) as made:
        yield made
