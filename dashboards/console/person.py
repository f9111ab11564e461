"""Whoever signs in, as the node sees them: their own name and password, or token, at the server's cluster."""

from collections.abc import Mapping
from typing import Any

from opensearchpy import OpenSearch

from auditpipe.dashboards.console.sessions import Session
from auditpipe.pipeline import roles
from auditpipe.pipeline.client import Caller, connect, edge, tool_id
from auditpipe.pipeline.purpose import is_required
from auditpipe.pipeline.reader import ask_all_shards
from auditpipe.schemas.errors import AuditpipeError, NotAllowed
from auditpipe.schemas.settings import Settings

#: What the console takes of its own settings: where the cluster is, how to know it, and whose records count.
_OF_THE_CONSOLE = ("url", "ca_file", "admin_dn")
#: The console answers for the whole page: a slow node is said to be one before the browser gives up.
READ_SECONDS = 30.0

#: Whom Security takes those for who say nothing that it knows, where a cluster lets them in.
_ANONYMOUS = "opendistro_security_anonymous"


class NoRole(NotAllowed):
    """The node knows who this is, and no role lets them look."""

    def __init__(self, message: str, user: str) -> None:
        super().__init__(message)
        self.user = user


def settings_for(console: Settings) -> Settings:
    """The console's settings without any credential."""
    values: dict[str, str | None] = dict.fromkeys(console.values)
    return Settings({**values, **{key: console.get(key) for key in _OF_THE_CONSOLE}}, "the sign-in page")


def client_for(settings: Settings, caller: Caller, tool: str = "console", purpose: str | None = None) -> OpenSearch:
    """A client that says `auditpipe/VERSION console`, and the purpose, to the node's own record."""
    return connect(settings, opaque_id=tool_id(tool, purpose), read_seconds=READ_SECONDS, caller=caller)


def sign_in(console: Settings, caller: Caller, expected: str | None = None) -> Session:
    """A session of theirs. NotAllowed: the node does not take this name, password or token, or takes them for someone
    other than `expected`. NoRole, OutOfReach.
    """
    settings = settings_for(console)
    client = client_for(settings, caller)
    try:
        with edge():
            told = client.transport.perform_request("GET", "/_plugins/_security/authinfo")
        user = str(told.get("user_name"))
        if user == _ANONYMOUS or expected not in (None, user):
            raise NotAllowed(f"the node takes {caller.who} for {user}: it does not know this way to sign in")
        try:
            ask_all_shards(client, {"size": 0})  # whether any role lets them read
        except NotAllowed as error:
            raise NoRole(str(error), user) from error
    except AuditpipeError:
        client.close()
        raise
    is_super_admin = roles.SUPER_ADMIN in _roles(told)
    return Session(user, is_super_admin, settings, caller, client, purpose_required=is_required(told))


def is_unknown(error: AuditpipeError) -> bool:
    """Whether the node took neither the name nor the password, as opposed to knowing them and refusing."""
    return getattr(error.__cause__, "status_code", None) == 401


def _roles(told: Mapping[str, Any]) -> list[str]:
    found = told.get("roles")
    return [str(role) for role in found] if isinstance(found, list) else []
