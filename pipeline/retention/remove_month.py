"""A month removed: first written shut, then recorded, then removed, so that no event goes without a record of it.

    block       no event comes in between what is recorded and what is removed
    record      batches of ranges, why and how much, and last the one that says "removed"; each read back
    remove      the index; or, where holds keep something of it, every other event by its id, and the block stays

Holds are looked at once more before the index or each thousand events go, while it is said that this is under way
(`underway`): what is held by then stays, whatever was recorded.

Whatever ends it, the next run goes on: before the last record nothing was removed, after it all that it names may go.
"""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import orjson
from opensearchpy import OpenSearch

from auditpipe.pipeline import rest
from auditpipe.pipeline.client import edge
from auditpipe.pipeline.ownership import is_ours
from auditpipe.pipeline.plan import Request
from auditpipe.pipeline.query import Clause
from auditpipe.pipeline.reader import BY_STREAM, Snapshot
from auditpipe.pipeline.retention import holds, ledger, months, removed_ranges, scan, underway
from auditpipe.pipeline.retention.holds import Hold
from auditpipe.pipeline.retention.months import Month
from auditpipe.pipeline.retention.scan import Scanned
from auditpipe.pipeline.retention.signature import Signer, Trust
from auditpipe.schemas.errors import AuditpipeError, Finding, NotFinished, SettingsError
from auditpipe.schemas.identity import format_time
from auditpipe.schemas.records import Flawed, Held, MonthRemoved, Record, Removed, RetentionApplied

#: How often a month is looked at again because something came in between.
_ROUNDS = 5
_DELETED_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done to a month. `record` is None where an earlier run had recorded it, or nothing was to be removed."""

    month: str
    removed: int = 0
    kept: int = 0
    record: str | None = None
    flawed: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Remover:
    """Removes months, with the admin certificate. `keep` and `reason` are for the record."""

    client: OpenSearch
    signer: Signer
    trust: Trust
    keep: int
    reason: str | None = None
    clock: Callable[[], int] = time.time_ns

    def check(self) -> None:
        """Before anything is touched. SettingsError: `verify` would not believe what this certificate signs."""
        ledger.require(self.client)
        sample = self.signer.sign({"@timestamp": format_time(self.clock())})
        if (problem := self.trust.problem(sample)) is not None:
            raise SettingsError(f"a record signed with this certificate would not be believed: {problem}")
        months.check_clock(self.client, self.clock)

    def remove(self, month: Month) -> Outcome:
        """All of it that no hold keeps. NotFinished, OutOfReach, NotAllowed: run it again; Finding: look first."""
        self._check_owner(month.index)
        outcome = Outcome(month.month)
        with self._shut(month) as committed:
            for _ in range(_ROUNDS):
                done, outcome = self._round(month, outcome, committed)
                if done:
                    return outcome
        raise NotFinished(f"{month.index}: events or holds kept coming in between: run it again")

    def _round(self, month: Month, before: Outcome, committed: list[str]) -> tuple[bool, Outcome]:
        active = holds.active(self.client, self.trust)
        rest.send(self.client, Request("POST", f"/{month.index}/_refresh"))
        with holds.named(self.client, active):
            kept = self._count(month.index, holds.held(active))
        query: Clause = {"bool": {"must_not": [holds.held(active)]}}
        with Snapshot.open(self.client, query, BY_STREAM, extra={"version": True}, index=month.index) as snapshot:
            if kept and not snapshot.total:
                return True, Outcome(month.month, before.removed, kept, before.record, before.flawed)
            outcome = replace(before, kept=kept)
            if not self._is_recorded(month.month, snapshot):
                draft = _Draft(self, month.month, active, kept)
                record, flawed = draft.write(snapshot)
                if not self._still(active):
                    return False, before  # a hold came in between: the draft says nothing, and nothing was removed
                draft.commit()
                outcome = replace(outcome, record=record, flawed=flawed)
            committed.append(month.month)
            if kept:
                removed = self._remove_events(month.index, snapshot, active)
                return False, replace(outcome, removed=before.removed + removed)
            if not self._remove_index(month.index, active, snapshot.total):
                return False, outcome
            return True, replace(outcome, removed=before.removed + snapshot.total)

    def _still(self, active: list[Hold]) -> bool:
        """Whether these hold now, and no others."""
        return _names(holds.active(self.client, self.trust)) == _names(active)

    @contextmanager
    def _shut(self, month: Month) -> Iterator[list[str]]:
        """With the write block on. It goes again if nothing was removed, so that the month takes late events.

        Another run may have recorded the month's removal meanwhile: then it stays.
        """
        committed = [month.month] if month.removed else []
        self._block(month.index)
        try:
            yield committed
        finally:
            if not committed:
                with suppress(AuditpipeError):  # told by `doctor`, and lifted by the next run
                    if month.month not in months.commits(self.client, self.trust):
                        self._unblock(month.index)

    def _is_recorded(self, month: str, snapshot: Snapshot) -> bool:
        """Whether an earlier run has recorded all of it, and was ended before it had removed it."""
        known = removed_ranges.of_index(self.client, self.trust)
        if known is None or month not in months.commits(self.client, self.trust):
            return False
        scanned = Scanned()
        for _, one in scan.ranges(snapshot.hits(), scanned):
            parts = [part for part in known.parts(one.stream, one.first, one.last) if part.month == month]
            if not any(part.first <= one.first and part.last >= one.last for part in parts):
                return False
        return not scanned.flawed["unlinked"]

    def _remove_index(self, index: str, active: list[Hold], events: int) -> bool:
        """Whether it was removed: not if other holds than these hold now, or other than so many events are there.

        Another run of `apply` that gave up may have lifted the block.
        """
        with underway.announced(self.client, index):
            self._block(index)
            rest.send(self.client, Request("POST", f"/{index}/_refresh"))
            if not self._still(active) or self._count(index, {"match_all": {}}) != events:
                return False
            rest.send(self.client, Request("DELETE", f"/{index}"))
            return True

    def _remove_events(self, index: str, snapshot: Snapshot, active: list[Hold]) -> int:
        """By id, those that were recorded and no other: what comes meanwhile is looked at in the next round.

        How many were removed: less than all if other holds than these hold now.
        """
        removed, hits = 0, snapshot.hits()
        self._unblock(index)
        try:
            with underway.announced(self.client, index):
                while (batch := list(islice(hits, _DELETED_AT_ONCE))) and self._still(active):
                    self._delete([{"delete": {"_index": index, "_id": hit["_id"]}} for hit in batch])
                    removed += len(batch)
            # What was removed leaves the disk when its segment is written anew, which a big month takes long for.
            merge = f"/{index}/_forcemerge?max_num_segments=1&wait_for_completion=false"
            rest.send(self.client, Request("POST", merge))
        finally:
            self._block(index)
        return removed

    def _delete(self, lines: list[dict[str, Any]]) -> None:
        with edge():
            answer = self.client.bulk(body=b"".join(orjson.dumps(line) + b"\n" for line in lines))
        bad = [item["delete"] for item in answer["items"] if item["delete"]["status"] not in (200, 404)]
        if bad:
            raise NotFinished(f"{len(bad)} events could not be removed ({bad[0].get('error')}): run it again")

    def _block(self, index: str) -> None:
        """When it returns, no write is under way."""
        request = Request("PUT", f"/{index}/_block/write")
        if not rest.send(self.client, request).get("shards_acknowledged"):
            # So it is answered where the block was there already, too: by hand, or by a run that was ended.
            self._unblock(index)
            if not rest.send(self.client, request).get("shards_acknowledged"):
                raise NotFinished(f"{index} could not be kept from being written to: run it again")

    def _unblock(self, index: str) -> None:
        rest.send(self.client, Request("PUT", f"/{index}/_settings", {"index.blocks.write": None}))

    def _count(self, index: str, clause: Clause) -> int:
        with edge():
            answer = self.client.count(index=index, body={"query": clause})
        if answer["_shards"]["successful"] != answer["_shards"]["total"]:
            raise NotFinished(f"{index}: not all of it could be counted: run it again")
        return int(answer["count"])

    def _check_owner(self, index: str) -> None:
        found = (rest.get(self.client, f"/{index}/_mapping") or {}).get(index)
        if found is None:
            raise NotFinished(f"{index} is not there any more: somebody else has removed it; see `auditpipe verify`")
        if not is_ours(found["mappings"]):
            raise Finding(f"{index} is under our name and not auditpipe's: it is left as it is")


class _Draft:
    """The record of one month's removal: written and read back whole before its last part says that it counts."""

    def __init__(self, remover: Remover, month: str, active: list[Hold], kept: int) -> None:
        self._remover = remover
        self._client = remover.client
        self._month = month
        self._active = active
        self._kept = kept
        at = format_time(remover.clock())
        stamp = at[:19].replace("-", "").replace(":", "")
        self.record = f"retention-{month}-{stamp}Z-{secrets.token_hex(3)}"
        self._about = {"@timestamp": at, "record": self.record, "month": month}
        self._written: dict[str, str] = {}

    def write(self, snapshot: Snapshot) -> tuple[str, dict[str, int]]:
        """(id, what was wrong with the events) once all but the last part is there."""
        scanned = Scanned()
        found = scan.batches(scan.ranges(snapshot.hits(), scanned))
        for number, (organization, ranges) in enumerate(found, start=1):
            streams = list(dict.fromkeys(one.stream for one in ranges))
            whose = {} if organization is None else {"organization": {"id": organization}}
            batch = Removed.model_validate({**self._about, **whose, "streams": streams, "ranges": list(ranges)})
            self._add(f"{self.record}-{number:06d}", batch)
        if scanned.events != snapshot.total:
            raise NotFinished(f"{snapshot.total} events were there and {scanned.events} came: run it again")
        flawed = dict(sorted(scanned.flawed.items()))
        told = {
            **{"keep": self._remover.keep, "removed": scanned.events, "kept": self._kept},
            **{"batches": len(self._written), "held": self._held(), "by": self._remover.signer.subject},
            "flawed": [Flawed(finding=kind, events=count) for kind, count in flawed.items()],
            "reason": self._remover.reason,
        }
        applied = RetentionApplied.model_validate({**self._about, **told})
        self._add(self.record, applied)
        self._read_back()
        return self.record, flawed

    def commit(self) -> None:
        """From now on the month counts as removed."""
        earlier = months.commits(self._client, self._remover.trust).get(self._month, [])
        last = MonthRemoved.model_validate(self._about)
        doc_id = ledger.month_id(self._month, len(earlier) + 1)
        self._add(doc_id, last)
        ledger.refresh(self._client)
        if (ledger.get(self._client, doc_id) or {}).get("record") != self.record:
            raise NotFinished(f"the record {doc_id} does not read back: nothing was removed; run it again")

    def _held(self) -> list[Held]:
        index = months.index_of_month(self._month)
        counts = {hold.name: self._remover._count(index, hold.clause) for hold in self._active}
        return [Held(hold=name, events=count) for name, count in counts.items() if count]

    def _add(self, doc_id: str, record: Record) -> None:
        signed = self._remover.signer.sign(record.document())
        ledger.add(self._client, doc_id, signed)
        self._written[doc_id] = signed["signature"]["value"]

    def _read_back(self) -> None:
        ledger.refresh(self._client)
        there = {}
        for doc_id, document in ledger.find(self._client, {"term": {"record": self.record}}):
            if self._remover.trust.problem(document) is None:
                there[doc_id] = document["signature"]["value"]
        if there != self._written:
            raise NotFinished(f"the record {self.record} does not read back: nothing was removed; run it again")


def _names(active: list[Hold]) -> list[tuple[str, int]]:
    return [(hold.name, hold.added.number) for hold in active]
