"""What there is: users, teams and roles. Each knows its state, as the audit log compares it, and its reference."""

from dataclasses import dataclass
from typing import Any

PERMISSIONS = ("users.manage", "teams.manage", "roles.manage", "exports.make")


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with an account. `password` is a hash."""

    id: str
    name: str
    first_name: str
    last_name: str
    email: str
    password: str
    roles: tuple[str, ...] = ()
    active: bool = True

    @property
    def full_name(self) -> str:
        return f"{self.first_name} {self.last_name}"

    @property
    def reference(self) -> dict[str, Any]:
        return {"type": "user", "id": self.id, "name": self.full_name}

    @property
    def actor(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "full_name": self.full_name,
            "email": self.email,
            "roles": list(self.roles),
        }

    @property
    def state(self) -> dict[str, Any]:
        # The emitter withholds the password, and says only that it changed.
        return {
            "name": self.name,
            "first_name": self.first_name,
            "last_name": self.last_name,
            "email": self.email,
            "password": self.password,
            "roles": list(self.roles),
            "active": self.active,
        }

    @property
    def public(self) -> dict[str, Any]:
        return {"id": self.id} | {key: value for key, value in self.state.items() if key != "password"}


@dataclass(frozen=True, slots=True)
class Team:
    """Users who work together; `members` are ids."""

    id: str
    name: str
    members: tuple[str, ...] = ()

    @property
    def reference(self) -> dict[str, Any]:
        return {"type": "team", "id": self.id, "name": self.name}

    @property
    def state(self) -> dict[str, Any]:
        return {"name": self.name, "members": list(self.members)}

    @property
    def public(self) -> dict[str, Any]:
        return {"id": self.id, **self.state}


@dataclass(frozen=True, slots=True)
class Role:
    """What its holders may do."""

    id: str
    name: str
    permissions: tuple[str, ...] = ()

    @property
    def reference(self) -> dict[str, Any]:
        return {"type": "role", "id": self.id, "name": self.name}

    @property
    def state(self) -> dict[str, Any]:
        return {"name": self.name, "permissions": list(self.permissions)}

    @property
    def public(self) -> dict[str, Any]:
        return {"id": self.id, **self.state}


Thing = User | Team | Role


class Refused(Exception):  # noqa: N818 - it is an answer
    """The application says no. `reason` is a reason of the catalogue."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason
