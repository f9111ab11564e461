"""Before and after side by side: each value in parts, of which some are marked as different."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from auditpipe.dashboards.console.edits import shared
from auditpipe.pipeline.tabular import changes_of, names_of, value_text, withheld_changes

#: Characters of a value that is given a window of its own to scroll in.
LONG = 1_500
#: Words, and each other character by itself: a mark never begins within a word.
_TOKEN = re.compile(r"\w+|\W", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a value; `marked` where the other side has something else."""

    text: str
    marked: bool = False


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a change: lines of parts, or, where there is no value, what that means."""

    lines: tuple[tuple[Part, ...], ...] = ()
    absent: str = ""
    is_list: bool = False

    @property
    def is_long(self) -> bool:
        """Whether it would push what follows off the screen."""
        return sum(len(part.text) for line in self.lines for part in line) > LONG


@dataclass(frozen=True, slots=True)
class Difference:
    """One changed field."""

    field: str
    before: Side
    after: Side


NOTHING = Side(absent="nothing")
REMOVED = Side(absent="removed")
NOT_RECORDED = Side(absent="not recorded")
REDACTED = Side(absent="redacted: it never left the application")


def differences(document: Mapping[str, Any]) -> list[Difference]:
    """Every change of an event, those whose values were withheld last."""
    names, withheld = names_of(document), withheld_changes(document)
    found = [_difference(change, names) for change in changes_of(document) if change.get("field") not in withheld]
    return [*found, *(Difference(name, REDACTED, REDACTED) for name in withheld)]


def _difference(change: Mapping[str, Any], names: Mapping[str, str]) -> Difference:
    name = value_text(change.get("field"))
    if "before" not in change and "after" not in change:
        return Difference(name, NOT_RECORDED, NOT_RECORDED)
    if "before" not in change:
        return Difference(name, NOTHING, _whole(change["after"], names))
    if "after" not in change:
        return Difference(name, _whole(change["before"], names), REMOVED)
    before, after = change["before"], change["after"]
    if isinstance(before, list) or isinstance(after, list):
        return Difference(name, _items(before, after, names), _items(after, before, names))
    return Difference(name, *_texts(_named(before, names), _named(after, names)))


def _whole(value: Any, names: Mapping[str, str]) -> Side:
    """All of it is new, or all of it is gone."""
    items = value if isinstance(value, list) and value else [value]
    return Side(tuple((Part(_named(item, names), marked=True),) for item in items), is_list=isinstance(value, list))


def _items(value: Any, other: Any, names: Mapping[str, str]) -> Side:
    """A list, an item a line; marked are those that the other side lacks."""
    if not isinstance(value, list):
        return _whole(value, names)
    there = {_key(item) for item in (other if isinstance(other, list) else [other])}
    lines = tuple((Part(_named(item, names), marked=_key(item) not in there),) for item in value)
    return Side(lines or ((Part("[]", marked=True),),), is_list=True)


def _key(item: Any) -> tuple[str, str]:
    """JSON tells true from 1, Python's sets do not."""
    return type(item).__name__, value_text(item)


def _texts(before: str, after: str) -> tuple[Side, Side]:
    """Two texts, marked what one has and the other lacks; or, if it is much, from the first such word to the last."""
    old, new = _TOKEN.findall(before), _TOKEN.findall(after)
    pairs = shared(old, new)
    if pairs is None:
        pairs = _ends(old, new)
    return _side(old, {there for there, _ in pairs}), _side(new, {there for _, there in pairs})


def _ends(old: list[str], new: list[str]) -> list[tuple[int, int]]:
    """What both begin with, and what both end with."""
    start = _common(old, new)
    room = min(len(old), len(new)) - start
    end = min(room, _common(old[::-1], new[::-1]))
    return [*((n, n) for n in range(start)), *((len(old) - n, len(new) - n) for n in range(end, 0, -1))]


def _common(one: list[str], other: list[str]) -> int:
    """How many tokens both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(one), len(other)))


def _side(tokens: list[str], kept: set[int]) -> Side:
    runs = groupby(range(len(tokens)), key=lambda place: place not in kept)
    return Side((tuple(Part("".join(tokens[place] for place in run), marked) for marked, run in runs),))


def _named(value: Any, names: Mapping[str, str]) -> str:
    """With the name of an id that is known, as the command line shows it."""
    text = value_text(value)
    return f"{text} ({names[value]})" if isinstance(value, str) and value in names else text
