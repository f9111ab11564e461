"""What `verify` says of numbers that retention removed: one note for each record, however many streams it touched."""

from collections.abc import Iterator
from dataclasses import dataclass

from auditpipe.pipeline.verify.event import Flaw, Row
from auditpipe.pipeline.verify.view import Part


@dataclass(slots=True)
class _Removal:
    """What one record explains, and the first row behind a gap that it does."""

    part: Part
    row: Row
    events: int = 0
    streams: int = 0
    last_stream: str = ""


class Removals:
    """Collects what records explain while the streams go by; as large as the number of records."""

    def __init__(self) -> None:
        self._by_record: dict[str, _Removal] = {}

    def add(self, part: Part, row: Row, first: int, last: int) -> None:
        """The numbers first..last before this row are missing because of this record."""
        removal = self._by_record.setdefault(part.record, _Removal(part, row))
        removal.events += last - first + 1
        if removal.last_stream != row.stream:
            removal.last_stream = row.stream
            removal.streams += 1

    def notes(self) -> Iterator[Flaw]:
        """One for each record."""
        for removal in self._by_record.values():
            part, row = removal.part, removal.row
            streams = "1 stream" if removal.streams == 1 else f"{removal.streams} streams, the first of them here"
            detail = (
                f"by retention: {removal.events} events of {part.month}, on {part.at}, record {part.record};"
                f" of {streams}"
            )
            yield Flaw("removed", detail, row.stream, row.sequence, row.event_id, row.time)
