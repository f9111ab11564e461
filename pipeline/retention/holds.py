"""Legal hold: the events that a filter matches are kept, whatever their age, until the hold is released."""

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from opensearchpy import OpenSearch

from auditpipe.pipeline.query import Clause, Filters
from auditpipe.pipeline.reader import ask_all_shards, search
from auditpipe.pipeline.retention import belief, ledger, underway
from auditpipe.pipeline.retention.signature import Signer, Trust
from auditpipe.schemas.errors import Finding, UsageError
from auditpipe.schemas.identity import format_time
from auditpipe.schemas.records import HoldAdded, HoldReleased

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_LONGEST_REASON = 1_000


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold by its last record: `released` is None while it holds."""

    added: HoldAdded
    released: HoldReleased | None = None

    @property
    def name(self) -> str:
        """What it is called: a case."""
        return self.added.hold

    @property
    def clause(self) -> Clause:
        """What it keeps."""
        return dict(self.added.query)

    def as_dict(self) -> dict[str, Any]:
        """For `-o json`."""
        added, released = self.added, self.released
        return {
            **{"hold": added.hold, "filter": added.filter},
            **{"added_at": added.timestamp, "added_by": added.by, "reason": added.reason},
            "released_at": released.timestamp if released else None,
            "released_by": released.by if released else None,
            "released_reason": released.reason if released else None,
        }


def read(client: OpenSearch, trust: Trust) -> list[Hold]:
    """Every hold that there is or was, oldest first. Finding for a record that is not to be believed, or not read."""
    found: dict[tuple[str, int], Hold] = {}
    for doc_id, document in ledger.find(client, ledger.of_kinds("hold_added", "hold_released")):
        record = belief.believed(trust, document)
        if isinstance(record, str):
            raise Finding(belief.told(doc_id, document, record).detail)
        if isinstance(record, HoldAdded):
            found[record.hold, record.number] = Hold(record)
        elif isinstance(record, HoldReleased) and (held := found.get((record.hold, record.number - 1))):
            found[record.hold, record.number - 1] = Hold(held.added, record)
    return list(found.values())


def active(client: OpenSearch, trust: Trust) -> list[Hold]:
    """Those that hold now."""
    return [hold for hold in read(client, trust) if hold.released is None]


def add(client: OpenSearch, signer: Signer, trust: Trust, wanted: tuple[str, Filters, str]) -> Hold:
    """Hold, from now on, what the filters match: (name, filters, reason). With keys, pseudonyms alone are on record.

    UsageError: the name holds already, or would say a value in plain; BadFilter: a query that the node can't read.
    NotFinished: it is on record, and a removal that may not have seen it goes on.
    """
    name, given, reason = wanted
    _check(name, reason)
    _check_plain(given, name, reason)
    filters = given.in_pseudonyms()
    ledger.require(client)
    with search(client, filters, limit=0):
        pass  # what is on record stays there: the node has to be able to read it
    if any(hold.name == name for hold in active(client, trust)):
        raise UsageError(f"there is a hold {name} already: release it first, or take another name")
    about = {"@timestamp": format_time(time.time_ns()), "reason": reason, "by": signer.subject}
    said = {"hold": name, "number": _next(client, name), "filter": filters.describe(), "query": filters.query()}
    record = HoldAdded.model_validate(about | said)
    ledger.add(client, ledger.hold_id(name, record.number), signer.sign(record.document()))
    ledger.refresh(client)
    underway.wait(client, name)
    return Hold(record)


def kept_and_found(client: OpenSearch, filters: Filters) -> tuple[int, int]:
    """How many events a hold with these filters keeps, and how many a search with them finds: in plain too."""
    with search(client, filters.in_pseudonyms(), limit=0) as kept, search(client, filters, limit=0) as found:
        return kept.total, found.total


def release(client: OpenSearch, signer: Signer, trust: Trust, name: str, reason: str) -> Hold:
    """End a hold. UsageError: none of that name holds."""
    _check(name, reason)
    holding = {hold.name: hold for hold in active(client, trust)}
    if name not in holding:
        raise UsageError(f"there is no hold {name}; there are: {', '.join(sorted(holding)) or 'none'}")
    added = holding[name].added
    about = {"@timestamp": format_time(time.time_ns()), "reason": reason, "by": signer.subject}
    record = HoldReleased.model_validate(about | {"hold": name, "number": added.number + 1})
    ledger.add(client, ledger.hold_id(name, record.number), signer.sign(record.document()))
    ledger.refresh(client)
    return Hold(added, record)


def held(holds: Iterable[Hold]) -> Clause:
    """The clause that matches what any of them holds; nothing, where there is none."""
    return {"bool": {"should": [hold.clause for hold in holds] or [{"match_none": {}}]}}


@contextmanager
def named(client: OpenSearch, holds: Iterable[Hold]) -> Iterator[None]:
    """Within it, a query of these holds that the node can't read is a Finding that names the hold."""
    try:
        yield
    except UsageError:
        for hold in holds:
            try:
                ask_all_shards(client, {"query": hold.clause, "size": 0})
            except UsageError as error:
                raise Finding(
                    f"the query of hold {hold.name} can't be run ({error}): nothing is removed while it holds;"
                    " add another hold that says the same, then release this one"
                ) from error
        raise


def _next(client: OpenSearch, name: str) -> int:
    return sum(1 for _ in ledger.find(client, {"term": {"hold": name}})) + 1


def _check(name: str, reason: str) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(f"expected a name of letters, digits, `.`, `_` and `-`, at most 100, got {name!r}")
    if not reason.strip() or len(reason) > _LONGEST_REASON:
        raise UsageError(f"--reason: expected 1 to {_LONGEST_REASON} characters, got {len(reason)}")


def _check_plain(filters: Filters, name: str, reason: str) -> None:
    """A value in plain beside its pseudonym would tell every reader who is meant, for ever."""
    texts = {"the name": name, "--reason": reason, "-q": filters.lucene or ""}
    for flag, value in filters.plain_values().items():
        for where, text in texts.items():
            if re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text, re.IGNORECASE):
                raise UsageError(
                    f"{where} holds the value of --{flag}, of which only the pseudonym is kept: leave it out"
                )
