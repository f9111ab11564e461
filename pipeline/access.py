"""Who may look: grants, made and taken back by a Super Admin through Security's REST API.

A grant is a role and a name in its mapping, so that the node itself decides at every request, whichever tool it comes
from. What the role is called follows from the grant (see `granted`), and what it allows follows from that again.

Both limits are one query in the role's document-level security (see `limits`). A person has at most one grant of a
role for an organization: a new one replaces it, because of two the wider would count. And nobody has a limited grant
beside an unlimited one: of these the limited would count, and the person would miss events without a word.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from opensearchpy import OpenSearch

from auditpipe.pipeline import principals, rest, roles
from auditpipe.pipeline.granted import WORDS, grants_of, limited_role, mixed, outside, own_roles, people_of
from auditpipe.pipeline.granted import Grant as Grant
from auditpipe.pipeline.plan import Request
from auditpipe.pipeline.principals import API, Principals
from auditpipe.pipeline.roles import Role
from auditpipe.schemas.errors import Conflict, NotAllowed, NotFinished, UsageError

#: What an organization's limit is worth, for whoever grants it. Each way is held by a test on a real node.
SEES_PAST = (
    "the organization's limit holds for searching, counting and reading. OpenSearch does not hold it for a `global`"
    " aggregation, a background of significant_terms or a suggester: who writes requests by hand (curl) can read other"
    " organizations' events with them. Give this to people who would be trusted with that; see docs/access-roles.md"
)


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
    replaced = [old for old in before if old.about == wanted.about]
    refuse_writer(found, wanted)
    refuse_mix(wanted, [old for old in before if old not in replaced], found.users)
    notes = (*_person(client, wanted, found, password), *_about_ends(wanted, before, found.users))
    if wanted.role_name not in roles.BY_NAME:
        _role(client, limited_role(wanted), found)
    current = found.mappings.get(wanted.role_name)
    if wanted.user not in principals.members(current, wanted.kind):
        rest.send(client, principals.add_members(wanted.role_name, [wanted.user], current, wanted.kind))
    for old in replaced:
        if old.role_name != wanted.role_name:
            _take(client, old)
    _read_back(client, lambda now: any(wanted.same(one) for one in now), f"{wanted.holder} does not have it")
    return notes


def revoke(
    client: OpenSearch,
    user: str,
    word: str | None = None,
    organization: str | None = None,
    *,
    backend: bool = False,
) -> tuple[Grant, ...]:
    """Take back a person's grants, or a backend role's: all, those of a role, those of an organization.

    Returns them; none is no error.

    NotAllowed for anyone but a Super Admin, and for the last Super Admin, after whom nobody could grant anything.
    """
    put_on_record(client)
    found = read(client)
    taken = tuple(
        old
        for old in grants_of(found)
        if (old.user, old.backend) == (user, backend)
        and word in (None, old.word)
        and organization in (None, old.organization)
    )
    refuse_last(grants_of(found), taken)
    for old in taken:
        _take(client, old)
    _read_back(client, lambda now: not any(old.same(one) for old in taken for one in now), f"{user} still has it")
    return taken


def grants(client: OpenSearch) -> tuple[Grant, ...]:
    """Everyone's access, by name. NotAllowed for anyone but a Super Admin."""
    held = read(client)
    found = tuple(grants_of(held))
    blind = mixed(found, held.users)
    noted = (replace(one, note=_joined(one, mix=one.holder in blind)) for one in found)
    return tuple(sorted(noted, key=lambda g: (g.holder, g.word, g.organization or "")))


def writers(found: Principals) -> set[str]:
    """Who ships events: the role's members, by its mapping and by their own entries."""
    direct = {user for user, entry in found.users.items() if roles.WRITER in own_roles(entry)}
    return {roles.WRITER_USER, *principals.members(found.mappings.get(roles.WRITER)), *direct}


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


def refuse_last(found: Iterable[Grant], taken: Iterable[Grant]) -> None:
    """NotAllowed if nobody would be left to grant anything."""
    super_admins = {one.holder for one in found if one.word == "super-admin"}
    leaving = {one.holder for one in taken if one.word == "super-admin"}
    if leaving and super_admins == leaving:
        raise NotAllowed(
            f"{', '.join(leaving)} is the last Super Admin: grant it to someone else first,"
            " or nobody can grant anything any more"
        )


def refuse_writer(found: Principals, wanted: Grant) -> None:
    """UsageError for an account that ships events: a reader's rule would hide from it what it has to compare."""
    ships = writers(found) & people_of(found.users, wanted)
    if wanted.backend and wanted.user in principals.members(found.mappings.get(roles.WRITER), wanted.kind):
        ships.add(wanted.holder)
    if ships:
        raise UsageError(
            f"{', '.join(sorted(ships))} ships events ({roles.WRITER}), and another role beside that one stops it:"
            " name another account"
        )


def refuse_mix(wanted: Grant, others: Iterable[Grant], users: Mapping[str, Any]) -> None:
    """UsageError for a limited grant beside an unlimited one: the limit would hold for both."""
    theirs = people_of(users, wanted)
    for old in others:
        if old.limited != wanted.limited and (both := theirs & people_of(users, old)):
            limit, free = (wanted, old) if wanted.limited else (old, wanted)
            raise UsageError(
                f"{min(both)} would have {free.word} without a limit and {limit.role_name} with one, and the limit"
                f" would hide events from both: `auditpipe access revoke {old.flag} --role {old.word}` first"
            )


def check(wanted: Grant) -> None:
    """UsageError for a grant that can't mean what it says."""
    principals.check_user_name(wanted.user)
    if wanted.organization == "":
        raise UsageError("--org: expected an organization's id, got an empty one")
    if wanted.word == "super-admin" and (wanted.organization is not None or wanted.until is not None):
        raise UsageError("a Super Admin grants access to every organization, without an end: use --role admin")
    if wanted.ended:
        raise UsageError(f"--until {wanted.end} has passed")


def _person(client: OpenSearch, wanted: Grant, found: Principals, password: str | None) -> tuple[str, ...]:
    """Make the internal user, where there is to be one; notes about who it is."""
    user = wanted.user
    if wanted.backend:
        return (f"whoever signs in with the {wanted.holder} has it: who that is, the way of signing in decides",)
    if user in found.users:
        return ("the user exists: the password is as it was",) if password is not None else ()
    if password is None:
        return (f"there is no internal user {user}: it takes effect if they sign in another way (SAML, LDAP, proxy)",)
    rest.send(client, principals.put_user(user, password, "made by a grant"))
    return ()


def _about_ends(wanted: Grant, before: Iterable[Grant], users: Mapping[str, Any]) -> Iterator[str]:
    """What the limits of a grant do not do, or do to others."""
    if wanted.organization is not None:
        yield SEES_PAST
    theirs = people_of(users, wanted)
    for old in before:
        both = theirs & people_of(users, old)
        if both and old.about != wanted.about and old.until != wanted.until:
            yield f"when one of their grants has ended, {min(both)} reads nothing until that one is revoked"
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
    left = [name for name in principals.members(mapping, old.kind) if name != old.user]
    beside = principals.members(mapping, "users" if old.backend else "backend_roles")
    if left or beside or [*outside(mapping)] or old.role_name in roles.BY_NAME:
        rest.send(client, principals.replace_members(old.role_name, left, old.kind))
        return
    # Nobody has it any more: a role made by a grant goes with the last one.
    rest.send(client, Request("DELETE", f"{API}/rolesmapping/{old.role_name}"))
    rest.send(client, Request("DELETE", f"{API}/roles/{old.role_name}"))


def _read_back(client: OpenSearch, holds: Callable[[tuple[Grant, ...]], bool], otherwise: str) -> None:
    if not holds(grants(client)):
        raise NotFinished(f"{otherwise}: somebody changed access at the same time; run it again")
