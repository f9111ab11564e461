"""Rules of roles (document-level security) that the node can't apply: whoever has such a role reads nothing by it.

The person is told that much and no more, or, of a rule that the node can't even read, finds nothing. Here is the cause.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

from auditpipe.pipeline import granted, rest
from auditpipe.pipeline.answers import reason_of
from auditpipe.pipeline.doctor.check import Check, finding
from auditpipe.pipeline.doctor.people import people_of, roles_of, rules_of
from auditpipe.pipeline.plan import Request
from auditpipe.pipeline.principals import Principals
from auditpipe.schemas.errors import AuditpipeError
from auditpipe.schemas.identity import INDEX_PATTERN

_ATTRIBUTE = re.compile(r"\$\{attr\.internal\.([^}]+)\}")
_LONGEST = 200


def examine(client: OpenSearch, found: Principals) -> Iterator[Check]:
    """A finding for each role that is somebody's and whose rule on the events can't be applied. Ours, as made, can."""
    for name, role in sorted(found.roles.items()):
        made = granted.given_by(name, role)
        people = people_of(found, name)
        if not people or (made is not None and made.note != granted.ALTERED):
            continue
        for rule in dict.fromkeys(rules_of(role)):
            if problem := _problem(client, found, name, rule):
                sentence = f"the rule of the role {name} can't be applied, and {', '.join(people)} read nothing by it"
                yield finding("access", f"{sentence}: {problem}", "put the rule right, or take the role away")


def _problem(client: OpenSearch, found: Principals, name: str, rule: str) -> str:
    if wanted := set(_ATTRIBUTE.findall(rule)):
        return _missing(found, name, wanted)
    try:
        asked = {"query": json.loads(rule)}
        answer = rest.send(client, Request("POST", f"/{INDEX_PATTERN}/_validate/query?explain=true", asked))
    except ValueError as error:
        return f"no JSON: {error}"
    except AuditpipeError as error:  # its words are for a reader; here it is the node's own that tell
        cause = error.__cause__
        return (reason_of(cause) if isinstance(cause, TransportError) else str(error))[:_LONGEST]
    return "" if answer["valid"] else _said(answer)


def _missing(found: Principals, name: str, wanted: set[str]) -> str:
    lacking = {
        user: wanted - set(entry.get("attributes") or ())
        for user, entry in found.users.items()
        if name in roles_of(found, user)
    }
    told = [f"{user} has no attribute {', '.join(sorted(names))}" for user, names in sorted(lacking.items()) if names]
    return "; ".join(told)


def _said(answer: dict[str, Any]) -> str:
    first = next((one for one in answer.get("explanations", ()) if not one.get("valid")), answer)
    return str(first.get("error", "it is not valid"))[:_LONGEST]
