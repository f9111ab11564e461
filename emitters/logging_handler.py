"""Audit events from the standard library's logging."""

import logging
from collections.abc import Mapping

from auditpipe.emitters.auditlog import AuditLog
from auditpipe.schemas.errors import InvalidEvent


class AuditHandler(logging.Handler):
    """Emits the record's `audit` extra: a mapping with `action` and the other arguments of `AuditLog.emit`.

        logger = audit_logger(AuditLog(service="accounts"))
        logger.info("changed", extra={"audit": {"action": "user.user.updated", "actor": "u1", ...}})

    A record without that extra is an error of the caller: nothing is lost without a word. Errors follow the
    AuditLog's failure policy, not `logging.raiseExceptions`: with `raise` they reach the code that logged.
    """

    def __init__(self, audit: AuditLog) -> None:
        super().__init__(level=logging.NOTSET)
        self._audit = audit

    def emit(self, record: logging.LogRecord) -> None:
        """Emit the event of one record."""
        arguments = getattr(record, "audit", None)
        if isinstance(arguments, Mapping) and "action" in arguments:
            self._audit.emit(**arguments)
            return
        where = f"{record.pathname}:{record.lineno}"
        problem = f'the log record of {where} has no such extra; expected extra={{"audit": {{"action": ..., ...}}}}'
        self._audit.refuse("", InvalidEvent("audit", problem))


def audit_logger(audit: AuditLog, name: str = "auditpipe.audit") -> logging.Logger:
    """A logger for audit events alone: every level passes, and nothing goes on to other handlers."""
    logger = logging.getLogger(name)
    logger.setLevel(1)
    logger.propagate = False
    logger.disabled = False
    for handler in [handler for handler in logger.handlers if isinstance(handler, AuditHandler)]:
        logger.removeHandler(handler)
    logger.addHandler(AuditHandler(audit))
    return logger
