"""What the relay is told when it starts."""

from dataclasses import dataclass, field
from pathlib import Path

from auditpipe.schemas.errors import SettingsError
from auditpipe.schemas.settings import Settings, is_loopback

MEBIBYTE = 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of what clients can make the relay hold. Sizes in bytes, times in seconds."""

    message: int = 32 * MEBIBYTE
    inflated: int = 64 * MEBIBYTE
    #: Over all connections, for messages that are being read. One message fits always.
    reading: int = 128 * MEBIBYTE
    #: Over all connections, for events on their way to OpenSearch.
    waiting: int = 64 * MEBIBYTE
    bulk: int = 5_000_000
    bulks_in_flight: int = 2
    connections: int = 256
    #: Between two pieces of one message, and for a whole message.
    pause: float = 30.0
    arrival: float = 300.0
    #: An event that is refused for a reason of its own for so long (seconds), and so often, is parked.
    park_after: float = 10.0
    park_tries: int = 3
    #: A bulk that has no answer for so long is an alarm. The node is told to answer in 5 s (`bulk.BULK_PATH`).
    unanswered: float = 8.0
    #: For what is in flight when the relay is asked to stop.
    stop: float = 10.0


@dataclass(frozen=True, slots=True)
class RelayConfig:
    """Where the relay listens, where it sends to and where it keeps what is refused."""

    settings: Settings
    listen: tuple[str, int]
    dead_letters: Path
    metrics: tuple[str, int] | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        for name, address in (("listen", self.listen), ("metrics", self.metrics)):
            if address is not None and not is_loopback(address[0]):
                raise SettingsError(
                    f"--{name} {address[0]}:{address[1]}: the relay listens on loopback only (127.0.0.1 or [::1]): "
                    "it can't yet tell who connects. Beyond this machine, run Fluent Bit with TLS and a shared key"
                )
