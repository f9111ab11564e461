"""What an answer of OpenSearch that is no success means, in the words of someone who has to act on it."""

import re
from dataclasses import dataclass
from typing import Any

from opensearchpy.exceptions import ConnectionError, ConnectionTimeout, SSLError, TransportError

from auditpipe.pipeline.grant_rule import ENDED
from auditpipe.pipeline.roles import WHO_LOOKED_PATTERN
from auditpipe.schemas.errors import AuditpipeError, BadFilter, NotAllowed, NotFinished, OutOfReach, UsageError
from auditpipe.schemas.identity import ALIAS

_USER = re.compile(r"User \[name=(.*?), backend_roles=")
_PERMISSION = re.compile(r"no permissions for \[([^\]]*)\]")
_MISSING_SHARD = re.compile(r"\[[^][]+\]\[\d+\]")
#: Of an index without the fields that every month has: no query of a person names what to sort by.
_UNSORTABLE = "in order to sort on"
#: Of a rule that looks something up (`terms`), to a request that such a rule does not work with: a point in time.
_FILTER_LEVEL = "Unsupported request type for filter level DLS"
_DLS = "Error while evaluating DLS/FLS privileges"

#: What our own requests name.
_OURS = (ALIAS, WHO_LOOKED_PATTERN.removesuffix("*"))

#: Errors that only the query can cause, or a rule that the node adds to it.
_QUERY_ERRORS = frozenset(
    {"query_shard_exception", "parse_exception", "illegal_argument_exception", "number_format_exception"}
    | {"too_many_clauses", "too_many_nested_clauses", "token_mgr_error", "parsing_exception"}
)


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom an answer came from, and who had asked."""

    url: str
    who: str


def peer_of(error: BaseException) -> Peer:
    """Whom an error of opensearch-py, or one of ours that was made of it, came from."""
    for known in (error, error.__cause__):
        if isinstance(peer := getattr(known, "peer", None), Peer):
            return peer
    return Peer("OpenSearch", "you")


def translate_transport(error: TransportError, peer: Peer) -> AuditpipeError:
    """Every TransportError as one of ours."""
    if isinstance(error, ConnectionError):
        return _no_answer(error, peer)
    status, kind, reason = error.status_code, _kind(error), reason_of(error)
    if status == 401:
        return NotAllowed(f"{peer.url}: {_refused_credentials(peer.who)}")
    if _FILTER_LEVEL in reason:
        return rule_not_applied(peer)
    if status == 403 or _DLS in reason or _DLS in str(error.error):
        return _forbidden(kind, reason, peer)
    if "could not read the current timestamp" in reason:
        return NotAllowed(
            f"{peer.url}: {peer.who} has access with an end, and the node can't tell the time of it: an operator has to"
            " add plugins.security.unsupported.allow_now_in_dls: true to opensearch.yml of every node"
        )
    if ENDED in reason:
        return NotAllowed(
            f"{peer.url}: the access of {peer.who} has ended: ask a Super Admin to revoke what ended, or grant it again"
        )
    if status == 404 and kind == "index_not_found_exception":
        if not any(name in reason for name in _OURS):
            return rule_not_applied(peer)  # a rule that looks something up elsewhere
        return OutOfReach(f"{peer.url} has no audit indices ({reason}): run `auditpipe provision` first")
    if status == 400 and kind == "index_closed_exception":
        return OutOfReach(f"{peer.url}: a month is closed: an operator has to open it (`auditpipe doctor` names it)")
    if status == 404 and kind == "search_context_missing_exception":
        return NotFinished(f"{peer.url}: the view of the data expired while it was read: run the command again")
    if status == 400 and _UNSORTABLE in reason:
        return OutOfReach(
            f"{peer.url}: an index that is not auditpipe's is among the months ({reason}): nothing is shown, because it"
            " would not be all; `auditpipe doctor` names it"
        )
    if status == 400 and kind in _QUERY_ERRORS:
        return BadFilter(f"OpenSearch can't read this query: {reason}")
    if status == 503 and kind == "search_phase_execution_exception":
        return OutOfReach(f"{peer.url}: {_recovering(error)}")
    if status == 429 or (isinstance(status, int) and status >= 500):
        return OutOfReach(f"{peer.url} can't answer now ({status} {reason or kind}): try again in a while")
    if isinstance(status, int) and 300 <= status < 400:
        return OutOfReach(
            f"{peer.url} answered {status}, elsewhere: is it OpenSearch itself, and not a page before it?"
        )
    if isinstance(status, int) and 400 <= status < 500:
        return UsageError(f"{peer.url} refused this ({status}): {reason or kind}{_path_hint(error)}")
    return AuditpipeError(f"{peer.url} answered {status} {kind}: {reason}")


def rule_not_applied(peer: Peer) -> NotAllowed:
    """For a rule of a role (document-level security) that fails. What it says is for the operator alone."""
    return NotAllowed(
        f"{peer.url}: {peer.who} may not read audit events: their role has a rule that the node can't apply to them;"
        " ask a Super Admin to grant it again (`auditpipe doctor` tells an operator what is wrong with it)"
    )


def _path_hint(error: TransportError) -> str:
    unknown = error.status_code in (404, 405) or "no handler found" in str(error.error)
    return ": is the path in the URL right?" if unknown else ""


def _no_answer(error: ConnectionError, peer: Peer) -> OutOfReach:
    cause = error.info
    text = str(cause)
    if isinstance(error, SSLError):
        return OutOfReach(f"{peer.url}: {_tls_trouble(text)}")
    if isinstance(error, ConnectionTimeout) or "timed out" in text:
        return OutOfReach(f"{peer.url} did not answer in time: is it up, and is the address right?")
    if "Connection refused" in text:
        return OutOfReach(f"{peer.url}: nothing listens there: start it (`auditpipe up` for the local stack)")
    if "NameResolution" in type(cause).__name__ or "Failed to resolve" in text:
        return OutOfReach(f"{peer.url}: no such host name")
    if "Remote end closed" in text or "Connection reset" in text or "BadStatusLine" in text:
        return OutOfReach(f"{peer.url} broke off the connection: is it OpenSearch, and should the URL be https://?")
    return OutOfReach(f"{peer.url} can't be reached: {text}")


def _tls_trouble(text: str) -> str:
    lowered = text.lower()
    if "expired" in lowered:
        return "its certificate, or the authority's, has expired (`auditpipe up` renews those of the local stack)"
    if "hostname mismatch" in lowered or "ip address mismatch" in lowered or "doesn't match" in lowered:
        return "its certificate is for another host name: use the name that is in the certificate"
    if "certificate_required" in lowered or "certificate required" in lowered or "alert" in lowered:
        return f"it refused the client certificate: give another with --cert-file and --key-file ({text})"
    if "certificate verify failed" in lowered:
        return (
            "its certificate is signed by no authority that is trusted here: "
            "name the authority with --ca-file or AUDITPIPE_CA_FILE"
        )
    if "wrong_version_number" in lowered or "record layer failure" in lowered:
        return "it does not speak TLS: is the port right?"
    return f"no TLS connection: {text}"


def _recovering(error: TransportError) -> str:
    """Shards without a started copy: the node lists them all, in an inner cause."""
    missing = len(_MISSING_SHARD.findall(str(error.info)))
    which = f"{missing} shards" if missing > 1 else "one shard" if missing else "every shard"
    return (
        f"no answer from {which}: the cluster is still recovering; nothing is shown, because it would not be all; "
        "try again, or see `auditpipe doctor`"
    )


def _refused_credentials(who: str) -> str:
    if who.startswith(("the ", "a ")):
        return f"{who} was refused: sign in with --username and --password-file, a token or a certificate"
    return f"wrong name or password for {who}"


def _forbidden(kind: str, reason: str, peer: Peer) -> NotAllowed | OutOfReach:
    if kind in ("cluster_block_exception", "index_create_block_exception"):
        return OutOfReach(f"{peer.url} has a block on this: {reason}; an operator has to lift it (`auditpipe doctor`)")
    named = _USER.search(reason)
    who = named[1] if named else peer.who
    if "immutable" in reason:
        return NotAllowed(f"{peer.url}: audit indices are write-once: {who} can't alter or remove what is there")
    if _DLS in reason:
        return rule_not_applied(Peer(peer.url, who))
    permission = _PERMISSION.search(reason)
    needed = permission[1] if permission else ""
    if not needed:
        return NotAllowed(f"{peer.url} refused this to {who}: {reason or kind}")
    if "indices:data/read" in needed:
        return NotAllowed(
            f"{peer.url}: {who} may not read audit events; ask a Super Admin: auditpipe access grant {who} --role admin"
        )
    return NotAllowed(f"{peer.url}: {who} may not do this ({needed}): it needs a role, or the admin certificate")


def _kind(error: TransportError) -> str:
    root = _root_cause(error)
    return str(root.get("type") or error.error)


def reason_of(error: TransportError) -> str:
    """The node's own words, on one line."""
    info = error.info if len(error.args) > 2 else None
    # Security's own API: {"status": "error", "reason": "Weak password"}.
    own = (info.get("reason") or info.get("message")) if isinstance(info, dict) else None
    text = _root_cause(error).get("reason") or own or (error.error if isinstance(error.error, str) else "")
    return " ".join(str(text).split())[:500]


def _root_cause(error: TransportError) -> dict[str, Any]:
    info = error.info if len(error.args) > 2 else None
    detail = info.get("error") if isinstance(info, dict) else None
    if not isinstance(detail, dict):
        return {}
    causes = detail.get("root_cause")
    first = causes[0] if isinstance(causes, list) and causes and isinstance(causes[0], dict) else detail
    return {**first, "type": first.get("type") or detail.get("type")}
