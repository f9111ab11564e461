"""Events of the commands themselves: an AuditLog from the settings, and what a person is told of its events."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import click

from auditpipe.pipeline.visible import printable
from auditpipe.schemas.settings import Settings

if TYPE_CHECKING:
    from auditpipe.emitters import AuditLog

WAIT_SECONDS = 5.0
_LOOK_SECONDS = 0.02


def audit_log(service: str, settings: Settings, **more: Any) -> AuditLog:
    """An AuditLog that sends to the shipper of these settings, through their spool. `more` is the AuditLog's own."""
    from auditpipe.emitters import AuditLog

    host, port = settings.forward
    return AuditLog(
        service,
        forward=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        forward_ca_file=settings.get("forward_ca_file"),
        forward_shared_key_file=settings.get("forward_shared_key_file"),
        pseudonym_key_file=settings.get("pseudonym_key_file"),
        spool_dir=settings.spool_dir,
        **more,
    )


def silence() -> None:
    """What an AuditLog warns of is said once, by `say_state`."""
    logging.getLogger("auditpipe").addHandler(logging.NullHandler())


def settle(audit: AuditLog, *, patient: bool = True) -> bool:
    """Whether what was emitted is acknowledged within 5 s; then what earlier ones have left is sent too.

    Unless `patient`, no longer than until it is known why nothing can be sent.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    step = WAIT_SECONDS if patient else _LOOK_SECONDS
    while not audit.flush(step):
        if time.monotonic() >= deadline or (not patient and audit.stats().problem):
            return False
    audit.drain(max(deadline - time.monotonic(), 0))
    return True


def say_state(count: int, acknowledged: bool, problem: str | None, settings: Settings) -> None:
    """Where the events are, on stderr."""
    events = f"{count} event{'' if count == 1 else 's'}"
    if acknowledged:
        click.echo(f"{events} acknowledged", err=True)
        return
    why = problem or f"no acknowledgement within {WAIT_SECONDS:g} s"
    remedy = "What is spooled is sent by the next emit, or by `auditpipe spool drain`."
    click.echo(printable(f"{events} only spooled in {settings.spool_dir}: {why}. {remedy}"), err=True)
