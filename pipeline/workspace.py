"""A throw-away SQLite file, for what must be sorted or compared and may be larger than memory."""

import sqlite3
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from auditpipe.pipeline.verify.event import Flaw, Row
from auditpipe.schemas.errors import NotFinished

_BATCH = 1_000

_SCHEMA = """
CREATE TABLE rows (stream BLOB, sequence INTEGER, event_id BLOB, time BLOB, previous BLOB, own_hash BLOB,
                   kind BLOB, detail BLOB, closes INTEGER);
CREATE TABLE keys (organization BLOB, service BLOB, key BLOB, event_id BLOB, stream BLOB, time BLOB, sequence INTEGER);
CREATE TABLE asides (kind BLOB, topic BLOB, detail BLOB, event_id BLOB, stream BLOB, time BLOB, sequence INTEGER);
"""
_REPEATED = """
SELECT k.* FROM keys AS k JOIN (
  SELECT organization, service, key FROM keys GROUP BY 1, 2, 3 HAVING count(DISTINCT event_id) > 1
) AS twice USING (organization, service, key)
ORDER BY organization, service, key, time, event_id
"""
#: One for each topic: how many, and the first of them.
_ASIDES = """
SELECT kind, detail, event_id, stream, time, sequence, count(*), min(rowid) FROM asides
GROUP BY kind, topic ORDER BY min(rowid)
"""


class Workspace:
    """Rows in any order in, by stream and number out; and what can be said only when all have been seen."""

    def __init__(self) -> None:
        # The empty name is SQLite's temporary file: unlinked as soon as it is open, gone with the process.
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;" + _SCHEMA)
        self._rows: list[tuple[object, ...]] = []

    def __enter__(self) -> "Workspace":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._db.close()
        if isinstance(error, sqlite3.Error):
            raise NotFinished(f"sorting needs a temporary file of the size of the data, in TMPDIR: {error}") from error

    def add(self, row: Row) -> None:
        """Keep a row for `ordered`."""
        place = (row.stream, row.sequence, row.event_id, row.time, row.previous, row.own_hash)
        self._rows.append(_stored(*place, *(row.problem or (None, None)), row.closes))
        if len(self._rows) >= _BATCH:
            self._flush()

    def remember(self, row: Row) -> None:
        """Keep a row's key and what is to be noted of it, if it has them, for `at_the_end`."""
        for table, said in (("keys", row.key), ("asides", row.aside)):
            if said is not None:
                insert = f"INSERT INTO {table} VALUES (?,?,?,?,?,?,?)"  # noqa: S608  # one of the two names above
                self._db.execute(insert, _stored(*said, row.event_id, row.stream, row.time, row.sequence))

    def ordered(self) -> Iterator[Row]:
        """The rows by stream and number."""
        self._flush()
        for row in self._all("SELECT * FROM rows ORDER BY stream, sequence, rowid"):
            stream, sequence, event_id, time, previous, own_hash, kind, detail, closes = row
            problem = None if kind is None else (kind, detail)
            yield Row(stream, sequence, event_id, time, previous, own_hash, problem, bool(closes))

    def at_the_end(self) -> Iterator[Flaw]:
        """Each event whose key another event has too; and notes, each once, with the first event that it is of."""
        for _org, _service, key, event_id, stream, time, sequence in self._all(_REPEATED):
            yield Flaw("repeated_key", f"another event has audit.key {key!r} too", stream, sequence, event_id, time)
        for kind, detail, event_id, stream, time, sequence, count, _ in self._all(_ASIDES):
            of = f"{detail} ({count} events, the first of them)" if count > 1 else detail
            yield Flaw(kind, of, stream, sequence, event_id, time)

    def _all(self, query: str) -> Iterator[tuple[Any, ...]]:
        for row in self._db.execute(query):
            yield tuple(value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else value for value in row)

    def _flush(self) -> None:
        self._db.execute("BEGIN")
        self._db.executemany("INSERT INTO rows VALUES (?,?,?,?,?,?,?,?,?)", self._rows)
        self._db.execute("COMMIT")
        self._rows.clear()


def _stored(*values: object) -> tuple[object, ...]:
    """Texts as bytes, which sort alike: SQLite takes no lone surrogate as text, and none may become another."""
    return tuple(value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value for value in values)
