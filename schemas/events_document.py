"""docs/events.md, made from the catalogue: each thing that people look for, and the one search that finds it."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from auditpipe.schemas.catalogue import Action, ArticleItem, Catalogue

_HEAD = """\
# Events, and how to find them

Generated from the catalogue by `make generate`; edits here are lost.

## What happened, and the one search that finds it

Each search finds its own events and not those of its twin: an assignment to a team and not a new name of that team,
a role that was granted and not one that was revoked. Every filter of `auditpipe search` can be added to it (`--since
7d`, `--actor`, `--target`, `--org`), and `tail` and `export` take the same ones. `auditpipe demo` performs all of them.
"""

_TWINS = """\
`_exists_:audit.changes.after` asks for a side of the change: what was added (a role, a member) has only an `after`,
what was taken away only a `before`. An event that did both at once is found by both searches.
A side belongs to the event, not to one of its fields: an event that renamed a team (`before` and `after`) and took a
member away at once is found by the search for an assignment too. The columns before and after tell them apart. None is
missed: a search that asks for no `before` would leave out an assignment in the same event as a new name.
A refused or failed attempt has the same action with the outcome `failure`, which is why `--outcome` stands here.
The name that was typed for an account that does not exist is kept as a keyed hash only: people type passwords there.
"""

_ACTIONS = """\
## Every action

`auditpipe actions` prints the same. A reason belongs to the outcome it stands behind. Applications add their own
actions, from Python or from a file of the form of `schemas/catalogue.json`: `AuditLog(actions="actions.json")`.
"""


@dataclass(frozen=True, slots=True)
class Search:
    """The search for one item."""

    item: ArticleItem
    action: Action

    @property
    def arguments(self) -> tuple[str, ...]:
        """Of `auditpipe search`."""
        filters = (
            ("--action", self.action.action),
            ("--outcome", self._outcome),
            ("--reason", self.item.reason),
            ("--changed", self.item.changed),
            ("-q", self.item.query),
        )
        return tuple(part for flag, value in filters if value is not None for part in (flag, value))

    @property
    def command(self) -> str:
        """As typed into a shell."""
        return shlex.join(["auditpipe", "search", *self.arguments])

    @property
    def lucene(self) -> str:
        """The same as a query string (Lucene), for OpenSearch Dashboards."""
        fields = (
            ("event.action", self.action.action),
            ("event.outcome", self._outcome),
            ("event.reason", self.item.reason),
            ("audit.changed", self.item.changed),
        )
        clauses = [f"{name}:{value}" for name, value in fields if value is not None]
        return " AND ".join([*clauses, *([self.item.query] if self.item.query else [])])

    @property
    def _outcome(self) -> str | None:
        """Only where it says something: one outcome needs no filter, and a reason implies its outcome."""
        if self.item.reason is not None or len(self.action.outcomes) == 1:
            return None
        return "success"


def searches(catalogue: Catalogue) -> Iterator[Search]:
    """One for each item, in the catalogue's order."""
    for action in catalogue.values():
        for item in action.article:
            yield Search(item, action)


def markdown(catalogue: Catalogue) -> str:
    """The content of docs/events.md."""
    found = [
        ("What happened", "Told apart by", "Search"),
        *((s.item.item, s.item.told_apart_by, _code(s.command)) for s in searches(catalogue)),
    ]
    actions = [
        ("Action", "Done to", "Outcomes and reasons", "Says what changed", "ECS category: type"),
        *(_action(action) for action in catalogue.values()),
    ]
    return "\n".join([_HEAD, *_table(found), "", _TWINS, _ACTIONS, *_table(actions), ""])


def _action(action: Action) -> tuple[str, ...]:
    outcomes = (
        ": ".join([outcome, *filter(None, [", ".join(reasons)])]) for outcome, reasons in action.outcomes.items()
    )
    kind = f"{', '.join(action.category)}: {', '.join(action.type)}"
    changes = "yes" if action.changes else "no"
    return _code(action.action), action.target_type or "", "; ".join(outcomes), changes, kind


def _table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    for number, row in enumerate(rows):
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
        if number == 0:
            yield "|---" * len(row) + "|"


def _code(text: str) -> str:
    return f"`{text}`"
