"""What retention removed, for `verify` and `export`: from the index of records, or from an export's manifest."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, lru_cache

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

#: The ids of the batches that name a stream, and the document of an id.
Ids = Callable[[str], Iterable[str]]
Get = Callable[[str], Document]


class Removals:
    """Looks up what was removed of a stream. What is not to be believed explains nothing, and is a flaw.

    A stream may have a gap at every other event, and a signature takes half a millisecond to check: what was found is
    kept of the last stream, of each month's removal, and of `kept` batches (None: of all).
    """

    def __init__(
        self, commits: Iterable[tuple[str, Document]], ids: Ids, get: Get, trust: Trust, kept: int | None = None
    ) -> None:
        self._commits = {str(document.get("record")): (doc_id, document) for doc_id, document in commits}
        self._ids = ids
        self._trust = trust
        self._flaws: dict[str, Flaw] = {}
        self._of_stream = lru_cache(1)(self._parts)
        self._batch = lru_cache(kept)(lambda doc_id: self._believed(doc_id, get(doc_id)))
        self._month = cache(self._removed_month)

    def parts(self, stream: str, first: int, last: int) -> list[Part]:
        """What retention removed of the numbers first..last, by first number."""
        return [part for part in self._of_stream(stream) if part.first <= last and part.last >= first]

    def flaws(self) -> Iterator[Flaw]:
        """The records that were looked at and are not to be believed, each once."""
        yield from self._flaws.values()

    def _parts(self, stream: str) -> list[Part]:
        found = []
        for doc_id in self._ids(stream) if self._commits else ():
            batch = self._batch(doc_id)
            # A batch of which no month's removal followed is of a run that was ended before it removed anything.
            if not isinstance(batch, Removed) or self._month(batch.record) != batch.month:
                continue
            about = {"month": batch.month, "record": batch.record, "at": batch.timestamp}
            for one in batch.ranges:
                if one.stream == stream:
                    found.append(Part(one.first, one.last, one.previous, one.hash, **about))
        return sorted(found, key=lambda part: (part.first, -part.last))

    def _removed_month(self, record: str) -> str | None:
        """The month of which this record says that it was removed."""
        commit = self._believed(*self._commits[record]) if record in self._commits else None
        return commit.month if isinstance(commit, MonthRemoved) else None

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
    names = [str(document.get("record")) for _, document in commits]

    def ids(stream: str) -> Iterator[str]:
        return ledger.ids_of(client, [stream], names)

    return Removals(commits, ids, lambda doc_id: ledger.get(client, doc_id) or {}, trust, _KEPT)


def of_documents(documents: Iterable[Document], trust: Trust) -> Removals:
    """From the records that an export carries."""
    commits, by_name, by_stream = [], dict[str, Document](), dict[str, list[str]]()
    for number, document in enumerate(documents):
        name = f"{number} of the manifest"
        by_name[name] = document
        if document.get("kind") == "month_removed":
            commits.append((name, document))
        for stream in _streams(document):
            by_stream.setdefault(stream, []).append(name)
    return Removals(commits, lambda stream: by_stream.get(stream, ()), by_name.__getitem__, trust)


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
