"""An event as one row: the columns of CSV, and the sentence of what was changed."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from auditpipe.pipeline.any_json import dumped
from auditpipe.pipeline.visible import printable

#: CSV columns, in order; each is the path of a field, except `changes`, which is `changes_text`.
COLUMNS: tuple[str, ...] = (
    *("@timestamp", "event.id", "event.action", "event.outcome", "event.reason", "message"),
    *("organization.id", "audit.actor.type", "user.id", "user.name", "user.full_name", "user.email"),
    *("audit.target.type", "audit.target.id", "audit.target.name", "changes", "audit.redacted"),
    *("source.ip", "user_agent.original", "http.request.id", "audit.session.id"),
    *("service.name", "host.name", "audit.stream", "audit.sequence", "audit.hash"),
)

# What a spreadsheet takes for the beginning of a formula (OWASP, CSV injection), and the full-width forms of it; at the
# beginning of a cell or, since many a country's spreadsheets separate cells by `;` and quotes don't hold there, behind
# what may be taken for the end of one. Blanks and quotes between them do not count.
_FORMULA = re.compile('(^|[;|])(?=[\\s"]*[-=+@\t\r\n\uff1d\uff0b\uff0d\uff20])')
_QUOTED = re.compile('[,;|"]')

#: Says in a document why another can't be read, which it stands in for.
UNREADABLE = "audit.unreadable"

_MISSING = object()
#: Levels of lists and objects that are shown as such, more than any event has; what lies deeper is shown as JSON.
_LEVELS = 32


def field(document: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, None where there is none."""
    value: Any = document
    for part in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def text_at(document: Mapping[str, Any], path: str) -> str:
    """The value at a dotted path as text, empty where there is none."""
    value = field(document, path)
    return "" if value is None else plain(value)


def actor_text(document: Mapping[str, Any]) -> str:
    """Who did it, as a list has it: name, else e-mail address, id, or what kind of actor."""
    names = (text_at(document, path) for path in ("user.name", "user.email", "user.id", "audit.actor.type"))
    return next(filter(None, names), "")


def target_text(document: Mapping[str, Any]) -> str:
    """What it was done to: `team:Support`, by its id where it has no name."""
    kind, name = text_at(document, "audit.target.type"), text_at(document, "audit.target.name")
    return ":".join(filter(None, (kind, name or text_at(document, "audit.target.id"))))


def outcome_text(document: Mapping[str, Any]) -> str:
    """`failure (bad_credentials)`."""
    outcome, reason = text_at(document, "event.outcome"), text_at(document, "event.reason")
    return f"{outcome} ({reason})" if reason else outcome


def flat(
    document: Mapping[str, Any], apart: Collection[str] = (), prefix: str = "", levels: int = _LEVELS
) -> Iterator[tuple[str, Any]]:
    """(dotted path, value) of every field in order, but for the paths that are shown elsewhere."""
    for key, inner in document.items():
        path = f"{prefix}{key}"
        if path in apart:
            continue
        if isinstance(inner, Mapping) and inner and levels:
            yield from flat(inner, apart, f"{path}.", levels - 1)
        else:
            yield path, inner


def changes_of(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The entries of `audit.changes`; what is not shaped like one is left to the raw view."""
    changes = field(document, "audit.changes")
    for change in changes if isinstance(changes, list) else ():
        if isinstance(change, Mapping):
            yield change


def changes_text(document: Mapping[str, Any]) -> str:
    """`last_name: Doe -> Dow; members: + u7 (Tess Test); password: (redacted)`; or why the event can't be read."""
    if text := text_at(document, UNREADABLE):
        return text
    names = names_of(document)
    texts = [change_text(change, names) for change in changes_of(document)]
    named = {plain(change.get("field")) for change in changes_of(document)}
    texts += [f"{name}: (redacted)" for name in withheld_changes(document) if name not in named]
    return "; ".join(texts)


def withheld_changes(document: Mapping[str, Any]) -> list[str]:
    """Names of the fields that were changed and whose values were withheld: neither the actor's name nor details."""
    return [name for name in redacted_of(document) if name != "user.name" and not name.startswith("details.")]


def redacted_of(document: Mapping[str, Any]) -> list[str]:
    """Names of the fields whose values were withheld."""
    redacted = field(document, "audit.redacted")
    return [plain(name) for name in redacted] if isinstance(redacted, list) else []


def names_of(document: Mapping[str, Any]) -> dict[str, str]:
    """What people call the ids of those involved."""
    involved = field(document, "audit.involved")
    items = [item for item in involved if isinstance(item, Mapping)] if isinstance(involved, list) else []
    return {plain(item["id"]): plain(item["name"]) for item in items if "id" in item and "name" in item}


def change_text(change: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """`field: before -> after`, `field: + after` where nothing was before, `field: - before` where it was removed."""
    name, before, after = plain(change.get("field")), change.get("before", _MISSING), change.get("after", _MISSING)
    if before is _MISSING and after is _MISSING:
        return name
    if before is _MISSING:
        return f"{name}: + {named_text(after, names)}"
    if after is _MISSING:
        return f"{name}: - {named_text(before, names)}"
    return f"{name}: {named_text(before, names)} -> {named_text(after, names)}"


def named_text(value: Any, names: Mapping[str, str]) -> str:
    """`value_text`, with the name of an id that is known: `u7 (Tess Test)`."""
    text = value_text(value)
    return f"{text} ({names[value]})" if isinstance(value, str) and value in names else text


def plain(value: Any) -> str:
    """What should be a text; whatever else came as `value_text`."""
    return value if isinstance(value, str) else value_text(value)


def value_text(value: Any, levels: int = _LEVELS) -> str:
    """A value in a line of text: strings as they are, the empty one as `""`, lists in brackets, the rest as JSON."""
    if isinstance(value, str):
        return value or '""'
    if isinstance(value, list) and levels:
        return f"[{', '.join(value_text(item, levels - 1) for item in value)}]"
    if value is None or isinstance(value, (bool, Mapping, list)):
        return dumped(value)
    return str(value)


def csv_header() -> str:
    """The first line."""
    return _line(COLUMNS)


def csv_row(document: Mapping[str, Any]) -> str:
    """One line; control characters as escapes, no cell that a spreadsheet would run, be its separator `,` or `;`."""
    return _line([_cell(document, column) for column in COLUMNS])


def _cell(document: Mapping[str, Any], column: str) -> str:
    value = changes_text(document) if column == "changes" else field(document, column)
    if value is None or value == []:
        return ""
    text = plain(value)
    # Before the escaping: a tab that begins the cell is `\t` after it.
    return printable(_FORMULA.sub(r"\1'", text))


def _line(cells: Sequence[str]) -> str:
    """RFC 4180."""
    return ",".join(map(_quoted, cells)) + "\r\n"


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if _QUOTED.search(cell) else cell
