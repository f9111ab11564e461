"""The few REST calls that provisioning and access make, with foreign exceptions turned at this edge."""

from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import ConflictError, NotFoundError, RequestError

from auditpipe.pipeline.client import edge
from auditpipe.pipeline.plan import Request
from auditpipe.schemas.errors import NotFinished


def get(client: OpenSearch, path: str, **params: str) -> Any:
    """The answer to a GET, or None where there is no such thing, or no plugin that would know."""
    with edge():
        try:
            return client.transport.perform_request("GET", path, params=params or None)
        except NotFoundError:
            return None
        except RequestError as error:
            if "no handler found" in str(error.error):
                return None
            raise


def send(client: OpenSearch, request: Request) -> Any:
    """The answer to a request that changes something; None if another run has just made the same index.

    NotFinished if somebody else changed the same thing at the same moment; otherwise raises as `edge` does.
    """
    with edge():
        try:
            return client.transport.perform_request(request.method, request.path, body=request.body)
        except ConflictError as error:
            raise NotFinished(f"{request.path}: somebody else changed it at the same time; run it again") from error
        except RequestError as error:
            if error.error == "resource_already_exists_exception":
                return None  # whether it is as it should be is read back
            raise
