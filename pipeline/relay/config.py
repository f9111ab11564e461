"""What the relay is told when it starts."""

from dataclasses import dataclass, field
from pathlib import Path

from auditpipe.pipeline.relay.security import Security
from auditpipe.schemas.errors import SettingsError
from auditpipe.schemas.settings import Settings, is_loopback

MEBIBYTE = 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of what clients can make the relay hold. Sizes in bytes, times in seconds."""

    message: int = 32 * MEBIBYTE
    inflated: int = 64 * MEBIBYTE
    #: Over all connections, for messages that are being read. One message fits always.
    reading: int = 64 * MEBIBYTE
    #: Over all connections, for events on their way to OpenSearch.
    waiting: int = 64 * MEBIBYTE
    #: Over all connections, for events that are refused and not yet written as dead letters.
    refused: int = 40 * MEBIBYTE
    bulk: int = 5_000_000
    bulks_in_flight: int = 2
    #: When so many are open, a newcomer gets the place of one that shows nothing for itself, see `admission`.
    connections: int = 256
    #: Without a whole message for so long, a connection may have to make room for another.
    idle: float = 10.0
    #: For TLS and the proof of the shared key, from the first byte on.
    handshake: float = 10.0
    #: For the last bytes to a client whose connection is closed.
    closing: float = 2.0
    #: Between two pieces of one message, and for a whole message.
    pause: float = 30.0
    arrival: float = 300.0
    #: For a whole message while others wait for the room that it takes, and a second more for each MiB that has come.
    crowded: float = 2.0
    #: An event that is refused for a reason of its own for so long (seconds), and so often, is parked.
    park_after: float = 10.0
    park_tries: int = 3
    #: A bulk that has no answer for so long is an alarm. The node is told to answer in 5 s (`bulk.BULK_PATH`).
    unanswered: float = 8.0
    #: For what is in flight when the relay is asked to stop.
    stop: float = 10.0


@dataclass(frozen=True, slots=True)
class RelayConfig:
    """Where the relay listens, what clients have to show, where it sends to and where it keeps what is refused.

    SettingsError: it would take events from other machines without TLS and a shared key, or show its metrics to them.
    """

    settings: Settings
    listen: tuple[str, int]
    dead_letters: Path
    metrics: tuple[str, int] | None = None
    limits: Limits = field(default_factory=Limits)
    security: Security = field(default_factory=Security)

    def __post_init__(self) -> None:
        if not is_loopback(self.listen[0]) and (missing := self.security.missing):
            raise SettingsError(
                f"--listen {self.listen[0]}:{self.listen[1]}: beyond loopback (127.0.0.1 or [::1]) the relay takes "
                f"events by TLS and by a shared key only, else anyone could write them: add {' and '.join(missing)}"
            )
        if self.metrics is not None and not is_loopback(self.metrics[0]):
            raise SettingsError(
                f"--metrics {self.metrics[0]}:{self.metrics[1]}: these pages have neither TLS nor a password: "
                "expected an address of loopback (127.0.0.1 or [::1]), or none"
            )
