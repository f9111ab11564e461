"""The state, in memory: an example keeps nothing."""

from dataclasses import dataclass, field

from auditpipe.examples.accounts.model import PERMISSIONS, Role, Team, User
from auditpipe.examples.accounts.passwords import hashed


@dataclass(slots=True)
class Store:
    """Users, teams and roles by id."""

    users: dict[str, User] = field(default_factory=dict)
    teams: dict[str, Team] = field(default_factory=dict)
    roles: dict[str, Role] = field(default_factory=dict)
    _last: int = 0

    def new_id(self, prefix: str) -> str:
        """`u7`: never one that was used before."""
        self._last += 1
        return f"{prefix}{self._last}"

    def user_named(self, name: str) -> User | None:
        """The user who signs in by that name or email."""
        return next((user for user in self.users.values() if name in (user.name, user.email)), None)


def sample(password: str) -> Store:
    """The state that the example starts with; `password` is everybody's."""
    store, secret = Store(), hashed(password)
    admin = Role("admin", "Administrators", PERMISSIONS)
    agent = Role("agent", "Agents")
    ada = User(store.new_id("u"), "ada", "Ada", "Adams", "ada@example.com", secret, (admin.id,))
    tess = User(store.new_id("u"), "tess", "Tess", "Doe", "tess@example.com", secret, (agent.id,))
    support = Team(store.new_id("t"), "Support", (ada.id,))
    store.roles = {role.id: role for role in (admin, agent)}
    store.users = {user.id: user for user in (ada, tess)}
    store.teams = {support.id: support}
    return store
