"""Who may look: grants, made and taken back by a Super Admin through Security's REST API.

A grant is a role and the person's name in its mapping, so that the node itself decides at every request, whichever
tool it comes from. What the role is called follows from the grant, and what it allows follows from that again:

    audit_admin                    everything, without an end: the role that provisioning made
    audit_admin__acme              the events of the organization `acme`
    audit_admin__acme__ada         the same, for `ada` alone, until a date
    audit_admin____ada             every organization, for `ada` alone, until a date

Both limits are one query in the role's document-level security (see `limits`). A person has at most one grant of a
role for an organization: a new one replaces it, because of two the wider would count. And nobody has a limited grant
beside an unlimited one: of these the limited would count, and the person would miss events without a word.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from opensearchpy import OpenSearch

from auditpipe.pipeline import limits, principals, rest, roles
from auditpipe.pipeline.plan import Request
from auditpipe.pipeline.principals import API, Principals
from auditpipe.pipeline.roles import IndexPermission, Role
from auditpipe.schemas.errors import Conflict, NotAllowed, NotFinished, UsageError
from auditpipe.schemas.identity import MILLISECOND, format_time

#: What a person types for a role.
WORDS = {"admin": roles.ADMIN, "super-admin": roles.SUPER_ADMIN, "auditor": roles.AUDITOR}
_WORD_OF = {name: word for word, name in WORDS.items()}

_PLAIN = re.compile(r"[A-Za-z0-9.-]")
_PART = r"((?:[A-Za-z0-9.-]|_[0-9A-F]{2})*)"
_LIMITED = re.compile(rf"({'|'.join(WORDS.values())})__{_PART}(?:__{_PART})?")

#: The note about a grant whose role allows something else than its name says.
ALTERED = "its role was altered by other means"

#: What an organization's limit is worth, for whoever grants it. Each way is held by a test on a real node.
SEES_PAST = (
    "the organization's limit holds for searching, counting and reading. OpenSearch does not hold it for a `global`"
    " aggregation, a background of significant_terms or a suggester: who writes requests by hand (curl) can read other"
    " organizations' events with them. Give this to people who would be trusted with that; see docs/access-roles.md"
)


@dataclass(frozen=True, slots=True)
class Grant:
    """One person's access. `until` in milliseconds since 1970, exclusive, kept to the second; `note`: what is odd.

    One that was found knows the role that it is `stored_as`, whatever that should be called, and whether it is
    `direct`: in the internal user's own entry, not in the role's mapping.
    """

    user: str
    word: str
    organization: str | None = None
    until: int | None = None
    note: str = ""
    stored_as: str | None = None
    direct: bool = False

    @property
    def role_name(self) -> str:
        """The role in OpenSearch that it is made of."""
        if self.stored_as is not None:
            return self.stored_as
        name = WORDS[self.word]
        if self.until is not None:
            return f"{name}__{encode(self.organization or '')}__{encode(self.user)}"
        return name if self.organization is None else f"{name}__{encode(self.organization)}"

    @property
    def about(self) -> tuple[str, str, str | None]:
        """What a person has at most one grant of."""
        return self.user, self.word, self.organization

    @property
    def limited(self) -> bool:
        """Whether it shows only a part of the events, or only for a time."""
        return self.organization is not None or self.until is not None

    @property
    def ended(self) -> bool:
        """Whether its end has passed."""
        return self.until is not None and self.until * MILLISECOND <= time.time_ns()

    def same(self, other: "Grant") -> bool:
        """Whether both give one person the same, whatever their notes."""
        return (self.user, self.role_name) == (other.user, other.role_name)

    def as_dict(self) -> dict[str, Any]:
        """For `-o json`."""
        return {
            "user": self.user,
            "role": self.word,
            "organization": self.organization,
            "until": None if self.until is None else format_time(self.until * MILLISECOND),
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
    end = "" if grant.until is None else f", {grant.user} until {format_time(grant.until * MILLISECOND)}"
    events = base.indices[0]
    rule = IndexPermission(events.patterns, events.actions, dls=limits.rule_of(grant.organization, grant.until))
    records_rule = limits.records_rule_of(grant.organization, grant.until)
    records = IndexPermission(roles.READ_RECORDS.patterns, roles.READ_RECORDS.actions, dls=records_rule)
    title = f"{base.title} of {whose}{end}"
    return Role(grant.role_name, base.title, title, (rule, records), base.cluster, reserved=False, tenant=base.tenant)


def grant(client: OpenSearch, wanted: Grant, *, password: str | None = None) -> tuple[str, ...]:
    """Give a person access, instead of what they had of that role and organization. Returns notes for the asker.

    `password` makes the internal user, where there is none of that name. NotAllowed for anyone but a Super Admin;
    UsageError for who ships events, and for a limited grant beside an unlimited one; Conflict if a role of that name is
    not auditpipe's; NotFinished where provisioning is missing.
    """
    check(wanted)
    put_on_record(client)
    found = read(client)
    before = tuple(grants_of(found))
    replaced = [old for old in before if (old.user, old.word, old.organization) == wanted.about]
    refuse_writer(found, wanted.user)
    refuse_mix(wanted, [old for old in before if old not in replaced])
    notes = (*_user(client, wanted.user, found, password), *_about_ends(wanted, before))
    if wanted.role_name not in roles.BY_NAME:
        _role(client, limited_role(wanted), found)
    current = found.mappings.get(wanted.role_name)
    if wanted.user not in principals.members(current):
        rest.send(client, principals.add_users(wanted.role_name, [wanted.user], current))
    for old in replaced:
        if old.role_name != wanted.role_name:
            _take(client, old)
    _read_back(client, lambda now: any(wanted.same(one) for one in now), f"{wanted.user} does not have it")
    return notes


def revoke(
    client: OpenSearch, user: str, word: str | None = None, organization: str | None = None
) -> tuple[Grant, ...]:
    """Take back a person's grants: all, those of a role, those of an organization. Returns them; none is no error.

    NotAllowed for anyone but a Super Admin, and for the last Super Admin, after whom nobody could grant anything.
    """
    put_on_record(client)
    found = read(client)
    taken = tuple(
        old
        for old in grants_of(found)
        if old.user == user and word in (None, old.word) and organization in (None, old.organization)
    )
    refuse_last(grants_of(found), taken)
    for old in taken:
        _take(client, old)
    _read_back(client, lambda now: not any(old.same(one) for old in taken for one in now), f"{user} still has it")
    return taken


def grants(client: OpenSearch) -> tuple[Grant, ...]:
    """Everyone's access, by name. NotAllowed for anyone but a Super Admin."""
    found = tuple(grants_of(read(client)))
    blind = mixed(found)
    noted = (replace(one, note=_joined(one, mix=one.user in blind)) for one in found)
    return tuple(sorted(noted, key=lambda g: (g.user, g.word, g.organization or "")))


def mixed(found: Iterable[Grant]) -> set[str]:
    """Who has a limited grant beside an unlimited one. The node applies the limit to all that they read."""
    listed = tuple(found)
    return {one.user for one in listed if one.limited} & {one.user for one in listed if not one.limited}


def writers(found: Principals) -> set[str]:
    """Who ships events: the role's members, by its mapping and by their own entries."""
    direct = {user for user, entry in found.users.items() if roles.WRITER in own_roles(entry)}
    return {roles.WRITER_USER, *principals.members(found.mappings.get(roles.WRITER)), *direct}


def own_roles(entry: Mapping[str, Any]) -> list[str]:
    """The roles in an internal user's own entry."""
    return list(entry.get("opendistro_security_roles", []))


def put_on_record(client: OpenSearch) -> None:
    """Ask for the version: the node's audit log keeps each such request with the client's X-Opaque-Id.

    Of a request to Security's own API it keeps who and when, but no header, and so no reason.
    """
    rest.get(client, "/")


def read(client: OpenSearch) -> Principals:
    """What Security holds; and that provisioning was here."""
    try:
        found = principals.read(client)
    except NotAllowed as error:
        raise NotAllowed("who may look is for a Super Admin alone to see and to say: sign in as one") from error
    missing = [name for name in WORDS.values() if not principals.is_ours(found.roles.get(name, {}))]
    if missing:
        raise NotFinished(f"the roles {', '.join(missing)} are not there: run `auditpipe provision` first")
    return found


def grants_of(found: Principals) -> Iterator[Grant]:
    """The grants that roles, mappings and the users' own entries amount to."""
    given = {name: given_by(name, role) for name, role in found.roles.items()}
    for name, mapping in found.mappings.items():
        if (made := given.get(name)) is not None:
            for user in principals.members(mapping):
                yield _noted(replace(made, user=user), name)
            for other in outside(mapping):
                yield replace(made, user=other, note="mapped by other means: end it there")
    for user, entry in found.users.items():
        for name in own_roles(entry):
            if (made := given.get(name)) is not None:
                yield replace(made, user=user, direct=True, note=made.note or "in the user's own entry")


def refuse_last(found: Iterable[Grant], taken: Iterable[Grant]) -> None:
    """NotAllowed if nobody would be left to grant anything."""
    super_admins = {one.user for one in found if one.word == "super-admin"}
    leaving = {one.user for one in taken if one.word == "super-admin"}
    if leaving and super_admins == leaving:
        raise NotAllowed(
            f"{', '.join(leaving)} is the last Super Admin: grant it to someone else first,"
            " or nobody can grant anything any more"
        )


def refuse_writer(found: Principals, user: str) -> None:
    """UsageError for an account that ships events: a reader's rule would hide from it what it has to compare."""
    if user in writers(found):
        raise UsageError(
            f"{user} ships events ({roles.WRITER}), and another role beside that one stops it: name another account"
        )


def refuse_mix(wanted: Grant, others: Iterable[Grant]) -> None:
    """UsageError for a limited grant beside an unlimited one: the limit would hold for both."""
    for old in others:
        if old.user == wanted.user and old.limited != wanted.limited:
            limit, free = (wanted, old) if wanted.limited else (old, wanted)
            raise UsageError(
                f"{wanted.user} would have {free.word} without a limit and {limit.role_name} with one, and the limit"
                f" would hide events from both: `auditpipe access revoke {wanted.user} --role {old.word}` first"
            )


def check(wanted: Grant) -> None:
    """UsageError for a grant that can't mean what it says."""
    principals.check_user_name(wanted.user)
    if wanted.organization == "":
        raise UsageError("--org: expected an organization's id, got an empty one")
    if wanted.word == "super-admin" and (wanted.organization is not None or wanted.until is not None):
        raise UsageError("a Super Admin grants access to every organization, without an end: use --role admin")
    if wanted.until is not None and wanted.until * MILLISECOND <= time.time_ns():
        raise UsageError(f"--until {format_time(wanted.until * MILLISECOND)} has passed")


def _user(client: OpenSearch, user: str, found: Principals, password: str | None) -> tuple[str, ...]:
    if user in found.users:
        return ("the user exists: the password is as it was",) if password is not None else ()
    if password is None:
        return (f"there is no internal user {user}: it takes effect if they sign in another way (SAML, LDAP, proxy)",)
    rest.send(client, principals.put_user(user, password, "made by a grant"))
    return ()


def _about_ends(wanted: Grant, before: Iterable[Grant]) -> Iterator[str]:
    """What the limits of a grant do not do, or do to others."""
    if wanted.organization is not None:
        yield SEES_PAST
    for old in before:
        if old.user == wanted.user and old.about != wanted.about and old.until != wanted.until:
            yield f"when one of their grants has ended, {wanted.user} reads nothing until that one is revoked"
            return


def _joined(one: Grant, *, mix: bool) -> str:
    notes = (one.note, "ended: revoke it" if one.ended else "", "limited and unlimited: sees too little" if mix else "")
    return "; ".join(note for note in notes if note)


def _role(client: OpenSearch, role: Role, found: Principals) -> None:
    current = found.roles.get(role.name)
    if current is not None and not principals.is_ours(current):
        raise Conflict(f"a role {role.name} that is not auditpipe's is there: nothing was changed")
    if current is None or not principals.same_role(role.body(), current):
        rest.send(client, Request("PUT", f"{API}/roles/{role.name}", role.body()))


def _take(client: OpenSearch, old: Grant) -> None:
    # Read again, so that little time is left for another Super Admin's change in between.
    if old.direct:
        entry = (rest.get(client, principals.user_path(old.user)) or {}).get(old.user, {})
        kept = [name for name in own_roles(entry) if name != old.role_name]
        patch = [{"op": "replace", "path": "/opendistro_security_roles", "value": kept}]
        rest.send(client, Request("PATCH", principals.user_path(old.user), patch))
        return
    mapping = (rest.get(client, f"{API}/rolesmapping/{old.role_name}") or {}).get(old.role_name, {})
    left = [user for user in principals.members(mapping) if user != old.user]
    others = [*left, *outside(mapping)]
    if others or old.role_name in roles.BY_NAME:
        rest.send(client, principals.replace_users(old.role_name, left))
        return
    # Nobody has it any more: a role made by a grant goes with the last one.
    rest.send(client, Request("DELETE", f"{API}/rolesmapping/{old.role_name}"))
    rest.send(client, Request("DELETE", f"{API}/roles/{old.role_name}"))


def _read_back(client: OpenSearch, holds: Callable[[tuple[Grant, ...]], bool], otherwise: str) -> None:
    if not holds(grants(client)):
        raise NotFinished(f"{otherwise}: somebody changed access at the same time; run it again")


def _noted(found: Grant, name: str) -> Grant:
    """With a note if the role's name says another person: somebody was put into a role that is not theirs."""
    if found.note or replace(found, stored_as=None).role_name == name:
        return found
    return replace(found, note="in a role of another name")


def outside(mapping: Mapping[str, Any]) -> Iterator[str]:
    """Whoever a mapping lets in beside named users; our tools make no such thing."""
    yield from (f"backend role {name}" for name in mapping.get("backend_roles", []))
    yield from (f"backend roles {' and '.join(names)}" for names in mapping.get("and_backend_roles", []))
    yield from (f"host {name}" for name in mapping.get("hosts", []))


def given_by(name: str, role: Mapping[str, Any]) -> Grant | None:
    """What a role of ours gives, to nobody yet; None for any other role."""
    if name in _WORD_OF:
        return Grant("", _WORD_OF[name], stored_as=name)
    match = _LIMITED.fullmatch(name)
    if match is None or not principals.is_ours(role):
        return None
    word = _WORD_OF[match[1]]
    organization, until = limits.parse_rule(role)
    expected = limited_role(Grant(decode(match[3] or ""), word, organization, until))
    if principals.same_role(expected.body(), role):
        return Grant("", word, organization, until, stored_as=name)
    return Grant("", word, decode(match[2]) or None, until, ALTERED, name)
