"""The guard of Fluent Bit and the relay refuse the same records, for the same reasons."""

import json
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from fluent.sender import EventTime

from auditpipe.emitters.forward import ForwardSender
from auditpipe.pipeline.fluent_bit import launcher
from auditpipe.pipeline.relay.protocol import Entry
from auditpipe.pipeline.relay.records import Refused, prepare
from auditpipe.schemas.identity import DAY, LATEST_NS, format_time, new_event_id, parse_time
from tests.conftest import free_port
from tests.waiting import until

pytestmark = pytest.mark.fluent_bit
SEED = 20261123
ODD_TIMES = (
    *("2024-02-29T23:59:59Z", "2023-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2000-02-29T12:00:00Z"),
    *("2026-10-31T23:30:00-01:00", "2026-11-01T00:30:00+01:00", "2026-11-01t00:00:00.5z", "1970-01-01T00:00:00Z"),
    *("1969-12-31T23:59:59Z", "2106-02-07T06:28:15Z", "2106-02-07T06:28:16Z", "2026-04-31T00:00:00Z"),
    *("2026-11-05T24:00:00Z", "2026-11-05T10:60:00Z", "2026-11-05T10:00:60Z", "2026-11-05T10:00:00"),
    *("2026-11-05T10:00:00.123456789Z", "2026-11-05T10:00:00.1234567890Z", "2026-11-05T10:00:00.Z"),
    *("2026-13-05T10:00:00Z", "2026-00-05T10:00:00Z", "2026-11-00T10:00:00Z", "12026-11-05T10:00:00Z"),
    *("2026-11-05T10:00:00Z\n", "2026-11-05T10:00:00+0100", "9999-12-31T23:59:59Z", "0000-01-01T00:00:00Z"),
    *(" 2026-11-05T10:00:00Z", "2026-11-05 10:00:00Z", "\u0662026-11-05T10:00:00Z", "", "now"),
)
ODD_IDS: tuple[Any, ...] = (
    "ffffffff-ffff-7fff-8fff-ffffffffffff",  # of the year 10889
    *(None, 7, "", "x", "0197b3c4-5d6e-4f80-9a1b-2c3d4e5f6071", "0197b3c4-5d6e-7f80-ca1b-2c3d4e5f6071"),
    *("0197B3C4-5d6e-7f80-9a1b-2c3d4e5f6071", "0197b3c45d6e7f809a1b2c3d4e5f6071"),
    *("{0197b3c4-5d6e-7f80-9a1b-2c3d4e5f6071}", "0197b3c4-5d6e-7f80-9a1b-2c3d4e5f6071\n"),
    *("g197b3c4-5d6e-7f80-9a1b-2c3d4e5f6071", ["a"], {"a": 1}, True, 1.5),
)


def record(ns: int, n: int) -> dict[str, Any]:
    return {"@timestamp": format_time(ns), "event": {"id": new_event_id(ns)}, "n": n, "message": "x"}


def records() -> Iterator[tuple[int, dict[str, Any]]]:
    """(Forward time, record): good ones all over the calendar, and each kind of bad."""
    chosen = random.Random(SEED)
    for n in range(400):
        ns = chosen.randrange(LATEST_NS)
        yield ns, record(ns, n)
    for year in range(1970, 2106):
        for month in range(1, 13):
            first = parse_time(f"{year}-{month:02d}-01T00:00:00Z")
            yield first, record(first, 0)
            if first:
                yield first - 1, record(first - 1, 0)
                yield first, record(first - 1, 0)
                yield first - 1, record(first, 0)
    now = parse_time("2026-11-05T10:00:00Z")
    for text in ODD_TIMES:
        try:
            ns = min(max(parse_time(text), 0), LATEST_NS)
        except (ValueError, OverflowError):
            ns = now
        yield ns, {**record(ns, 0), "@timestamp": text}
    for event_id in ODD_IDS:
        yield now, {**record(now, 0), "event": {"id": event_id}}
    for value in (None, 5, "x", [], ["id"]):
        yield now, {**record(now, 0), "event": value}
        yield now, {**record(now, 0), "@timestamp": value}
    yield now, {**record(now, 0), "event": {"id": new_event_id(now - 40 * DAY)}}
    yield now, {}


def reason_of_relay(ns: int, document: dict[str, Any]) -> str | None:
    outcome = prepare(Entry(ns, msgpack.packb(document)), "audit")
    return outcome.reason.type if isinstance(outcome, Refused) else None


def test_guard_and_relay_agree_on_every_record(fluent_bit_program: str, tmp_path: Path) -> None:
    port, sent = free_port(), [(ns, {**document, "n": n}) for n, (ns, document) in enumerate(records())]
    configuration = {
        "service": {"flush": 0.2, "log_level": "warn"},
        "pipeline": {
            "inputs": [
                {"name": "forward", "listen": "127.0.0.1", "port": port, "buffer_max_size": "64M", "tag": "audit"}
            ],
            "filters": [
                {
                    "name": "lua",
                    "match": "audit",
                    "script": str(launcher.guard()),
                    "call": "guard",
                    "time_as_table": True,
                }
            ],
            "outputs": [{"name": "file", "match": "audit", "path": str(tmp_path), "file": "out", "format": "plain"}],
        },
    }
    path = tmp_path / "fluent-bit.yaml"
    path.write_text(json.dumps(configuration))  # JSON is YAML
    process = subprocess.Popen([fluent_bit_program, "-q", "-c", str(path)])
    try:
        sender = ForwardSender("127.0.0.1", port, timeout=120)
        until(lambda: delivered(sender, sent))
        sender.disconnect()
        until(lambda: (tmp_path / "out").exists() and len(lines(tmp_path / "out")) >= len(sent))
    finally:
        process.kill()
        process.wait(120)
    found = {}
    for line in lines(tmp_path / "out"):
        wrapped = line.get("dead_letter")
        found[(wrapped["record"] if wrapped else line)["n"]] = wrapped["type"] if wrapped else None
    expected = {document["n"]: reason_of_relay(ns, document) for ns, document in sent}
    different = {n: (sent[n], expected[n], found.get(n)) for n in expected if expected[n] != found.get(n)}
    assert not different
    assert {None, "bad_id", "bad_time", "disagreeing_time", "disagreeing_id"} == set(expected.values())


def delivered(sender: ForwardSender, sent: list[tuple[int, dict[str, Any]]]) -> bool:
    packed = [msgpack.packb((EventTime.from_unix_nano(ns), document)) for ns, document in sent]
    try:
        sender.deliver(b"".join(packed), len(packed))
    except Exception:  # noqa: BLE001 - it does not listen yet; whatever else is wrong shows when the time is over
        return False
    return True


def lines(path: Path) -> list[Any]:
    # Up to the last whole line: the file may be in the middle of being written.
    return [json.loads(line) for line in path.read_text().rpartition("\n")[0].splitlines()]
