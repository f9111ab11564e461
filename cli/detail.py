"""One event in full: its sentence, what was changed, and every field."""

from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import Any

from auditpipe.cli.terminal import coloured, columns
from auditpipe.pipeline.tabular import (
    changes_of,
    flat,
    named_text,
    names_of,
    plain,
    text_at,
    value_text,
    withheld_changes,
)
from auditpipe.pipeline.visible import pad, printable, width

#: Shown by themselves, above the fields.
_APART = ("message", "audit.changes")
_NOTHING = "(nothing)"
_REMOVED = "(removed)"
_REDACTED = "(redacted)"


def lines(document: Mapping[str, Any]) -> Iterator[str]:
    """The event, a line at a time, without newlines."""
    yield coloured(printable(text_at(document, "message")), bold=True)
    yield ""
    changes = list(_changes(document))
    if changes:
        yield coloured("What changed, before and after", bold=True)
        yield from changes
        yield ""
    yield coloured("Fields", bold=True)
    yield from _fields(document)


def _changes(document: Mapping[str, Any]) -> Iterator[str]:
    redacted, names = withheld_changes(document), names_of(document)
    for change in changes_of(document):
        name = plain(change.get("field"))
        if "before" in change or "after" in change:
            yield from _change(name, change, names)
        elif name not in redacted:
            yield f"  {printable(name)}: changed, values not recorded"
    for name in redacted:
        yield f"  {printable(name)}: {coloured(_REDACTED, 'yellow')}, its values never left the application"


def _change(name: str, change: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[str]:
    before, after = (
        printable(named_text(change[side], names)) if side in change else absent
        for side, absent in (("before", _NOTHING), ("after", _REMOVED))
    )
    label = printable(name)
    if width(label) + width(before) + width(after) + 8 <= columns() and not _is_list(change):
        yield f"  {label}: {coloured(before, 'red')} -> {coloured(after, 'green')}"
        return
    yield f"  {label}:"
    yield from _side("-", "red", change, "before", _NOTHING)
    yield from _side("+", "green", change, "after", _REMOVED)


def _side(sign: str, colour: str, change: Mapping[str, Any], which: str, absent: str) -> Iterator[str]:
    value = change.get(which)
    items = [absent] if which not in change else [_value(item) for item in value] if isinstance(value, list) else None
    texts = [_value(value)] if items is None else items or ["[]"]
    for text in texts:
        for number, part in enumerate(_wrapped(text, columns() - 8)):
            yield "    " + coloured(f"{sign if number == 0 else ' '} {part}", colour)


def _is_list(change: Mapping[str, Any]) -> bool:
    return any(isinstance(change.get(which), list) and len(change[which]) > 1 for which in ("before", "after"))


def _value(value: Any) -> str:
    return printable(value_text(value))


def _fields(document: Mapping[str, Any]) -> Iterator[str]:
    fields = [(printable(path), _value(value)) for path, value in flat(document, _APART)]
    widest = min(max((width(path) for path, _ in fields), default=0), 40)
    for path, value in fields:
        first, *rest = _wrapped(value, columns() - widest - 4)
        label = path if width(path) > widest else pad(path, widest)
        yield f"  {coloured(label, dim=True)}  {first}"
        yield from (" " * (widest + 4) + part for part in rest)


def _wrapped(text: str, room: int) -> list[str]:
    """The text in lines of at most so many characters; nothing left out."""
    return wrap(text, max(room, 20), replace_whitespace=False, drop_whitespace=False, break_on_hyphens=False) or [""]
