"""The one seam to OpenSearch: a request's bytes go in, status, headers and JSON come out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import local
from typing import Any, Protocol

import orjson
from opensearchpy import OpenSearch
from opensearchpy.exceptions import OpenSearchException

from auditpipe.pipeline.client import connect, translate
from auditpipe.schemas.settings import Settings

#: Not below what a node takes to give up on a missing primary shard itself (1 minute).
READ_SECONDS = 90.0

_NDJSON = {"content-type": "application/x-ndjson"}
# No status is an exception here: what it means is decided by `classify`.
_EVERY_STATUS = range(300, 600)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `body` is None where it was no JSON. Header names are in lower case."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


class Transport(Protocol):
    """What bulk delivery needs of a cluster. Safe to call from several threads."""

    def post(self, path: str, body: bytes) -> Answer:
        """Send NDJSON or JSON. Any answer is returned; OutOfReach where there was none."""
        ...


class OpenSearchTransport:
    """Through opensearch-py's connection, below its transport: that hides headers, and with them Retry-After."""

    def __init__(self, connect: Callable[[], OpenSearch]) -> None:
        self._connect = connect
        self._own = local()  # urllib3 keeps one connection: a client for each thread spares a TLS handshake a request
        self._own.client = connect()

    def post(self, path: str, body: bytes) -> Answer:
        """As the protocol."""
        if not hasattr(self._own, "client"):
            self._own.client = self._connect()
        connection = self._own.client.transport.get_connection()
        try:
            status, headers, text = connection.perform_request(
                "POST", path, body=body, headers=_NDJSON, ignore=_EVERY_STATUS
            )
        except OpenSearchException as error:
            raise translate(error) from error
        except UnicodeDecodeError:
            return Answer(502, None)
        try:
            parsed = orjson.loads(text)
        except ValueError:
            parsed = None
        return Answer(status, parsed, {name.lower(): value for name, value in headers.items()})


def open_transport(settings: Settings, opaque_id: str | None = None) -> OpenSearchTransport:
    """A transport to the cluster that the settings name. SettingsError as `connect`."""
    return OpenSearchTransport(lambda: connect(settings, opaque_id=opaque_id, read_seconds=READ_SECONDS))
