"""Whether the shipper can deliver: that its port answers, and that the cluster takes it for the writer.

Fluent Bit says of a refused sign-in only that it has errors, so the cluster is asked with the shipper's own password.
"""

import socket
from collections.abc import Iterator

from auditpipe.pipeline import rest
from auditpipe.pipeline.client import connect, tool_id
from auditpipe.pipeline.doctor.check import Check, finding, ok
from auditpipe.pipeline.roles import WRITER
from auditpipe.schemas.errors import NotAllowed
from auditpipe.schemas.settings import Settings

TIMEOUT_S = 10.0
_SIGN_IN = "shipper's sign-in"


def answers(settings: Settings) -> Check:
    """Whether something listens where emitters send to."""
    host, port = settings.forward
    try:
        with socket.create_connection((host, port), timeout=TIMEOUT_S):
            return ok("shipper", f"{host}:{port} answers")
    except OSError as error:
        remedy = "start it (`auditpipe up` for the local stack), or put AUDITPIPE_FORWARD right; events wait in spools"
        return finding("shipper", f"{host}:{port} does not answer: {error.strerror or error}", remedy)


def sign_in(shipper: Settings) -> Iterator[Check]:
    """Whether these are a name and a password that the cluster knows, with the role that writes. OutOfReach."""
    client = connect(shipper, opaque_id=tool_id("doctor"), read_seconds=TIMEOUT_S)
    try:
        found = rest.get(client, "/_plugins/_security/authinfo") or {}
    except NotAllowed as error:
        remedy = "`auditpipe up` sets the password anew; elsewhere `auditpipe provision --writer-password-file`"
        yield finding(_SIGN_IN, f"{error}: nothing is delivered", remedy)
        return
    if WRITER in found.get("roles", []):
        yield ok(_SIGN_IN, f"{found.get('user_name')} has the role {WRITER}")
    else:
        told = f"{found.get('user_name')} does not have the role {WRITER}: nothing is delivered"
        yield finding(_SIGN_IN, told, "`auditpipe provision`, which `auditpipe up` does too")
