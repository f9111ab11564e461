"""Whether those who may look see what their grants say, and whether others may do something about events too."""

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from auditpipe.pipeline import access, cluster_settings, granted, principals, purpose, roles
from auditpipe.pipeline.doctor.check import Check, finding, ok, warn
from auditpipe.pipeline.principals import Principals
from auditpipe.schemas.identity import ALIAS, INDEX_PATTERN, INDEX_PREFIX

_NAME = "access"
_LIST = "`auditpipe access list` as a Super Admin shows it"


def examine(found: Principals) -> Iterator[Check]:
    """One line for each thing that is odd, or one that says that nothing is."""
    odd = [*_grants(found), *_writers(found), *_others(found)]
    yield from odd
    if not odd:
        people = {one.holder for one in granted.grants_of(found)}
        yield ok(_NAME, f"{len(people)} may look, each by auditpipe's own roles")


def _grants(found: Principals) -> Iterator[Check]:
    given = tuple(granted.grants_of(found))
    for user in sorted(granted.mixed(given, found.users)):
        sentence = f"{user} has a limited and an unlimited grant: the limit hides events from both"
        yield finding(_NAME, sentence, f"revoke the one that is not meant; {_LIST}")
    for one in given:
        if one.ended:
            sentence = f"a grant of {one.word} to {one.holder} has ended, and with it all that they had"
            yield warn(_NAME, sentence, f"`auditpipe access revoke {one.flag} --role {one.word}`")
        if one.note == granted.ALTERED:
            yield finding(_NAME, f"{one.role_name}, which {one.holder} has, was altered by other means", _LIST)
        if one.note == granted.BY_OTHER_MEANS:
            sentence = f"{one.role_name} is mapped to {one.holder} by other means than a grant"
            yield warn(_NAME, sentence, "unmap it, if that is not meant")


def _writers(found: Principals) -> Iterator[Check]:
    for user in sorted(access.writers(found)):
        others = sorted(set(roles_of(found, user)) - {roles.WRITER, purpose.ROLE})
        if others:
            sentence = f"{user} ships events and has {', '.join(others)} too: such a rule may stop it from storing any"
            yield finding(_NAME, sentence, f"take {user} out of these; readers are other accounts")


def _others(found: Principals) -> Iterator[Check]:
    """Roles that are not ours, reach the events and are somebody's. A mark in a description makes none ours."""
    for name in sorted(found.roles):
        if not is_foreign(found, name):
            continue
        if people := people_of(found, name):
            sentence = f"the role {name} has rights on {INDEX_PATTERN}, and {', '.join(people)} may use them"
            yield warn("other roles", sentence, "narrow its index patterns, or unmap it, if that is not meant")


def is_foreign(found: Principals, name: str) -> bool:
    """Whether a role is not ours and reaches the events."""
    role = found.roles.get(name, {})
    return name not in roles.BY_NAME and granted.given_by(name, role) is None and any(_on_events(role))


def rules_of(role: Mapping[str, Any]) -> Iterator[str]:
    """The rules (document-level security, JSON text) of a role on the events."""
    yield from filter(None, (permission.get("dls") for permission in _on_events(role)))


def _on_events(role: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for permission in role.get("index_permissions", []):
        if permission.get("allowed_actions") and any(map(_matches, permission.get("index_patterns", []))):
            yield permission


def _matches(pattern: str) -> bool:
    """Whether a pattern could mean the events. Says yes too often rather than too seldom."""
    if len(pattern) > 1 and pattern.startswith("/") and pattern.endswith("/"):
        try:
            return any(re.fullmatch(pattern[1:-1], name) for name in (ALIAS, f"{INDEX_PREFIX}2026.11"))
        except re.error:
            return True  # Java's syntax, or nobody's
    return pattern == ALIAS or cluster_settings.overlaps(pattern.replace("?", "*"))


def roles_of(found: Principals, user: str) -> Iterator[str]:
    """The roles of a person: by mappings of their name or of their backend roles, and by their own entry."""
    entry = found.users.get(user, {})
    backend = set(entry.get("backend_roles") or ())
    for name, mapping in found.mappings.items():
        named = any(fnmatchcase(user, member) for member in principals.members(mapping))
        if named or backend & set(mapping.get("backend_roles") or ()):
            yield name
    yield from granted.own_roles(entry)


def people_of(found: Principals, role: str) -> list[str]:
    """Who has a role, as its mapping and the internal users' own entries say."""
    mapping = found.mappings.get(role, {})
    backend = [f"backend role {name}" for name in principals.members(mapping, "backend_roles")]
    direct = [user for user, entry in found.users.items() if role in granted.own_roles(entry)]
    return [*principals.members(mapping), *backend, *granted.outside(mapping), *direct]
