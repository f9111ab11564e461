"""The months that there are: how old, how large, what holds keep of them, and what retention would do."""

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from opensearchpy import OpenSearch

from auditpipe.pipeline import rest
from auditpipe.pipeline.reader import ask_all_shards
from auditpipe.pipeline.retention import belief, holds, ledger
from auditpipe.pipeline.retention.holds import Hold
from auditpipe.pipeline.retention.signature import Trust
from auditpipe.schemas.errors import Finding, NotAllowed, NotFinished, UsageError
from auditpipe.schemas.identity import INDEX_PATTERN, INDEX_PREFIX, MILLISECOND, month_of
from auditpipe.schemas.records import MonthRemoved

_MOST_MONTHS = 10_000
_INDEX = re.compile(re.escape(INDEX_PREFIX) + r"(19[7-9]\d|20\d\d|210[0-6])\.(0[1-9]|1[0-2])", re.ASCII)
_MOST_APART_NS = 3_600_000_000_000


class Fate(StrEnum):
    """What `apply` does with a month."""

    STAYS = "stays"
    REMOVE = "remove"
    REMOVE_PART = "remove what is not held"
    HELD = "held"
    GONE = "removed"


@dataclass(frozen=True, slots=True)
class Month:
    """One month, `1999-01`. Times RFC 3339, `size` bytes on disk with all copies; None where it is not known.

    `held`: how many events each hold keeps; `kept`: how many are kept in all. `blocked`: whether it is written shut,
    None for whom the node does not tell. `removed`: the last record about it.
    """

    month: str
    events: int = 0
    oldest: str | None = None
    newest: str | None = None
    held: Mapping[str, int] = field(default_factory=dict)
    kept: int = 0
    size: int | None = None
    exists: bool = True
    closed: bool = False
    blocked: bool | None = None
    removed: MonthRemoved | None = None

    @property
    def index(self) -> str:
        """`audit-events-1999.01`."""
        return index_of_month(self.month)

    def fate(self, keep: int, now_ns: int) -> Fate:
        """What `--keep` means for it. This month and the `keep` before it stay."""
        if not self.exists:
            return Fate.GONE
        if _ordinal(self.month) >= _ordinal_of(now_ns) - keep:
            return Fate.STAYS
        if not self.kept:
            return Fate.REMOVE
        # A month that was opened to remove from, and not closed again, is to be finished.
        unfinished = self.removed is not None and self.blocked is False
        return Fate.REMOVE_PART if self.events > self.kept or unfinished else Fate.HELD

    def as_dict(self) -> dict[str, Any]:
        """For `-o json`."""
        removed = self.removed
        names = ("month", "index", "events", "oldest", "newest", "size", "held", "kept")
        return {name: getattr(self, name) for name in names} | {
            "removed_at": removed.timestamp if removed else None,
            "record": removed.record if removed else None,
        }


def index_of_month(month: str) -> str:
    """`audit-events-1999.01` of `1999-01`."""
    return INDEX_PREFIX + month.replace("-", ".")


def month_of_index(index: str) -> str | None:
    """`1999-01` of `audit-events-1999.01`; None of an index that is no month's."""
    match = _INDEX.fullmatch(index)
    return f"{match[1]}-{match[2]}" if match else None


def check_keep(keep: int) -> None:
    """UsageError for less than one: late events of the month before are still on their way."""
    if keep < 1:
        raise UsageError(f"--keep: expected 1 or more months beside the running one, got {keep}")


def check_clock(client: OpenSearch, clock: Callable[[], int] = time.time_ns) -> None:
    """NotFinished if this machine's clock is not that of the nodes: by a wrong one everything would be old."""
    nodes = (rest.get(client, "/_nodes/stats/os") or {}).get("nodes", {})
    for node in nodes.values():
        if abs(int(node["timestamp"]) * MILLISECOND - clock()) > _MOST_APART_NS:
            raise NotFinished(f"the clocks of this machine and of node {node.get('name')} differ by more than an hour")


def commits(client: OpenSearch, trust: Trust) -> dict[str, list[MonthRemoved]]:
    """The records that a month was removed, by month. Finding for one that is not to be believed."""
    found: dict[str, list[MonthRemoved]] = {}
    for doc_id, document in ledger.find(client, ledger.of_kinds("month_removed")):
        record = belief.believed(trust, document)
        if not isinstance(record, MonthRemoved):
            raise Finding(belief.told(doc_id, document, str(record)).detail)
        found.setdefault(record.month, []).append(record)
    return found


def survey(client: OpenSearch, trust: Trust) -> list[Month]:
    """All months that hold anything or ever did, oldest first. Sizes, and months without events, for the certificate.

    OutOfReach, NotAllowed; Finding for a record that is not to be believed, or a hold that can't be applied.
    """
    listed = _listed(client)
    active = holds.active(client, trust)
    with holds.named(client, active):
        counted = _counted(client, active)
    removed = commits(client, trust)
    found = []
    for month in sorted({*listed, *counted, *removed}):
        about = {**listed.get(month, {}), **counted.get(month, {})}
        last = removed[month][-1] if month in removed else None
        found.append(Month(month, exists=month in listed or month in counted, removed=last, **about))
    return found


def _listed(client: OpenSearch) -> dict[str, dict[str, Any]]:
    """Indices with size, state and block; nothing for whom the node does not tell."""
    columns = {"h": "index,status,store.size", "format": "json", "expand_wildcards": "all", "bytes": "b"}
    try:
        rows = rest.get(client, f"/_cat/indices/{INDEX_PATTERN}", **columns) or []
        path = f"/{INDEX_PATTERN}/_settings/index.blocks.write"
        settings = rest.get(client, path, flat_settings="true", expand_wildcards="all") or {}
    except NotAllowed:
        return {}
    found = {}
    for row in rows:
        if (month := month_of_index(row["index"])) is not None:
            block = settings.get(row["index"], {}).get("settings", {}).get("index.blocks.write")
            size = None if row.get("store.size") is None else int(row["store.size"])
            found[month] = {"size": size, "closed": row["status"] == "close", "blocked": block == "true"}
    return found


def _counted(client: OpenSearch, active: Sequence[Hold]) -> dict[str, dict[str, Any]]:
    inner: dict[str, Any] = {
        "oldest": {"min": {"field": "@timestamp"}},
        "newest": {"max": {"field": "@timestamp"}},
        "kept": {"filter": holds.held(active)},
    }
    if active:
        inner["held"] = {"filters": {"filters": {hold.name: hold.clause for hold in active}}}
    outer = {"terms": {"field": "_index", "size": _MOST_MONTHS}, "aggs": inner}
    buckets = ask_all_shards(client, {"size": 0, "aggs": {"months": outer}})["aggregations"]["months"]["buckets"]
    return {month: _about(bucket) for bucket in buckets if (month := month_of_index(bucket["key"])) is not None}


def _about(bucket: Mapping[str, Any]) -> dict[str, Any]:
    held = bucket.get("held", {}).get("buckets", {})
    return {
        "events": bucket["doc_count"],
        "oldest": bucket["oldest"].get("value_as_string"),
        "newest": bucket["newest"].get("value_as_string"),
        "kept": bucket["kept"]["doc_count"],
        "held": {name: one["doc_count"] for name, one in held.items() if one["doc_count"]},
    }


def to_remove(months: Iterable[Month], keep: int, now_ns: int) -> list[Month]:
    """Those of which `apply` would remove something. Finding if one of them is closed."""
    wanted = [one for one in months if one.fate(keep, now_ns) in (Fate.REMOVE, Fate.REMOVE_PART)]
    if closed := [one.index for one in wanted if one.closed]:
        raise Finding(
            f"{', '.join(closed)} closed: what is in it can't be recorded, nor what holds keep; open it first"
        )
    return wanted


def _ordinal(month: str) -> int:
    return int(month[:4]) * 12 + int(month[5:]) - 1


def _ordinal_of(ns: int) -> int:
    year, month = month_of(ns)
    return year * 12 + month - 1
