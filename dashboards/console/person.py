"""Whoever signs in, as the node sees them: their own name and password at the server's cluster."""

from collections.abc import Mapping
from typing import Any

from opensearchpy import OpenSearch

from auditpipe.dashboards.console.sessions import Session
from auditpipe.pipeline import roles
from auditpipe.pipeline.client import connect, edge, tool_id
from auditpipe.pipeline.purpose import is_required
from auditpipe.pipeline.reader import ask_all_shards
from auditpipe.schemas.errors import AuditpipeError, NotAllowed, SettingsError
from auditpipe.schemas.settings import Settings

#: What the console takes of its own settings: where the cluster is, and how to know that it is the one.
_OF_THE_CONSOLE = ("url", "ca_file")
#: The console answers for the whole page: a slow node is said to be one before the browser gives up.
READ_SECONDS = 30.0


def settings_for(console: Settings, name: str, password: str) -> Settings:
    """The settings of a person. No credential of the console is among them."""
    values: dict[str, str | None] = dict.fromkeys(console.values)
    values |= {key: console.get(key) for key in _OF_THE_CONSOLE}
    return Settings({**values, "username": name, "password": password}, "the sign-in page")


def client_for(settings: Settings, tool: str = "console", purpose: str | None = None) -> OpenSearch:
    """A client that says `auditpipe/VERSION console`, and the purpose, to the node's own record."""
    return connect(settings, opaque_id=tool_id(tool, purpose), read_seconds=READ_SECONDS)


def sign_in(console: Settings, name: str, password: str) -> Session:
    """A session of theirs. NotAllowed: wrong name or password, or no role that may read events. OutOfReach."""
    try:
        settings = settings_for(console, name, password)
        client = client_for(settings)
    except SettingsError as error:
        if ":" in name:  # no name of OpenSearch holds one
            raise NotAllowed("wrong name or password") from error
        raise
    try:
        with edge():
            told = client.transport.perform_request("GET", "/_plugins/_security/authinfo")
        ask_all_shards(client, {"size": 0})  # whether any role lets them read
    except AuditpipeError:
        client.close()
        raise
    is_super_admin = roles.SUPER_ADMIN in _roles(told)
    return Session(name, is_super_admin, settings, client, purpose_required=is_required(told))


def is_unknown(error: AuditpipeError) -> bool:
    """Whether the node took neither the name nor the password, as opposed to knowing them and refusing."""
    return getattr(error.__cause__, "status_code", None) == 401


def _roles(told: Mapping[str, Any]) -> list[str]:
    found = told.get("roles")
    return [str(role) for role in found] if isinstance(found, list) else []
