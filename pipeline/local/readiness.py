"""Whether the node is up: asked with the admin certificate and the standard library, before anything else can speak."""

import http.client
import json
import ssl
from dataclasses import dataclass
from typing import Any

from auditpipe.pipeline.local.certificates import Certificates
from auditpipe.schemas.errors import OutOfReach

TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Shards:
    """How far indices are there. `red`: a primary shard of theirs has not started."""

    red: bool
    started: int
    missing: int


@dataclass(frozen=True, slots=True)
class Admin:
    """The node at 127.0.0.1:`port`, asked with the admin certificate."""

    port: int
    certificates: Certificates

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """(status, JSON answer). OutOfReach if the node does not answer or is not the one of this home."""
        context = ssl.create_default_context(cafile=self.certificates.ca)
        context.load_cert_chain(self.certificates.admin.certificate, self.certificates.admin.key)
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=TIMEOUT_S, context=context)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            content = response.read()
            return response.status, json.loads(content) if content[:1] in (b"{", b"[") else content.decode()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise OutOfReach(f"https://127.0.0.1:{self.port} does not answer: {error}") from error
        finally:
            connection.close()

    def is_ready(self) -> bool:
        """Whether the node answers and Security has read its configuration."""
        try:
            status, answer = self.ask("GET", "/_plugins/_security/health")
            if status != 200 or answer.get("status") != "UP":
                return False
            status, _ = self.ask("GET", "/_plugins/_security/api/internalusers")
        except OutOfReach:
            return False
        return status == 200

    def shards(self, pattern: str) -> Shards | None:
        """How far the indices of this pattern are there; None if the node does not say."""
        try:
            status, answer = self.ask("GET", f"/_cluster/health/{pattern}")
        except OutOfReach:
            return None
        if status != 200:
            return None
        missing = answer["initializing_shards"] + answer["unassigned_shards"]
        return Shards(answer["status"] == "red", answer["active_primary_shards"], missing)
