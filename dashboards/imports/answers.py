"""What an answer of OpenSearch Dashboards means, in the words of someone who has to act on it."""

import json
import ssl
from collections.abc import Iterator, Mapping
from typing import Any

from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ReadTimeoutError, SSLError

from auditpipe.dashboards.objects.saved import Reference, SavedObject
from auditpipe.pipeline.answers import Peer
from auditpipe.schemas.errors import AuditpipeError, Finding, NotAllowed, OutOfReach, UsageError

#: Dashboards answers 401 to whatever went wrong while it asked OpenSearch who we are. With these words it was not us.
_NOT_US = ("no living connections", "not initialized", "timeout", "econnrefused", "service unavailable", "unavailable")
_SHOWN = 300


def refusal(peer: Peer, status: int, data: bytes) -> AuditpipeError:
    """The error of an answer that is no success."""
    message = _message(data)
    if status == 401 and any(word in message.lower() for word in _NOT_US):
        return OutOfReach(f"{peer.url} can't ask OpenSearch who we are ({message}): try again in a while")
    if status == 401:
        return NotAllowed(f"{peer.url}: wrong name or password for {peer.who}")
    if status == 403 or "No available tenant" in message:
        return NotAllowed(f"{peer.url} refused this to {peer.who}: {message}; a Super Admin may write to the tenant")
    if status == 429 or status >= 500:
        return OutOfReach(f"{peer.url} can't answer now ({status} {message}): try again in a while")
    if 300 <= status < 400:
        return OutOfReach(f"{peer.url} answered {status}, elsewhere: is a path missing in the URL (server.basePath)?")
    if status == 404:
        return UsageError(f"{peer.url} has no such thing ({message}): is it Dashboards, and the path in the URL right?")
    if 400 <= status < 500:
        return Finding(f"{peer.url} did not take the objects ({status}): {message}")
    return AuditpipeError(f"{peer.url} answered {status}: {message}")


def no_answer(peer: Peer, error: HTTPError) -> OutOfReach:
    """The error of a request that got no answer."""
    cause = error.__cause__ or error
    if isinstance(error, SSLError) or isinstance(cause, ssl.SSLError):
        return OutOfReach(
            f"{peer.url}: no TLS connection ({cause}): name the authority of its certificate with "
            "--dashboards-ca-file, and the host as the certificate does"
        )
    if isinstance(error, NewConnectionError):  # before timeouts: to urllib3 it is one
        return OutOfReach(f"{peer.url}: nothing listens there: is Dashboards started, and the address right?")
    if isinstance(error, (ConnectTimeoutError, ReadTimeoutError)):
        return OutOfReach(f"{peer.url} did not answer in time: is it up, and is the address right?")
    return OutOfReach(f"{peer.url} broke off the connection: is it Dashboards, and should the URL be https://?")


def object_of(peer: Peer, row: Mapping[str, Any]) -> SavedObject | None:
    """One object of an answer; None if there is none of that name. Raises for any other error of its own."""
    name, error = f"{row['type']}/{row['id']}", row.get("error")
    if error is not None:
        if error.get("statusCode") == 404:
            return None
        raise refusal(
            peer, int(error.get("statusCode", 500)), json.dumps({**error, "message": _about(name, error)}).encode()
        )
    references = tuple(Reference(r["name"], r["type"], r["id"]) for r in row.get("references", []))
    version = row.get("migrationVersion", {}).get(row["type"])
    return SavedObject(row["type"], row["id"], row["attributes"], references, version)


def import_errors(answer: Mapping[str, Any]) -> Iterator[str]:
    """What an import says went wrong, an object each.

    With any conflict or missing reference nothing was written, although `successResults` lists what could have been.
    With other errors the rest was written.
    """
    for row in answer.get("errors", []):
        error = row.get("error", {})
        yield f"{row.get('type')}/{row.get('id')}: {_import_error(error)}"


def is_forbidden(answer: Mapping[str, Any]) -> bool:
    """Whether an import failed because we may not write there."""
    return any(row.get("error", {}).get("statusCode") == 403 for row in answer.get("errors", []))


def _import_error(error: Mapping[str, Any]) -> str:
    kind = error.get("type")
    if kind == "missing_references":
        missing = (f"{r.get('type')}/{r.get('id')}" for r in error.get("references", []))
        return f"refers to {', '.join(missing)}, which is not there"
    if kind == "ambiguous_conflict":
        return "several objects that were once this one are there"
    if kind == "unknown":
        return " ".join(str(error.get("message", "refused")).split())[:_SHOWN]
    return str(kind).replace("_", " ")


def _about(name: str, error: Mapping[str, Any]) -> str:
    message = str(error.get("message", "refused"))
    return message if name in message else f"{name}: {message}"


def _message(data: bytes) -> str:
    """Dashboards' own words, on one line."""
    text = data.decode("utf-8", "replace")
    try:
        body = json.loads(text)
    except ValueError:
        body = text
    if isinstance(body, dict):
        body = body.get("message") or body.get("error") or ""
    return " ".join(str(body).split())[:_SHOWN]
