"""Connections that the relay ends: each is counted, and said in the log where that fills no disk."""

import logging
from typing import Any

from auditpipe.pipeline.relay.alarm import Quiet
from auditpipe.pipeline.relay.metrics import Metrics

#: One log line in that time for each reason.
QUIET_SECONDS = 1.0

_log = logging.getLogger(__name__)


class Refusals:
    """Says why a connection was ended."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._quiet = Quiet(QUIET_SECONDS)

    def say(self, reason: str, peer: Any, detail: str) -> None:
        """`reason` is one of a fixed few, `peer` the client's address."""
        self._metrics.count("refused_connections", reason=reason)
        if self._quiet.lets(reason):
            _log.warning("closed the connection of %s: %s: %s", peer, reason, ascii(detail))
