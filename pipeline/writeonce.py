"""Whether the cluster keeps what was written: `plugins.security.compliance.immutable_indices`, a setting of each node.

No node tells that setting to anyone (Security filters it out of `_nodes/settings`), so it is tried: deleting an index
that does not exist changes nothing, and answers 403 "Index is immutable" where write-once holds, before it looks for
the index or for a permission, and 404 or another 403 where not. The admin certificate passes write-once, so that its
own answer means nothing. It is the node that is asked which answers: a node that was forgotten shows only when asked.
"""

from enum import StrEnum

from opensearchpy import OpenSearch
from opensearchpy.exceptions import AuthorizationException, NotFoundError

from auditpipe.pipeline.client import edge
from auditpipe.pipeline.roles import WHO_LOOKED_PATTERN
from auditpipe.schemas.identity import INDEX_PATTERN, INDEX_PREFIX, RECORDS_PATTERN

#: The events, the records of what retention removed, and the node's own record of who looked.
_PATTERNS = (INDEX_PATTERN, RECORDS_PATTERN, WHO_LOOKED_PATTERN)
LINE = "plugins.security.compliance.immutable_indices: [" + ", ".join(f'"{name}"' for name in _PATTERNS) + "]"

#: Never made: no month has this form.
NO_SUCH_INDEX = f"{INDEX_PREFIX}write-once-probe"


class WriteOnce(StrEnum):
    """What the probe found."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"

    @property
    def sentence(self) -> str:
        """`write-once: yes`, or NO with the line to add."""
        if self is WriteOnce.NO:
            return f"write-once: NO: add this line to opensearch.yml of every node and restart it: {LINE}"
        if self is WriteOnce.UNKNOWN:
            return "write-once: unknown: only someone without the admin certificate can try it; see `auditpipe doctor`"
        return "write-once: yes"


def probe(client: OpenSearch, index: str = NO_SUCH_INDEX) -> WriteOnce:
    """Try it as anyone who can sign in, with any role or none, but not with the admin certificate.

    `index` is a name under the pattern to try that no index has.
    """
    with edge():
        try:
            client.transport.perform_request("DELETE", f"/{index}")
        except AuthorizationException as error:
            return WriteOnce.YES if "immutable" in str(error.info) else WriteOnce.NO
        except NotFoundError:
            return WriteOnce.NO
    return WriteOnce.NO
