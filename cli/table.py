"""Events as a table that fits the terminal."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from auditpipe.cli.terminal import coloured, columns
from auditpipe.pipeline.tabular import actor_text, changes_text, outcome_text, target_text, text_at
from auditpipe.pipeline.visible import pad, printable, width

GAP = 2
NARROWEST = 5
#: Rows that the widths are taken from; later ones are cut to fit.
SAMPLE = 200


@dataclass(frozen=True, slots=True)
class Column:
    """`least` columns are kept for it where there is room to read, `most` is taken where there is plenty.

    `narrow` is what an 80-column terminal leaves; `usual` is assumed where the rows are not known yet.
    """

    title: str
    narrow: int
    least: int
    usual: int
    most: int


COLUMNS = (
    Column("time (UTC)", 19, 19, 19, 19),
    Column("action", 20, 32, 32, 36),  # the longest of the catalogue: what a reader looks for first
    Column("actor", 5, 8, 16, 28),
    Column("target", 6, 10, 22, 36),
    Column("what changed", 8, 23, 60, 200),
    Column("outcome", 5, 7, 17, 24),
    Column("address", 5, 9, 15, 39),
)
ID = Column("event id", 36, 36, 36, 36)


def lines(documents: Iterable[dict[str, Any]], *, with_id: bool = False) -> Iterator[str]:
    """Header and rows, each with its newline. Widths come from the first rows."""
    wanted = (*COLUMNS, ID) if with_id else COLUMNS
    source = iter(documents)
    sample = [_cells(document, with_id) for document in islice(source, SAMPLE)]
    if not sample:
        return
    widths = fit(wanted, sample, columns())
    yield coloured(_row([column.title for column in wanted], widths), bold=True) + "\n"
    for cells in sample:
        yield _coloured_row(cells, widths)
    for document in source:
        yield _coloured_row(_cells(document, with_id), widths)


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows of safe text, each column as wide as its widest cell; the first row is the header."""
    sizes = [max(width(row[column]) for row in rows) for column in range(len(rows[0]))]
    for number, row in enumerate(rows):
        line = (" " * GAP).join(pad(cell, size) for cell, size in zip(row, sizes, strict=True)).rstrip()
        yield coloured(line, bold=number == 0)


def fixed(total: int) -> list[int]:
    """Widths where no row is known yet: each as wide as its share."""
    return fit(COLUMNS, [["x" * column.usual for column in COLUMNS]], total)


def header(widths: Sequence[int]) -> str:
    """The header for such widths."""
    return coloured(_row([column.title for column in COLUMNS], widths), bold=True) + "\n"


def line(document: dict[str, Any], widths: Sequence[int]) -> str:
    """One event for such widths."""
    return _coloured_row(_cells(document, False), widths)


def fit(wanted: Sequence[Column], rows: Sequence[Sequence[str]], total: int) -> list[int]:
    """Widths of the columns that together take at most `total`, the widest giving way first.

    First down to what each needs to be read well, then to what 80 columns leave, then to NARROWEST. Below that the
    lines become longer than the terminal: no column is left out.
    """
    widths = [
        min(column.most, max(width(column.title), *(width(row[i]) for row in rows))) for i, column in enumerate(wanted)
    ]
    room = total - GAP * (len(wanted) - 1)
    _shrink(widths, [column.least for column in wanted], room)
    _shrink(widths, [column.narrow for column in wanted], room)
    _shrink(widths, [column.least if column.least == column.most else NARROWEST for column in wanted], room)
    return widths


def _shrink(widths: list[int], floors: Sequence[int], room: int) -> None:
    while (excess := sum(widths) - room) > 0:
        spare = sorted((size - floor, i) for i, (size, floor) in enumerate(zip(widths, floors, strict=True)))
        most, at = spare[-1]
        if most <= 0:
            return
        # Down to the next widest at most, so that no column starves while another is wide.
        second = max(spare[-2][0], 0)
        widths[at] -= min(excess, max(1, most - second))


def _cells(document: dict[str, Any], with_id: bool) -> list[str]:
    cells = [
        _time(document),
        text_at(document, "event.action"),
        actor_text(document),
        target_text(document),
        changes_text(document),
        outcome_text(document),
        text_at(document, "source.ip"),
    ]
    if with_id:
        cells.append(text_at(document, "event.id"))
    return [printable(cell) for cell in cells]


def _coloured_row(cells: Sequence[str], widths: Sequence[int]) -> str:
    outcome = cells[5].split(" ", 1)[0]
    return coloured(_row(cells, widths), "red" if outcome == "failure" else None) + "\n"


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return (" " * GAP).join(pad(cell, size) for cell, size in zip(cells, widths, strict=True)).rstrip()


def _time(document: dict[str, Any]) -> str:
    return text_at(document, "@timestamp")[:19].replace("T", " ")
