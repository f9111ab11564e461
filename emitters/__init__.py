"""What an application imports: `AuditLog`, its context and helpers for the application's own tests.

from auditpipe.emitters import AuditLog

audit = AuditLog(service="accounts", organization="acme")
audit.emit("user.user.updated", actor={"id": "u1", "name": "ada"}, target={"type": "user", "id": "u7"},
           before={"last_name": "Doe"}, after={"last_name": "Dow"})
"""

from auditpipe.emitters.auditlog import AuditLog
from auditpipe.emitters.context import context
from auditpipe.emitters.logging_handler import AuditHandler
from auditpipe.emitters.memory import MemoryTransport
from auditpipe.emitters.options import SpoolOptions
from auditpipe.emitters.transport import Stats

__all__ = ["AuditHandler", "AuditLog", "MemoryTransport", "SpoolOptions", "Stats", "context"]
