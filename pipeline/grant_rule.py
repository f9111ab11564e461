"""The document-level query (Security's DLS) of a grant that has an organization, an end or both.

An organization is a `term`. Security adds it to the query of a request and to nothing else: a `global` aggregation,
the background of `significant_terms` and a suggester see past it (docs/access-roles.md). No mode, no field-level
security or masking beside it and no form of the rule changes that, measured on 3.4.

So an end is no filter at all, but a rule that can't be evaluated any more from that second on: date math whose
intermediate result leaves the range of years that Java knows (-999999999 to 999999999). Before, it is now and a
hundred years, later than any event; from then on every request fails, whatever it asks for. It needs the node's
setting `plugins.security.unsupported.allow_now_in_dls`, without which it fails always: the safe side.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

#: 400 years are always as many days: this many of them shift a date and change nothing else about it.
_YEARS = 400 * 2_499_994
#: The first second that has no year after that shift, in seconds since 1970.
_NO_YEAR = int(datetime(1_000_000_000 - _YEARS, 1, 1, tzinfo=UTC).timestamp())
_MOST_SECONDS = 2_000_000_000  # date math takes 32 bits
_AHEAD = re.compile(r"\+(\d+)s", re.ASCII)

#: The node's words when an end has passed.
ENDED = "Invalid value for EpochDay"


def rule_of(organization: str | None, until: int | None) -> str:
    """The rule as the JSON text that a role holds; `until` in milliseconds since 1970, kept to the second."""
    return _rule([] if organization is None else [_of(organization)], until)


def records_rule_of(organization: str | None, until: int | None) -> str:
    """The same for the index of records: those about this organization, and that a month was removed."""
    if organization is None:
        return _rule([], until)
    removed = {"term": {"kind": {"value": "month_removed"}}}
    return _rule([{"bool": {"should": [_of(organization), removed]}}], until)


def _of(organization: str) -> dict[str, Any]:
    return {"term": {"organization.id": {"value": organization}}}


def _rule(clauses: list[dict[str, Any]], until: int | None) -> str:
    if until is not None:
        clauses.append({"range": {"@timestamp": {"lte": _now_until(until // 1000)}}})
    # `$` escaped: Security would put the asker's own attributes in place of `${...}` in an organization's id.
    return json.dumps({"bool": {"filter": clauses}}).replace("$", "\\u0024")


def parse_rule(role: Mapping[str, Any]) -> tuple[str | None, int | None]:
    """Organization and end of a role; (None, None) of one that has another rule, or none."""
    organization, until = None, None
    try:
        for clause in json.loads(role["index_permissions"][0]["dls"])["bool"]["filter"]:
            if "term" in clause:
                organization = str(clause["term"]["organization.id"]["value"])
            else:
                steps = _AHEAD.findall(clause["range"]["@timestamp"]["lte"])
                until = (_NO_YEAR - sum(int(seconds) for seconds in steps)) * 1000
    except (KeyError, IndexError, TypeError, ValueError):
        return None, None  # compared with what it should be by the caller, and so told as altered
    return organization, until


def _now_until(second: int) -> str:
    """Date math that is now and a hundred years before that second, and an error from then on."""
    left, steps = _NO_YEAR - second, []
    while left > 0:
        steps.append(min(left, _MOST_SECONDS))
        left -= steps[-1]
    ahead, back = "".join(f"+{step}s" for step in steps), "".join(f"-{step}s" for step in steps)
    return f"now+{_YEARS}y{ahead}{back}-{_YEARS}y+100y"
