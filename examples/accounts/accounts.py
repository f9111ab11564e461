"""What the application does. Each method does one thing and emits its event, also when it refuses.

The event comes before the change: what can't be put on record is not done. (With a database: emit inside the
transaction, before its commit, so that an error of the one undoes the other.) Who does it, and from where, is in the
audit log's context, which the web side fills.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from auditpipe.emitters import AuditLog
from auditpipe.examples.accounts import exports
from auditpipe.examples.accounts.model import PERMISSIONS, Refused, Role, Team, Thing, User
from auditpipe.examples.accounts.passwords import hashed, matches
from auditpipe.examples.accounts.store import Store

_PROFILE = ("first_name", "last_name", "email")
_NOBODY = hashed("")  # what the password for an account that does not exist is compared with, to take as long

AnyThing = TypeVar("AnyThing", User, Team, Role)


class Accounts:
    """Users, teams, roles and exports. `Refused` where the answer is no. For one thread, as an event loop is."""

    def __init__(self, audit: AuditLog, store: Store) -> None:
        self.audit = audit
        self.store = store

    # Signing in.

    def sign_in(self, name: str, password: str, session: str) -> User:
        """The user, if name (or email) and password fit; `session` is the id of the session to begin."""
        user = self.store.user_named(name)
        fits = matches(password, user.password if user else _NOBODY)
        if user is None:
            # What was typed as a name may be a password: the emitter keeps its keyed hash only.
            self.audit.emit("user.login_failed", reason="unknown_account", actor={"name": name})
        elif not fits or not user.active:
            reason = "account_inactive" if fits else "bad_credentials"
            self.audit.emit("user.login_failed", reason=reason, actor=user.actor, target=user.reference)
        else:
            self.audit.emit("user.login_succeeded", actor=user.actor, target=user.reference, session=session)
            return user
        raise Refused("bad_credentials", "Wrong name or password")  # one answer: it tells nobody which names exist

    def sign_out(self, user: User) -> None:
        self.audit.emit("user.logged_out", target=user.reference)

    def recover_password(self, email: str) -> None:
        """Would send a mail; answers the same whether or not there is an account."""
        user = next((user for user in self.store.users.values() if user.email == email), None)
        if user is None:
            self.audit.emit("user.password_recovery_failed", reason="unknown_account", actor={"name": email})
        else:
            self.audit.emit("user.password_recovery_requested", target=user.reference)

    # Users.

    def create_user(self, by: User, given: Mapping[str, Any]) -> User:
        with self._attempt("user.user.created", by, "users.manage"):
            name, email = _text(given, "name"), _text(given, "email")
            if self.store.user_named(name) or self.store.user_named(email):
                raise Refused("conflict", "There is a user of that name or email")
            user = User(
                id=self.store.new_id("u"),
                name=name,
                first_name=_text(given, "first_name"),
                last_name=_text(given, "last_name"),
                email=email,
                password=hashed(_text(given, "password")),
                roles=self._ids(given.get("roles", []), self.store.roles),
            )
            self.audit.emit("user.user.created", target=user.reference, after=user.state)
        self.store.users[user.id] = user
        return user

    def update_user(self, by: User, user_id: str, given: Mapping[str, Any]) -> User:
        """Change the profile: first name, last name, email."""
        old = self.store.users.get(user_id)
        with self._attempt("user.user.updated", by, "users.manage", old):
            profile: dict[str, Any] = {field: _text(given, field) for field in _PROFILE if field in given}
            new = replace(_there(old), **profile)
            if any(user.email == new.email and user.id != new.id for user in self.store.users.values()):
                raise Refused("conflict", "There is a user of that email")
        return self._changed("user.user.updated", _there(old), new, self.store.users)

    def set_roles(self, by: User, user_id: str, roles: Any) -> User:
        old = self.store.users.get(user_id)
        with self._attempt("user.user.role_changed", by, "users.manage", old):
            new = replace(_there(old), roles=self._ids(roles, self.store.roles))
        touched = set(_there(old).roles) ^ set(new.roles)
        involved = [role.reference for role in self.store.roles.values() if role.id in touched]
        return self._changed("user.user.role_changed", _there(old), new, self.store.users, involved)

    def set_active(self, by: User, user_id: str, *, active: bool) -> User:
        action = "user.user.activated" if active else "user.user.deactivated"
        old = self.store.users.get(user_id)
        with self._attempt(action, by, "users.manage", old):
            new = replace(_there(old), active=active)
            if new.id == by.id and not active:
                raise Refused("conflict", "You can't deactivate yourself")
        return self._changed(action, _there(old), new, self.store.users)

    # Teams.

    def create_team(self, by: User, given: Mapping[str, Any]) -> Team:
        with self._attempt("user.team.created", by, "teams.manage"):
            team = Team(
                self.store.new_id("t"), _text(given, "name"), self._ids(given.get("members", []), self.store.users)
            )
            involved = [self.store.users[member].reference for member in team.members]
            self.audit.emit("user.team.created", target=team.reference, after=team.state, involved=involved)
        self.store.teams[team.id] = team
        return team

    def rename_team(self, by: User, team_id: str, name: Any) -> Team:
        old = self.store.teams.get(team_id)
        with self._attempt("user.team.updated", by, "teams.manage", old):
            new = replace(_there(old), name=_text({"name": name}, "name"))
        return self._changed("user.team.updated", _there(old), new, self.store.teams)

    def set_members(self, by: User, team_id: str, members: Any) -> Team:
        old = self.store.teams.get(team_id)
        with self._attempt("user.team.updated", by, "teams.manage", old):
            new = replace(_there(old), members=self._ids(members, self.store.users))
        touched = set(_there(old).members) ^ set(new.members)
        involved = [user.reference for user in self.store.users.values() if user.id in touched]
        return self._changed("user.team.updated", _there(old), new, self.store.teams, involved)

    def delete_team(self, by: User, team_id: str) -> None:
        team = self.store.teams.get(team_id)
        with self._attempt("user.team.deleted", by, "teams.manage", team):
            self.audit.emit("user.team.deleted", target=_there(team).reference, before=_there(team).state)
        del self.store.teams[team_id]

    # Roles.

    def create_role(self, by: User, given: Mapping[str, Any]) -> Role:
        with self._attempt("user.role.created", by, "roles.manage"):
            role = Role(_text(given, "id"), _text(given, "name"), _permissions(given.get("permissions", [])))
            if role.id in self.store.roles:
                raise Refused("conflict", f"There is a role {role.id}")
            self.audit.emit("user.role.created", target=role.reference, after=role.state)
        self.store.roles[role.id] = role
        return role

    def update_role(self, by: User, role_id: str, given: Mapping[str, Any]) -> Role:
        old = self.store.roles.get(role_id)
        with self._attempt("user.role.updated", by, "roles.manage", old):
            new = _there(old)
            if "name" in given:
                new = replace(new, name=_text(given, "name"))
            if "permissions" in given:
                new = replace(new, permissions=_permissions(given["permissions"]))
        return self._changed("user.role.updated", _there(old), new, self.store.roles)

    def delete_role(self, by: User, role_id: str) -> None:
        role = self.store.roles.get(role_id)
        with self._attempt("user.role.deleted", by, "roles.manage", role):
            if any(role_id in user.roles for user in self.store.users.values()):
                raise Refused("conflict", "Somebody has this role")
            self.audit.emit("user.role.deleted", target=_there(role).reference, before=_there(role).state)
        del self.store.roles[role_id]

    # Exports.

    def export(self, by: User, kind: str) -> list[dict[str, Any]]:
        if kind not in exports.KINDS:
            raise Refused("not_found", f"Nothing to export by that name; there are {', '.join(exports.KINDS)}")
        with self._attempt(f"user.{kind}.exported", by, "exports.make"):
            rows = exports.rows(kind, self.store)
            self.audit.emit(f"user.{kind}.exported", details={"format": "json", "rows": len(rows)})
        return rows

    # What they share.

    @contextmanager
    def _attempt(self, action: str, by: User, permission: str, thing: Thing | None = None) -> Iterator[None]:
        """Check the permission; whatever is refused within the block is an event of its own."""
        try:
            if not any(permission in self.store.roles[role].permissions for role in by.roles):
                raise Refused("not_allowed", f"You may not do this: it needs {permission}")
            yield
        except Refused as refusal:
            target = thing.reference if thing else None
            self.audit.emit(action, outcome="failure", reason=refusal.reason, target=target)
            raise

    def _changed(
        self,
        action: str,
        old: AnyThing,
        new: AnyThing,
        things: dict[str, AnyThing],
        involved: Iterable[Mapping[str, Any]] = (),
    ) -> AnyThing:
        """Record a change and make it. What changes nothing is no event."""
        if new != old:
            self.audit.emit(action, target=old.reference, before=old.state, after=new.state, involved=involved)
            things[new.id] = new
        return new

    @staticmethod
    def _ids(given: Any, known: Mapping[str, Thing]) -> tuple[str, ...]:
        if not isinstance(given, list) or not all(isinstance(item, str) and item in known for item in given):
            raise Refused("invalid_input", f"Expected a list of ids, each of {', '.join(known)}")
        return tuple(dict.fromkeys(given))


def _there(thing: AnyThing | None) -> AnyThing:
    if thing is None:
        raise Refused("not_found", "There is none of that id")
    return thing


def _text(given: Mapping[str, Any], field: str) -> str:
    value = given.get(field)
    if not isinstance(value, str) or not value.strip() or len(value) > 100 or not value.isprintable():
        raise Refused("invalid_input", f"{field}: expected 1 to 100 printable characters")
    return value.strip()


def _permissions(given: Any) -> tuple[str, ...]:
    if not isinstance(given, list) or not all(item in PERMISSIONS for item in given):
        raise Refused("invalid_input", f"Expected a list of permissions, each of {', '.join(PERMISSIONS)}")
    return tuple(dict.fromkeys(given))
