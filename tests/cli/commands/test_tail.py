"""`auditpipe tail` as a process: what arrives, an outage, and Ctrl-C."""

import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO
from urllib.parse import urlsplit

import orjson
import pytest

from tests.builders import event, stream
from tests.conftest import RealOpenSearch
from tests.proxy import proxy_to
from tests.stored import COMMAND, environment, ids, organization, store

pytestmark = pytest.mark.opensearch


@contextmanager
def following(env: dict[str, str], *arguments: str) -> "Iterator[subprocess.Popen[bytes]]":
    process = subprocess.Popen(
        [*COMMAND, "tail", "--interval", "0.1", *arguments],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE},
        env=environment(**env),
    )
    watchdog = threading.Timer(180, process.kill)
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


def line(stream: IO[bytes] | None) -> bytes:
    assert stream is not None
    return stream.readline()


def test_each_event_comes_out_as_it_arrives_and_ctrl_c_is_a_good_end(opensearch: RealOpenSearch) -> None:
    org = organization()
    before = store(opensearch, stream(2, organization__id=org))
    with following(opensearch.environment(), "--org", org, "--since", "2000-01-01", "-o", "ndjson") as process:
        got = [orjson.loads(line(process.stdout)) for _ in before]
        after = store(opensearch, [event(organization__id=org)])
        got.append(orjson.loads(line(process.stdout)))
        assert ids(got) == ids(before) + ids(after)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out, err) == (0, b"", b"")


def test_the_table_has_its_header_first(opensearch: RealOpenSearch) -> None:
    org = organization()
    store(opensearch, stream(1, organization__id=org))
    with following(opensearch.environment(), "--org", org, "--since", "2000-01-01") as process:
        assert line(process.stdout).startswith(b"time (UTC)")
        assert b"user.user.updated" in line(process.stdout)


def test_an_outage_is_said_once_and_nothing_is_missed(opensearch: RealOpenSearch) -> None:
    org = organization()
    before = store(opensearch, stream(1, organization__id=org))
    there = urlsplit(opensearch.url)
    with proxy_to(there.hostname or "", there.port or 0) as proxy:
        values = opensearch.super_admin.values
        env = {f"AUDITPIPE_{name}": values[name.lower()] or "" for name in ("USERNAME", "PASSWORD_FILE", "CA_FILE")}
        env |= {"AUDITPIPE_URL": f"https://127.0.0.1:{proxy.port}"}
        arguments = ("--org", org, "--since", "2000-01-01", "-o", "ndjson")
        with following(env, *arguments) as process:
            got = [orjson.loads(line(process.stdout)) for _ in before]
            proxy.cut()
            assert line(process.stderr).endswith(b"; waiting for it\n")
            during = store(opensearch, stream(3, organization__id=org))
            proxy.mend()
            got += [orjson.loads(line(process.stdout)) for _ in during]
            assert line(process.stderr) == b"auditpipe: it is back; nothing was missed\n"
            assert ids(got) == ids(before) + ids(during)
