"""What doctor makes of what the shipper says of itself."""

import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from auditpipe.pipeline.doctor.check import Level
from auditpipe.pipeline.local import health
from auditpipe.pipeline.local.process import Record
from auditpipe.pipeline.relay.alarm import ADVICE
from tests.conftest import free_port

NUMBERS = {"proc_records": 6, "retries": 12, "retries_failed": 1, "errors": 0, "dropped_records": 2, "other": 9}
READER = {"proc_records": 6, "errors": 3, "dropped_records": 9}
METRICS = (200, json.dumps({"output": {"opensearch.0": NUMBERS, "opensearch.1": NUMBERS, "exit.2": READER}}))


@pytest.fixture
def shipper():
    """A record of a shipper, and `pages` that it answers with."""
    pages: dict[str, tuple[int, str]] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, text = pages[self.path]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    metrics = f"http://127.0.0.1:{server.server_port}/metrics"
    yield Record("shipper", 1, 0.0, "", "127.0.0.1:1", "/logs/relay.log", "relay", metrics), pages
    server.shutdown()
    server.server_close()


def told(record):
    return [(check.level, check.sentence, check.remedy) for check in health.examine(record)]


def test_a_relay_that_holds_nothing_is_ok(shipper):
    record, pages = shipper
    pages["/healthz"] = (200, "ok\n")
    assert told(record) == [(Level.OK, "no event waits in the relay", "")]


def test_each_reason_of_the_relay_is_a_finding_with_what_to_do(shipper):
    record, pages = shipper
    words = "7 events wait: credentials\n1 events wait: unreachable: https://x: no answer\n2 events wait: unheard_of\n"
    pages["/healthz"] = (503, words)
    assert told(record) == [
        (Level.FINDING, "7 events wait: credentials", "check the shipper's name and password"),
        (Level.FINDING, "1 events wait: unreachable: https://x: no answer", ADVICE["unreachable"]),
        (Level.FINDING, "2 events wait: unheard_of", "read /logs/relay.log"),
    ]


@pytest.mark.parametrize(("status", "level"), [(200, Level.OK), (500, Level.FINDING)])
def test_fluent_bits_health_check_decides_and_its_numbers_are_told(shipper, status, level):
    record, pages = shipper
    pages |= {"/api/v1/health": (status, "told by the status"), "/api/v1/metrics": METRICS}
    [(found, sentence, _)] = told(replace(record, program="fluent-bit"))
    assert found is level
    assert "12 events delivered, 24 retries, 2 chunks given up, 0 errors" in sentence
    assert "3 chunks with a record that it can't read" in sentence


@pytest.mark.parametrize("text", ["", "[]", '{"output": 1}', '{"output": {"opensearch.0": {"retries": "x"}}}'])
def test_numbers_that_are_none_are_a_finding(shipper, text):
    record, pages = shipper
    pages |= {"/api/v1/health": (200, "ok"), "/api/v1/metrics": (200, text)}
    [(level, sentence, _)] = told(replace(record, program="fluent-bit"))
    assert level is Level.FINDING
    assert "expected Fluent Bit's numbers" in sentence


@pytest.mark.parametrize("program", ["relay", "fluent-bit"])
def test_one_that_does_not_answer_is_a_finding(shipper, program):
    record = replace(shipper[0], program=program, metrics=f"http://127.0.0.1:{free_port()}/metrics")
    [(level, sentence, remedy)] = told(record)
    assert level is Level.FINDING
    assert "process 1 does not say how it is" in sentence
    assert "/logs/relay.log" in remedy
