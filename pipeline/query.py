"""Filters: which events are meant, checked, and as the clauses of an OpenSearch query.

The same filters serve every command. Each value is checked here, so that a mistake is answered with what was expected
and not with nothing found.
"""

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from ipaddress import ip_network
from typing import Any

from auditpipe.schemas.errors import BadFilter
from auditpipe.schemas.identity import DAY, LATEST_NS, SECOND, format_time, parse_time
from auditpipe.schemas.pseudonyms import PseudonymKeys, is_pseudonym

OUTCOMES = ("success", "failure", "unknown")  # ECS, event.outcome

#: Fields that a word of `-q` without a field name is looked up in.
LUCENE_FIELDS = (
    *("message", "event.id", "event.action", "user.id", "user.name", "user.email"),
    *("audit.target.id", "audit.target.name", "related.user", "audit.changed"),
)

#: Characters of `-q`. Provisioning limits the node to as many: a longer one could nest so deep that it ends the node.
MAX_LUCENE = 1000

#: Filters that keep or drop a stream as a whole (a stream is one process and one organization), so that its numbers
#: still have to be complete. A range of time cuts a stream but leaves no holes of its own.
_WHOLE_STREAMS = frozenset({"organization", "service", "since_ns", "until_ns"})

_UNITS = {"s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND, "d": DAY, "w": 7 * DAY}
_AGO = re.compile(r"(\d{1,6})([smhdw])", re.ASCII)
_ISO = re.compile(
    r"(\d{4}-\d\d)(-\d\d)?(?:[Tt ](\d\d:\d\d)(:\d\d(?:\.\d{1,9})?)?)?\s*([Zz]|[+-]\d\d(?::?\d\d)?)?", re.ASCII
)
_ACTION = re.compile(r"[a-z0-9_.*]+", re.ASCII)

Clause = dict[str, Any]

#: Filters whose values may have become pseudonyms. Of a target it is the id behind the colon.
_PERSONAL = ("actor", "user", "target", "ip", "session")


@dataclass(frozen=True, slots=True)
class Filters:
    """Which events are meant; all given ones must hold. Times are nanoseconds since 1970, half-open [since, until).

    With `keys`, people, targets, sessions and addresses are also looked for by their pseudonyms; with
    `pseudonyms_only` by these alone, and they are described by them.
    """

    actions: tuple[str, ...] = ()
    actor: str | None = None
    user: str | None = None
    target: str | None = None
    changed: str | None = None
    outcome: str | None = None
    reason: str | None = None
    ip: str | None = None
    organization: str | None = None
    service: str | None = None
    session: str | None = None
    request: str | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    lucene: str | None = None
    keys: PseudonymKeys | None = field(default=None, compare=False, repr=False)
    pseudonyms_only: bool = field(default=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("actor", "user", "changed", "reason", "organization", "service", "session", "request", "lucene"):
            value = getattr(self, name)
            if value is not None and not value.strip():
                raise BadFilter(f"--{_FLAGS[name]}: expected a value, got an empty one")
        for action in self.actions:
            if not _ACTION.fullmatch(action):
                raise BadFilter(
                    f"--action: expected lower case such as user.user.updated or user.team.*, got {action!r}"
                )
        if self.outcome is not None and self.outcome not in OUTCOMES:
            raise BadFilter(f"--outcome: expected one of {', '.join(OUTCOMES)}, got {self.outcome!r}")
        if self.target is not None and not all(self.target.split(":", 1)):
            raise BadFilter(f"--target: expected TYPE or TYPE:ID such as team or team:t4, got {self.target!r}")
        if self.lucene is not None and len(self.lucene) > MAX_LUCENE:
            raise BadFilter(f"-q: at most {MAX_LUCENE} characters, got {len(self.lucene)}")
        if self.ip is not None:
            _network(self.ip)
        if self.since_ns is not None and self.until_ns is not None and self.since_ns >= self.until_ns:
            since, until = format_time(self.since_ns), format_time(self.until_ns)
            raise BadFilter(f"--since ({since}) must be before --until ({until}): nothing could be found")

    def until_at_latest(self, now_ns: int) -> "Filters":
        """The same with an end, so that the range is closed: `now_ns` where none was given."""
        return self if self.until_ns is not None else replace(self, until_ns=now_ns)

    def without_times(self) -> "Filters":
        """The same for all times."""
        return replace(self, since_ns=None, until_ns=None)

    def in_pseudonyms(self) -> "Filters":
        """The same without values that have a pseudonym, for where others read it; without keys as it is."""
        return replace(self, pseudonyms_only=self.keys is not None)

    def plain_values(self) -> dict[str, str]:
        """The values that have pseudonyms and are none, by flag name. Neither ranges of addresses nor `-q` have any."""
        given = {name: self._parted(name)[1] for name in _PERSONAL} if self.keys is not None else {}
        return {name: value for name, value in given.items() if value and not is_pseudonym(value)}

    @property
    def keeps_streams_whole(self) -> bool:
        """Whether a number that is missing in a stream is missing in the data, not only in this view of it."""
        return all(name in _WHOLE_STREAMS or not getattr(self, name) for name in _FLAGS)

    def describe(self) -> dict[str, str | list[str]]:
        """The given filters by flag name, times absolute: for a manifest, a link or a sentence."""
        described: dict[str, str | list[str]] = {}
        for name, flag in _FLAGS.items():
            value = getattr(self, name)
            if value:
                described[flag] = self._told(name) or _described(value)
        return described

    def query(self, *more: Clause) -> Clause:
        """The query body. Filter context: nothing is scored, clauses are cached."""
        clauses = [*self.clauses(), *more]
        return {"bool": {"filter": clauses}} if clauses else {"match_all": {}}

    def clauses(self) -> list[Clause]:
        """One clause for each given filter."""
        kind, _, target_id = (self.target or "").partition(":")
        # A range has no pseudonyms: addresses that are near have hashes that are not.
        address = _network(self.ip) if self.ip else ""
        made = [
            _any(_action(action) for action in self.actions) if self.actions else None,
            _is_any(("user.id", "user.name", "user.full_name", "user.email"), self._known_as(self.actor)),
            _is_any(("related.user",), self._known_as(self.user)),
            _is_any(("audit.target.type",), kind or None),
            _is_any(("audit.target.id",), self._known_as(target_id or None)),
            _changed(self.changed) if self.changed else None,
            _is_any(("event.outcome",), self.outcome),
            _is_any(("event.reason",), self.reason),
            _is_any(("source.ip", "related.ip"), address if "/" in address else self._known_as(address or None)),
            _is_any(("organization.id",), self.organization),
            _is_any(("service.name",), self.service),
            _is_any(("audit.session.id",), self._known_as(self.session)),
            _is_any(("http.request.id", "trace.id"), self.request),
            _range(self.since_ns, self.until_ns),
            _lucene(self.lucene) if self.lucene else None,
        ]
        return [clause for clause in made if clause is not None]

    def _known_as(self, value: str | None) -> str | list[str] | None:
        """The value, and its pseudonyms, or these alone."""
        if value is None or self.keys is None:
            return value
        return list(self.keys.pseudonyms(value) if self.pseudonyms_only else self.keys.known_as(value))

    def _told(self, name: str) -> list[str]:
        """The pseudonyms to describe a filter by; none where it is described as it was given."""
        before, value = self._parted(name)
        if not value or self.keys is None or not self.pseudonyms_only:
            return []
        return [before + one for one in self.keys.pseudonyms(value)]

    def _parted(self, name: str) -> tuple[str, str]:
        """(what stands before it, the value that may have become a pseudonym)."""
        value = getattr(self, name) if name in _PERSONAL else None
        if name == "ip" and value:
            address = _network(value)
            return "", "" if "/" in address else address
        if name == "target":
            kind, colon, target_id = (value or "").partition(":")
            return kind + colon, target_id
        return "", value or ""


_FLAGS = {item.name: item.name for item in fields(Filters) if item.compare} | {
    **{"actions": "action", "organization": "org", "since_ns": "since", "until_ns": "until", "lucene": "query"}
}

#: The names by which `describe` calls filters that keep streams whole.
WHOLE_STREAM_FLAGS = frozenset(_FLAGS[name] for name in _WHOLE_STREAMS)


def moment(text: str, flag: str = "since", now_ns: int | None = None) -> int:
    """Nanoseconds since 1970 of `2026-01-31T23:59`, `2026-01-31`, `2026-01` or `24h` ago. BadFilter if none."""
    text = text.strip()
    now = time.time_ns() if now_ns is None else now_ns
    if ago := _AGO.fullmatch(text):
        return max(0, now - int(ago[1]) * _UNITS[ago[2]])
    match = _ISO.fullmatch(text)
    expected = "expected a time such as 2026-01-31T23:59:59Z (without a zone: UTC), a day, or how long ago: 24h, 7d"
    if match is None:
        raise BadFilter(f"--{flag}: {expected}; got {text!r}")
    month, day, minutes, seconds, zone = match.groups()
    try:
        ns = parse_time(f"{month}{day or '-01'}T{minutes or '00:00'}{seconds or ':00'}{_rfc3339_zone(zone)}")
    except ValueError as error:
        raise BadFilter(f"--{flag}: {expected}; got {text!r}: {error}") from error
    if not 0 <= ns <= LATEST_NS:
        raise BadFilter(f"--{flag}: events are of 1970 to 2106, got {text!r}")
    return ns


def _rfc3339_zone(zone: str | None) -> str:
    if zone is None or zone in "Zz":
        return "Z"
    digits = zone[1:].replace(":", "").ljust(4, "0")
    return f"{zone[0]}{digits[:2]}:{digits[2:]}"


def _described(value: Any) -> str | list[str]:
    if isinstance(value, tuple):
        return list(value)
    return format_time(value) if isinstance(value, int) else str(value)


def _network(text: str) -> str:
    try:
        network = ip_network(text.strip(), strict=False)
    except ValueError as error:
        raise BadFilter(
            f"--ip: expected an address or a range such as 192.0.2.0/24 or 2001:db8::/32: {error}"
        ) from error
    return str(network) if "/" in text else str(network.network_address)


def _any(clauses: Iterable[Clause]) -> Clause:
    listed = list(clauses)
    return listed[0] if len(listed) == 1 else {"bool": {"should": listed, "minimum_should_match": 1}}


def _is_any(names: tuple[str, ...], value: str | list[str] | None) -> Clause | None:
    kind = "terms" if isinstance(value, list) else "term"
    return None if value is None else _any({kind: {name: value}} for name in names)


def _action(action: str) -> Clause:
    kind = "wildcard" if "*" in action else "term"
    return {kind: {"event.action": {"value": action}}}


def _changed(field: str) -> Clause:
    """A field, or whatever lies below it: `address` finds `address.city`."""
    field = field.removesuffix(".*")
    return _any([{"term": {"audit.changed": field}}, {"prefix": {"audit.changed": field + "."}}])


def _range(since_ns: int | None, until_ns: int | None) -> Clause | None:
    bounds = {"gte": since_ns, "lt": until_ns}
    given = {name: format_time(ns) for name, ns in bounds.items() if ns is not None}
    return {"range": {"@timestamp": {**given, "format": "strict_date_optional_time_nanos"}}} if given else None


def _lucene(text: str) -> Clause:
    # All words must be there: who adds a word wants fewer events.
    return {"query_string": {"query": text, "fields": list(LUCENE_FIELDS), "default_operator": "AND", "lenient": False}}
