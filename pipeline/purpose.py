"""Whether an export has to say why: a Super Admin's word to all of auditpipe's own tools, kept on the node.

It is a role that allows nothing and that everyone has. The node tells each person their roles, so that every export
asks; no setting of a person's own machine takes it away. It does not hold for other programs: what they read is on the
node's record, without a purpose.
"""

from collections.abc import Mapping
from typing import Any

from opensearchpy import OpenSearch

from auditpipe.pipeline import access, principals, rest
from auditpipe.pipeline.plan import Request
from auditpipe.pipeline.principals import API
from auditpipe.pipeline.roles import MARK
from auditpipe.schemas.errors import Conflict, UsageError

ROLE = "audit_purpose_required"
_TEXT = f"{MARK}allows nothing; whoever has it has to say why they export"


def require(client: OpenSearch, *, required: bool) -> None:
    """Make a purpose compulsory, or optional again. NotAllowed for anyone but a Super Admin; Conflict, NotFinished."""
    access.put_on_record(client)
    found = access.read(client)
    role = found.roles.get(ROLE)
    if role is not None and not principals.is_ours(role):
        raise Conflict(f"a role {ROLE} that is not auditpipe's is there: nothing was changed")
    if required:
        rest.send(client, Request("PUT", f"{API}/roles/{ROLE}", {"description": _TEXT}))
        rest.send(client, Request("PUT", f"{API}/rolesmapping/{ROLE}", {"description": _TEXT, "users": ["*"]}))
        return
    for kind, there in (("rolesmapping", found.mappings), ("roles", found.roles)):
        if ROLE in there:
            rest.send(client, Request("DELETE", f"{API}/{kind}/{ROLE}"))


def is_required(told: Mapping[str, Any]) -> bool:
    """Whether it is for this person, by what the node says of them (`/_plugins/_security/authinfo`)."""
    return ROLE in (told.get("roles") or ())


def check(told: Mapping[str, Any], given: str | None) -> None:
    """UsageError for an export without a purpose, where it has to have one."""
    if not given and is_required(told):
        raise UsageError("a Super Admin wants every export to say why: give it a purpose (--purpose TEXT)")
