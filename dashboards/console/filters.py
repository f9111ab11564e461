"""The filters of the command line as a form, and as links that can be shared."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from auditpipe.pipeline.query import OUTCOMES, Filters, moment
from auditpipe.schemas.errors import BadFilter


@dataclass(frozen=True, slots=True)
class Field:
    """One filter: its name in a link (that of the command line's flag), its label, an example."""

    name: str
    label: str
    example: str
    usual: bool = False


FIELDS: tuple[Field, ...] = (
    Field("action", "Action", "user.user.updated, user.team.*", usual=True),
    Field("actor", "Actor", "id, name or e-mail", usual=True),
    Field("target", "Target", "team, or team:t4", usual=True),
    Field("changed", "Changed field", "last_name", usual=True),
    Field("since", "Since (UTC)", "24h, or 2026-01-31T09:00", usual=True),
    Field("until", "Until (UTC)", "2026-02", usual=True),
    Field("outcome", "Outcome", "", usual=True),
    Field("query", "Words", "Dow, or message:Dow", usual=True),
    Field("user", "Anyone involved", "id, name or e-mail"),
    Field("reason", "Reason", "bad_credentials"),
    Field("ip", "Address", "192.0.2.7 or 192.0.2.0/24"),
    Field("org", "Organization", "acme"),
    Field("service", "Application", "accounts"),
    Field("session", "Session", "of the actor"),
    Field("request", "Request", "HTTP request or trace"),
)
NAMES = tuple(field.name for field in FIELDS)
CHOICES = OUTCOMES

#: What is typed, by the name of the field. Only `action` may have several values.
Typed = dict[str, list[str]]

_PART = re.compile(r"[,\s]+")
_FLAG = re.compile(r"--(\w+)|-q")


def typed(given: Iterable[tuple[str, str]]) -> Typed:
    """The filters among a query string's items, without the empty ones."""
    found: Typed = {}
    for name, value in given:
        value = value.strip()
        if name not in NAMES or not value:
            continue
        if name == "action":
            found.setdefault(name, []).extend(part for part in _PART.split(value) if part)
        else:
            found[name] = [value]
    return found


def meant(typed: Typed) -> Filters:
    """The filters that were typed. BadFilter says what was expected, as on the command line."""
    one: dict[str, Any] = {name: values[0] for name, values in typed.items() if name != "action"}
    since, until = one.pop("since", None), one.pop("until", None)
    return Filters(
        actions=tuple(typed.get("action", ())),
        organization=one.pop("org", None),
        lucene=one.pop("query", None),
        since_ns=None if since is None else moment(since, "since"),
        until_ns=None if until is None else moment(until, "until"),
        **one,
    )


def link(typed: Mapping[str, str | list[str]], **changes: str | None) -> str:
    """The list with these filters, and with some of them set anew or (None) taken away."""
    kept: dict[str, str | list[str]] = {name: value for name, value in typed.items() if name not in changes}
    kept |= {name: value for name, value in changes.items() if value is not None}
    return "/?" + urlencode(kept, doseq=True, errors="replace") if kept else "/"


def complaint(error: BadFilter) -> tuple[str | None, str]:
    """(the field that is wrong, if one is; what is wrong) in words of the page, which has no flags."""
    match = _FLAG.match(str(error))
    if match is None:
        return None, str(error)
    field = match[1] or "query"
    text = re.sub(r"--(\w+)", lambda flag: _label(flag[1]), str(error)[match.end() :].lstrip(": "))
    return field, f"{_label(field)}: {text}"


def _label(name: str) -> str:
    return next((field.label for field in FIELDS if field.name == name), name)
