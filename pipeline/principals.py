"""The people's side of provisioning: roles, who has them, and the two users that it may make."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from opensearchpy import OpenSearch

from auditpipe.pipeline import rest, roles
from auditpipe.pipeline.plan import Request, State, Step
from auditpipe.pipeline.roles import MARK, Role
from auditpipe.schemas.errors import Finding, NotAllowed, UsageError

API = "/_plugins/_security/api"

#: A client that signs in with this name and password, and with nothing else.
SignIn = Callable[[str, str], OpenSearch]


@dataclass(frozen=True, slots=True)
class Account:
    """A user to map to a role; with a password, also to make in the internal user database."""

    name: str
    role: str
    password: str | None = None


@dataclass(frozen=True, slots=True)
class Principals:
    """What Security holds: roles, role mappings, internal users."""

    roles: Mapping[str, Any]
    mappings: Mapping[str, Any]
    users: Mapping[str, Any]


def read(client: OpenSearch) -> Principals:
    """Read all three. NotAllowed without the admin certificate or a role that may; Finding without the plugin."""
    found = [rest.get(client, f"{API}/{kind}") for kind in ("roles", "rolesmapping", "internalusers")]
    if any(answer is None for answer in found):
        raise Finding(
            "this cluster has no OpenSearch Security plugin, or its REST API is off: without it anyone reads and"
            " removes every event (or the path in the URL is wrong)"
        )
    return Principals(*found)


def read_tenants(client: OpenSearch) -> Mapping[str, Any]:
    """The tenants of OpenSearch Dashboards. For the admin certificate: no Super Admin may see or make one."""
    return rest.get(client, f"{API}/tenants") or {}


def tenant_step(tenants: Mapping[str, Any]) -> Step:
    """The tenant whose objects our roles may see."""
    body = {"description": f"{MARK}saved objects of OpenSearch Dashboards, for those who may look", "reserved": True}
    put = (Request("PUT", f"{API}/tenants/{roles.TENANT}", body),)
    current = tenants.get(roles.TENANT)
    if current is None:
        return Step("tenant", roles.TENANT, State.CREATE, "of OpenSearch Dashboards, for those who may look", put)
    if not is_ours(current):
        return Step("tenant", roles.TENANT, State.CONFLICT, "a tenant of this name that is not auditpipe's")
    if current.get("description") != body["description"] or not current.get("reserved"):
        return Step("tenant", roles.TENANT, State.UPDATE, "differs in its description", put)
    return Step("tenant", roles.TENANT, State.OK, "of OpenSearch Dashboards, for those who may look")


def steps(found: Principals, accounts: tuple[Account, ...], sign_in: SignIn | None) -> list[Step]:
    """Roles before the mappings that name them, users before they are mapped."""
    return [
        *(_role(role, found) for role in roles.ROLES),
        *(_user(account, found, sign_in) for account in accounts if account.password is not None),
        *_mappings(found, accounts),
    ]


def user_path(name: str) -> str:
    """The REST path of an internal user."""
    return f"{API}/internalusers/{quote(name, safe='')}"


def put_user(name: str, password: str, description: str, *, reserved: bool = False) -> Request:
    """The request that makes or renews an internal user. `reserved`: for the admin certificate alone to alter."""
    body = {"password": password, "description": MARK + description}
    return Request("PUT", user_path(name), body | ({"reserved": True} if reserved else {}))


def random_password() -> str:
    """160 random bits, with one of each kind of character that a password rule may ask for."""
    return f"Aa1-{secrets.token_urlsafe(20)}"


def is_ours(found: Mapping[str, Any]) -> bool:
    """Whether a role, mapping or user carries our mark."""
    return str(found.get("description", "")).startswith(MARK)


def members(mapping: Mapping[str, Any] | None, kind: str = "users") -> list[str]:
    """The users of a role mapping, or its `backend_roles`."""
    return list((mapping or {}).get(kind, []))


def same_role(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Whether a role reads back as it was written: Security adds keys and leaves out empty ones."""
    return bool(_comparable(wanted) == _comparable(found))


def _role(role: Role, found: Principals) -> Step:
    current, put = found.roles.get(role.name), (Request("PUT", f"{API}/roles/{role.name}", role.body()),)
    if current is None:
        members_now = members(found.mappings.get(role.name))
        if members_now:
            # They would get the role's powers without anyone having granted them.
            sentence = f"no such role yet, but a mapping gives it to {', '.join(members_now)}: remove that first"
            return Step("role", role.name, State.CONFLICT, sentence)
        return Step("role", role.name, State.CREATE, role.description, put)
    if not is_ours(current):
        return Step("role", role.name, State.CONFLICT, "a role of this name that is not auditpipe's")
    if not same_role(role.body(), current):
        return Step("role", role.name, State.UPDATE, "differs from what it should allow", put)
    return Step("role", role.name, State.OK, role.description)


def _user(account: Account, found: Principals, sign_in: SignIn | None) -> Step:
    title = roles.BY_NAME[account.role].title
    password = account.password or ""
    put = (put_user(account.name, password, title, reserved=account.role == roles.WRITER),)
    current = found.users.get(account.name)
    if current is None:
        return Step("user", account.name, State.CREATE, f"internal user, {title}", put)
    if not is_ours(current):
        sentence = "an internal user of this name that auditpipe did not make: give no password file to map it as it is"
        return Step("user", account.name, State.CONFLICT, sentence)
    if sign_in is not None and not _signs_in(sign_in(account.name, password)):
        return Step("user", account.name, State.UPDATE, "another password than the file's", put)
    return Step("user", account.name, State.OK, f"internal user, {title}")


def _signs_in(client: OpenSearch) -> bool:
    try:
        return rest.get(client, "/_plugins/_security/authinfo") is not None
    except NotAllowed:
        return False


def _mappings(found: Principals, accounts: tuple[Account, ...]) -> Iterator[Step]:
    for name in dict.fromkeys(account.role for account in accounts):
        current = found.mappings.get(name)
        wanted = [account.name for account in accounts if account.role == name]
        missing = [user for user in wanted if user not in members(current)]
        if not missing:
            yield Step("role mapping", name, State.OK, f"{', '.join(wanted)} has it")
        else:
            state = State.CREATE if current is None else State.UPDATE
            yield Step(
                "role mapping", name, state, f"gives it to {', '.join(missing)}", (add_members(name, missing, current),)
            )


def add_members(role: str, names: list[str], current: Mapping[str, Any] | None, kind: str = "users") -> Request:
    """The request that adds users (or `backend_roles`) to a role's mapping and leaves what else is in it.

    Security adds each to the list as it is then, so that two who grant at once don't undo each other.
    """
    if current is None:
        # The writer's mapping is for the admin certificate alone: no Super Admin makes a writer, or stops the shipper.
        body = {"description": f"{MARK}who has {role}", kind: names}
        reserved = {"reserved": True} if role == roles.WRITER else {}
        return Request("PUT", f"{API}/rolesmapping/{role}", body | reserved)
    # Of an empty list Security says that there is none.
    patch: list[dict[str, Any]] = [{"op": "add", "path": f"/{kind}/-", "value": name} for name in names]
    if not members(current, kind):
        patch = [{"op": "add", "path": f"/{kind}", "value": names}]
    return Request("PATCH", f"{API}/rolesmapping/{role}", patch)


def replace_members(role: str, names: list[str], kind: str = "users") -> Request:
    """The request that gives a role to exactly these of a kind. (Of RFC 6902 Security knows no `test`.)"""
    return Request("PATCH", f"{API}/rolesmapping/{role}", [{"op": "replace", "path": f"/{kind}", "value": names}])


def check_user_name(name: str) -> None:
    """UsageError for a name that Security would read as more than one person, or a terminal as a command."""
    if not name or not name.isprintable() or ":" in name:
        raise UsageError(f"expected a user's name without colon and control characters, got {name!r}")
    if name != name.strip() or name in (".", ".."):
        raise UsageError(f"expected a user's name without spaces around it, and neither . nor .., got {name!r}")
    if "*" in name or "?" in name or (name.startswith("/") and name.endswith("/")):
        raise UsageError(f"{name!r} is a pattern to OpenSearch, and would mean more than one person")


def _comparable(role: Mapping[str, Any]) -> Any:
    permissions = [
        (
            sorted(p.get("index_patterns", [])),
            p.get("dls") or "",
            sorted(p.get("fls") or []),
            sorted(p.get("masked_fields") or []),
            sorted(p.get("allowed_actions", [])),
        )
        for p in role.get("index_permissions", [])
    ]
    return (
        role.get("description"),
        sorted(role.get("cluster_permissions", [])),
        sorted(permissions),
        role.get("tenant_permissions") or [],
        bool(role.get("reserved")),
    )
