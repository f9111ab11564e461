"""What the shipper says of itself: a process that runs, and takes connections, may still deliver nothing."""

import http.client
import json
import re
from collections.abc import Iterator

from auditpipe.pipeline.doctor.check import Check, finding, ok
from auditpipe.pipeline.local.process import Record
from auditpipe.pipeline.local.shipper import RELAY
from auditpipe.pipeline.relay.alarm import ADVICE
from auditpipe.schemas.errors import OutOfReach

TIMEOUT_S = 5.0
_NAME = "shipper's health"
#: A line of /healthz: `7 events wait: busy`, and for some a cause behind one more colon.
_TROUBLE = re.compile(r"\d+ events wait: (\w+)")


def examine(shipper: Record) -> Iterator[Check]:
    """Ask it over HTTP, where it tells its numbers."""
    try:
        yield from _relay(shipper) if shipper.program == RELAY else _fluent_bit(shipper)
    except OutOfReach as error:
        remedy = f"read {shipper.log}, then `auditpipe down` and `auditpipe up`"
        yield finding(_NAME, f"process {shipper.pid} does not say how it is: {error}", remedy)


def _relay(shipper: Record) -> Iterator[Check]:
    """Its /healthz: 200, or a line for each reason why events wait."""
    status, text = _get(shipper, "/healthz")
    if status == 200:
        yield ok(_NAME, "no event waits in the relay")
        return
    for line in text.splitlines() or [f"it answered {status}"]:
        trouble = _TROUBLE.match(line)
        yield finding(_NAME, line, ADVICE.get(trouble[1] if trouble else "", f"read {shipper.log}"))


def _fluent_bit(shipper: Record) -> Iterator[Check]:
    """Its health check (fluent-bit.yaml: more than 5 errors, or chunks given up, in 60 s) and its outputs' numbers."""
    status, _ = _get(shipper, "/api/v1/health")
    numbers = _numbers(_get(shipper, "/api/v1/metrics")[1])
    told = ", ".join(f"{numbers[name]} {meaning}" for name, meaning in _NUMBERS.items() if name in numbers)
    if numbers[_UNREADABLE]:
        told += f", {numbers[_UNREADABLE]} chunks with a record that it can't read (kept, for the replayer)"
    if status == 200:
        yield ok(_NAME, f"ok; since its start {told}")
    else:
        yield finding(_NAME, f"Fluent Bit says that it has errors; since its start {told}", f"read {shipper.log}")


_NUMBERS = {
    "proc_records": "events delivered",
    "retries": "retries",
    "retries_failed": "chunks given up",
    "errors": "errors",
    "dropped_records": "events in them (kept, for the replayer)",
}
#: What delivers, and what only reads each chunk to its end, by the beginning of their names (fluent-bit.yaml).
_DELIVERS, _READS = "opensearch.", "exit."
_UNREADABLE = "unreadable"


def _numbers(text: str) -> dict[str, int]:
    """Those of _NUMBERS for the output that delivers, and under _UNREADABLE the errors of the one that reads."""
    try:
        outputs = json.loads(text)["output"]
        delivering = [output for name, output in outputs.items() if name.startswith(_DELIVERS)]
        reading = [output for name, output in outputs.items() if name.startswith(_READS)]
        numbers = {name: sum(int(output.get(name, 0)) for output in delivering) for name in _NUMBERS}
        return numbers | {_UNREADABLE: sum(int(output.get("errors", 0)) for output in reading)}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OutOfReach(f"expected Fluent Bit's numbers as JSON: {error}") from error


def _get(shipper: Record, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", shipper.metrics_port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        raise OutOfReach(f"no answer from 127.0.0.1:{shipper.metrics_port}{path}: {error}") from error
    finally:
        connection.close()
