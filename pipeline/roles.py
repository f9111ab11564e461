"""The roles, as data: each as small as its work allows.

Action names, not Security's action groups: `write`, `index` and `crud` include update, delete and mapping changes,
`read` includes more than these tools use. Each line of a role is held by a test that fails without it.
See docs/access-roles.md for what each person may do, and what a Super Admin could still do past these tools.
"""

from dataclasses import dataclass
from typing import Any

from auditpipe.schemas.identity import INDEX_PATTERN, RECORDS_INDEX

#: How an object of ours is known: its description begins with this. What does not is foreign, and never touched.
MARK = "auditpipe: "

#: Where the saved objects of OpenSearch Dashboards are, apart from what other people keep there. Lower case, because
#: Dashboards looks for a preferred tenant in lower case.
TENANT = "audit"
#: Security's own names (static action groups) for seeing a tenant's objects, and for changing them too.
_SEE_TENANT, _CHANGE_TENANT = "kibana_all_read", "kibana_all_write"

#: The node's own record of who searched, looked and exported.
WHO_LOOKED_PATTERN = "security-auditlog-*"

WRITER = "audit_writer"
#: The account that has it, where provisioning is not told another.
WRITER_USER = "audit_shipper"
ADMIN = "audit_admin"
SUPER_ADMIN = "audit_super_admin"
AUDITOR = "audit_auditor"

_READ_CLUSTER = (
    "cluster:monitor/main",  # GET /: the version, before anything else
    "indices:data/read/mget",  # the cluster half of _mget, which asks for the index half below
)
_READ_INDEX = (
    "indices:data/read/search",  # _search and _count
    "indices:data/read/get",  # one event by its id, before a refresh
    "indices:data/read/mget[shard]",
    "indices:data/read/field_caps",  # Dashboards' index pattern
    "indices:data/read/field_caps[index]",  # its half in each index, without which it answers that there are no fields
    "indices:data/read/point_in_time/create",  # paging and export that neither repeat nor miss
    "indices:data/read/point_in_time/delete",
)


@dataclass(frozen=True, slots=True)
class IndexPermission:
    """What a role may do with some indices. `dls` is a query (JSON text), `fls` the only fields that it reads."""

    patterns: tuple[str, ...]
    actions: tuple[str, ...]
    dls: str = ""
    fls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Role:
    """A role of the Security plugin. `reserved`: only the admin certificate may alter it, no Super Admin.

    `tenant`: what it may do in our tenant of OpenSearch Dashboards; "" is nothing.
    """

    name: str
    title: str
    description: str
    indices: tuple[IndexPermission, ...]
    cluster: tuple[str, ...] = ()
    reserved: bool = True
    tenant: str = ""

    def body(self) -> dict[str, Any]:
        """What `PUT /_plugins/_security/api/roles/NAME` takes."""
        seen = {"tenant_patterns": [TENANT], "allowed_actions": [self.tenant]}
        body: dict[str, Any] = {
            "description": MARK + self.description,
            "cluster_permissions": list(self.cluster),
            "index_permissions": [
                {
                    "index_patterns": list(permission.patterns),
                    "dls": permission.dls,
                    "fls": list(permission.fls),
                    "masked_fields": [],
                    "allowed_actions": list(permission.actions),
                }
                for permission in self.indices
            ],
            "tenant_permissions": [seen] if self.tenant else [],
        }
        # Security refuses the key itself from anyone without the admin certificate.
        return body | ({"reserved": True} if self.reserved else {})


_READ_EVENTS = IndexPermission((INDEX_PATTERN,), _READ_INDEX)
#: What retention removed, so that `verify` tells it from a loss; and the holds.
READ_RECORDS = IndexPermission((RECORDS_INDEX,), ("indices:data/read/search", "indices:data/read/get"))
#: When a month was removed, by the record's id: all that a shipper needs to know.
_READ_REMOVED = IndexPermission(
    (RECORDS_INDEX,), ("indices:data/read/mget[shard]",), fls=("month", "record", "@timestamp")
)

ROLES: tuple[Role, ...] = (
    Role(
        WRITER,
        "writer",
        "ships events; creates documents, reads a stored hash and when a month was removed",
        cluster=("indices:data/write/bulk", "indices:data/read/mget"),
        indices=(
            IndexPermission(
                (INDEX_PATTERN,),
                (
                    "indices:data/write/bulk[s]",
                    "indices:data/write/index",
                    # A 409 is "already there" only if what is there has the same hash.
                    "indices:data/read/mget[shard]",
                ),
                fls=("audit.hash",),
            ),
            _READ_REMOVED,
        ),
    ),
    Role(
        ADMIN,
        "Admin",
        "searches, looks at and exports every event",
        cluster=_READ_CLUSTER,
        indices=(_READ_EVENTS, READ_RECORDS),
        tenant=_SEE_TENANT,
    ),
    Role(
        SUPER_ADMIN,
        "Super Admin",
        "as Admin; grants access (plugins.security.restapi.roles_enabled) and sees who looked",
        # With `bulk`, which alone gives no index to write to, Dashboards writes into its tenant: it has no other way.
        cluster=(*_READ_CLUSTER, "indices:data/write/bulk"),
        indices=(_READ_EVENTS, READ_RECORDS, IndexPermission((WHO_LOOKED_PATTERN,), _READ_INDEX)),
        tenant=_CHANGE_TENANT,
    ),
    Role(
        AUDITOR,
        "auditor",
        "as Admin, for compliance: people who are no admins of the product",
        cluster=_READ_CLUSTER,
        indices=(_READ_EVENTS, READ_RECORDS),
        tenant=_SEE_TENANT,
    ),
)
BY_NAME = {role.name: role for role in ROLES}
