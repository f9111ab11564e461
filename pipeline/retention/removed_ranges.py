"""What retention removed, for `verify` and `export`: from the index of records, or from an export's manifest."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence

from opensearchpy import OpenSearch

from auditpipe.pipeline.retention import belief, ledger
from auditpipe.pipeline.retention.ledger import Document
from auditpipe.pipeline.retention.signature import Trust
from auditpipe.pipeline.verify.event import Flaw
from auditpipe.pipeline.verify.view import Part
from auditpipe.schemas.errors import NotAllowed
from auditpipe.schemas.records import MonthRemoved, Record, Removed

#: Batches that are kept: streams come in order, and the batches of each organization are in that order too.
_KEPT = 64
_STREAMS_AT_ONCE = 500

#: The batches that name a stream, as (id, document).
Batches = Callable[[str], Iterable[tuple[str, Document]]]


class Removals:
    """Looks up what was removed of a stream. What is not to be believed explains nothing, and is a flaw."""

    def __init__(self, commits: Iterable[tuple[str, Document]], batches: Batches, trust: Trust) -> None:
        self._commits = {str(document.get("record")): (doc_id, document) for doc_id, document in commits}
        self._batches = batches
        self._trust = trust
        self._flaws: dict[str, Flaw] = {}

    def parts(self, stream: str, first: int, last: int) -> list[Part]:
        """What retention removed of the numbers first..last, by first number."""
        found = [part for part in self._parts(stream) if part.first <= last and part.last >= first]
        return sorted(found, key=lambda part: (part.first, -part.last))

    def flaws(self) -> Iterator[Flaw]:
        """The records that were looked at and are not to be believed, each once."""
        yield from self._flaws.values()

    def _parts(self, stream: str) -> Iterator[Part]:
        for doc_id, document in self._batches(stream) if self._commits else ():
            batch = self._believed(doc_id, document)
            if not isinstance(batch, Removed) or not self._is_committed(batch):
                continue
            about = {"month": batch.month, "record": batch.record, "at": batch.timestamp}
            for one in batch.ranges:
                if one.stream == stream:
                    yield Part(one.first, one.last, one.previous, one.hash, **about)

    def _is_committed(self, batch: Removed) -> bool:
        """A batch of which no month's removal followed is of a run that was ended before it removed anything."""
        if batch.record not in self._commits:
            return False
        commit = self._believed(*self._commits[batch.record])
        return isinstance(commit, MonthRemoved) and commit.month == batch.month

    def _believed(self, doc_id: str, document: Document) -> Record | None:
        found = belief.believed(self._trust, document)
        if isinstance(found, str):
            self._flaws[doc_id] = belief.told(doc_id, document, found)
            return None
        return found


def of_index(client: OpenSearch, trust: Trust) -> Removals | None:
    """From the index of records; None for a reader who may not see it."""
    try:
        commits = list(ledger.find(client, ledger.of_kinds("month_removed")))
    except NotAllowed:
        return None
    names, kept = [str(document.get("record")) for _, document in commits], OrderedDict[str, Document]()

    def batches(stream: str) -> Iterator[tuple[str, Document]]:
        for doc_id in ledger.ids_of(client, [stream], names):
            if doc_id not in kept:
                kept[doc_id] = ledger.get(client, doc_id) or {}
            kept.move_to_end(doc_id)
            yield doc_id, kept[doc_id]
            while len(kept) > _KEPT:
                kept.popitem(last=False)

    return Removals(commits, batches, trust)


def of_documents(documents: Iterable[Document], trust: Trust) -> Removals:
    """From the records that an export carries."""
    commits, by_stream = [], dict[str, list[tuple[str, Document]]]()
    for number, document in enumerate(documents):
        name = f"{number} of the manifest"
        if document.get("kind") == "month_removed":
            commits.append((name, document))
        for stream in _streams(document):
            by_stream.setdefault(stream, []).append((name, document))
    return Removals(commits, lambda stream: by_stream.get(stream, ()), trust)


def about_streams(client: OpenSearch, streams: Sequence[str]) -> list[Document] | None:
    """The records about these streams, for an export to carry; None for a reader who may not see any."""
    try:
        commits = {str(one.get("record")): one for _, one in ledger.find(client, ledger.of_kinds("month_removed"))}
        batches: dict[str, Document] = {}
        for start in range(0, len(streams) if commits else 0, _STREAMS_AT_ONCE):
            for doc_id in ledger.ids_of(client, streams[start : start + _STREAMS_AT_ONCE], list(commits)):
                batches.setdefault(doc_id, ledger.get(client, doc_id) or {})
    except NotAllowed:
        return None
    named = dict.fromkeys(str(batch.get("record")) for batch in batches.values())
    return [*(commits[name] for name in named if name in commits), *batches.values()]


def _streams(document: Document) -> list[str]:
    streams = document.get("streams")
    return [stream for stream in streams if isinstance(stream, str)] if isinstance(streams, list) else []
