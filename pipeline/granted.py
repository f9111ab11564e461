"""A grant, and how it is told from what Security holds: roles, their mappings, internal users' own entries.

    audit_admin                    everything, without an end: the role that provisioning made
    audit_admin__acme              the events of the organization `acme`
    audit_admin__acme__ada         the same, for `ada` alone, until a date
    audit_admin____ada             every organization, for `ada` alone, until a date
    audit_admin____backend_3Asoc   the same, for whoever signs in with the backend role `soc`

Whose it is stands in the role's mapping: the name of a user, or a backend role, which comes with a person from where
they sign in (a token, a proxy, SAML, LDAP).
"""

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from auditpipe.pipeline import grant_rule, principals, roles
from auditpipe.pipeline.principals import Principals
from auditpipe.pipeline.roles import IndexPermission, Role
from auditpipe.schemas.identity import MILLISECOND, format_time

#: What a person types for a role.
WORDS = {"admin": roles.ADMIN, "super-admin": roles.SUPER_ADMIN, "auditor": roles.AUDITOR}
_WORD_OF = {name: word for word, name in WORDS.items()}

_PLAIN = re.compile(r"[A-Za-z0-9.-]")
_PART = r"((?:[A-Za-z0-9.-]|_[0-9A-F]{2})*)"
LIMITED = re.compile(rf"({'|'.join(WORDS.values())})__{_PART}(?:__{_PART})?")
#: Before a backend role, where the name of a role says whose it is. No user's name holds a colon.
_BACKEND = "backend:"

#: The note about a grant whose role allows something else than its name says.
ALTERED = "its role was altered by other means"
#: The note about one that no tool of ours makes.
BY_OTHER_MEANS = "mapped by other means: end it there"


@dataclass(frozen=True, slots=True)
class Grant:
    """One person's access, or with `backend` that of all who sign in with the backend role `user`.

    `until` in milliseconds since 1970, exclusive, kept to the second; `note`: what is odd. One that was found knows the
    role that it is `stored_as`, whatever that should be called, and whether it is `direct`: in the internal user's own
    entry, not in the role's mapping.
    """

    user: str
    word: str
    organization: str | None = None
    until: int | None = None
    note: str = ""
    stored_as: str | None = None
    direct: bool = False
    backend: bool = False

    @property
    def holder(self) -> str:
        """Whose it is, in words."""
        return f"backend role {self.user}" if self.backend else self.user

    @property
    def flag(self) -> str:
        """Whose it is, as typed on a command line."""
        return f"--backend-role {self.user}" if self.backend else self.user

    @property
    def kind(self) -> str:
        """Where in a role's mapping it stands."""
        return "backend_roles" if self.backend else "users"

    @property
    def role_name(self) -> str:
        """The role in OpenSearch that it is made of."""
        if self.stored_as is not None:
            return self.stored_as
        name = WORDS[self.word]
        if self.until is not None:
            whose = _BACKEND + self.user if self.backend else self.user
            return f"{name}__{encode(self.organization or '')}__{encode(whose)}"
        return name if self.organization is None else f"{name}__{encode(self.organization)}"

    @property
    def about(self) -> tuple[str, str, str | None]:
        """What a person has at most one grant of."""
        return self.holder, self.word, self.organization

    @property
    def limited(self) -> bool:
        """Whether it shows only a part of the events, or only for a time."""
        return self.organization is not None or self.until is not None

    @property
    def ended(self) -> bool:
        """Whether its end has passed."""
        return self.until is not None and self.until * MILLISECOND <= time.time_ns()

    @property
    def end(self) -> str | None:
        """Its end, RFC 3339."""
        return None if self.until is None else format_time(self.until * MILLISECOND)

    def same(self, other: "Grant") -> bool:
        """Whether both give the same to the same, whatever their notes."""
        return (self.holder, self.role_name) == (other.holder, other.role_name)

    def as_dict(self) -> dict[str, Any]:
        """For `-o json`."""
        return {
            "user": None if self.backend else self.user,
            "backend_role": self.user if self.backend else None,
            "role": self.word,
            "organization": self.organization,
            "until": self.end,
            "note": self.note or None,
        }


def encode(text: str) -> str:
    """A part of a role's name: UTF-8 bytes other than letters, digits, `.` and `-` as `_XX`, so that `__` parts."""
    return "".join(chr(b) if _PLAIN.match(chr(b)) else f"_{b:02X}" for b in text.encode())


def decode(part: str) -> str:
    """The text of a part of a role's name."""
    raw = re.sub(r"_([0-9A-F]{2})", lambda match: chr(int(match[1], 16)), part)
    return raw.encode("latin-1").decode(errors="replace")


def limited_role(grant: Grant) -> Role:
    """The role of a grant that has an organization, an end or both."""
    base = roles.BY_NAME[WORDS[grant.word]]
    whose = "every organization" if grant.organization is None else f"organization {grant.organization}"
    end = "" if grant.until is None else f", {grant.holder} until {grant.end}"
    events = base.indices[0]
    rule = IndexPermission(events.patterns, events.actions, dls=grant_rule.rule_of(grant.organization, grant.until))
    records_rule = grant_rule.records_rule_of(grant.organization, grant.until)
    records = IndexPermission(roles.READ_RECORDS.patterns, roles.READ_RECORDS.actions, dls=records_rule)
    title = f"{base.title} of {whose}{end}"
    return Role(grant.role_name, base.title, title, (rule, records), base.cluster, reserved=False, tenant=base.tenant)


def grants_of(found: Principals) -> Iterator[Grant]:
    """The grants that roles, mappings and the users' own entries amount to."""
    given = {name: given_by(name, role) for name, role in found.roles.items()}
    for name, mapping in found.mappings.items():
        if (made := given.get(name)) is not None:
            for user in principals.members(mapping):
                yield _noted(replace(made, user=user), name)
            for backend_role in principals.members(mapping, "backend_roles"):
                yield _noted(replace(made, user=backend_role, backend=True), name)
            for other in outside(mapping):
                yield replace(made, user=other, note=made.note or BY_OTHER_MEANS)
    for user, entry in found.users.items():
        for name in own_roles(entry):
            if (made := given.get(name)) is not None:
                yield replace(made, user=user, direct=True, note=made.note or "in the user's own entry")


def own_roles(entry: Mapping[str, Any]) -> list[str]:
    """The roles in an internal user's own entry."""
    return list(entry.get("opendistro_security_roles", []))


def people_of(users: Mapping[str, Any], one: Grant) -> set[str]:
    """Whoever has this grant, as far as the internal users tell; of a backend role itself too."""
    known = (name for name, entry in users.items() if one.user in entry.get("backend_roles", []))
    return {one.holder, *known} if one.backend else {one.holder}


def mixed(found: Iterable[Grant], users: Mapping[str, Any]) -> set[str]:
    """Who has a limited grant beside an unlimited one. The node applies the limit to all that they read."""
    limited: set[str] = set()
    free: set[str] = set()
    for one in found:
        (limited if one.limited else free).update(people_of(users, one))
    return limited & free


def outside(mapping: Mapping[str, Any]) -> Iterator[str]:
    """Whoever a mapping lets in beside users and backend roles; our tools make no such thing."""
    yield from (f"backend roles {' and '.join(names)}" for names in mapping.get("and_backend_roles", []))
    yield from (f"host {name}" for name in mapping.get("hosts", []))


def given_by(name: str, role: Mapping[str, Any]) -> Grant | None:
    """What a role of ours gives, to nobody yet; None for any other role."""
    if name in _WORD_OF:
        return Grant("", _WORD_OF[name], stored_as=name)
    match = LIMITED.fullmatch(name)
    if match is None or not principals.is_ours(role):
        return None
    word = _WORD_OF[match[1]]
    organization, until = grant_rule.parse_rule(role)
    whose = decode(match[3] or "")
    backend = whose.startswith(_BACKEND)
    expected = limited_role(Grant(whose.removeprefix(_BACKEND), word, organization, until, backend=backend))
    if principals.same_role(expected.body(), role):
        return Grant("", word, organization, until, stored_as=name)
    return Grant("", word, decode(match[2]) or None, until, ALTERED, name)


def _noted(found: Grant, name: str) -> Grant:
    """With a note if the role's name says another person: somebody was put into a role that is not theirs."""
    if found.note or replace(found, stored_as=None).role_name == name:
        return found
    return replace(found, note="in a role of another name")
