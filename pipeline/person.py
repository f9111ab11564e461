"""What one person may see, from what Security holds: for whoever is asked about it."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from opensearchpy import OpenSearch

from auditpipe.pipeline import access, granted, roles
from auditpipe.pipeline.doctor.people import is_foreign, roles_of
from auditpipe.pipeline.granted import Grant
from auditpipe.pipeline.principals import Principals, check_user_name
from auditpipe.schemas.identity import INDEX_PATTERN, MILLISECOND, format_time


@dataclass(frozen=True, slots=True)
class Standing:
    """One person's access. `others`: roles of theirs that are not auditpipe's and reach audit events."""

    user: str
    known: bool
    grants: tuple[Grant, ...]
    others: tuple[str, ...]
    writes: bool

    @property
    def ended(self) -> bool:
        """Whether one grant has ended, which shuts them out of all of them until it is revoked."""
        return any(one.ended for one in self.grants)

    @property
    def may_look(self) -> bool:
        """Whether the node lets them read anything now."""
        return bool(self.grants or self.others) and not self.ended

    def as_dict(self) -> dict[str, Any]:
        """For `-o json`."""
        return {
            "user": self.user,
            "may_look": self.may_look,
            "internal_user": self.known,
            "grants": [one.as_dict() for one in self.grants],
            "other_roles": list(self.others),
            "ships_events": self.writes,
        }

    def sentences(self) -> Iterator[str]:
        """What it amounts to, the answer first."""
        yield f"{self.user} {'may' if self.may_look else 'may not'} look at audit events"
        for one in self.grants:
            yield f"  {_sentence(one)}"
        for name in self.others:
            yield f"  the role {name}, which is not auditpipe's, has rights on {INDEX_PATTERN}"
        if self.ended:
            yield f"  a grant has ended, and with it all: `auditpipe access revoke {self.user}`, then grant anew"
        if len({one.limited for one in self.grants}) > 1:
            yield "  a limited grant beside an unlimited one: the limit hides events from both"
        if self.writes:
            yield "  ships events: a reader's rule beside that may stop it from storing any"
        if not self.known:
            yield "  the internal user database does not know this name: backend roles of another sign-in come on top"


def standing(client: OpenSearch, user: str) -> Standing:
    """What this person may see. NotAllowed for anyone but a Super Admin; UsageError for what is no user's name."""
    check_user_name(user)
    return of(access.read(client), user)


def of(found: Principals, user: str) -> Standing:
    """The same, from what was read."""
    theirs = tuple(one for one in granted.grants_of(found) if user in granted.people_of(found.users, one))
    held = set(roles_of(found, user))
    others = tuple(sorted(name for name in held if is_foreign(found, name)))
    return Standing(user, user in found.users, theirs, others, roles.WRITER in held)


def _sentence(one: Grant) -> str:
    where = "every organization" if one.organization is None else f"organization {one.organization}"
    if one.until is None:
        end = "without an end"
    else:
        left = "ended" if one.until * MILLISECOND <= time.time_ns() else "until"
        end = f"{left} {format_time(one.until * MILLISECOND)}"
    notes = "; ".join(filter(None, (f"by the {one.holder}" if one.backend else "", one.note)))
    return f"{one.word}, {where}, {end}" + (f" ({notes})" if notes else "")
