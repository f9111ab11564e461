"""The pinned list of files that the local OpenSearch node is made of.

`artifacts.lock.json` names each file by its Maven coordinates, its SHA-256 and its place in the node, so that nothing
is resolved at run time and nothing unexpected can arrive. `auditpipe.pipeline.local.lock` makes it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

LOCK_NAME = "artifacts.lock.json"
_READ_SIZE = 1 << 20


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file of the registry. `into` is its folder in the node, such as `lib` or `modules/geo`."""

    group: str
    artifact: str
    version: str
    packaging: str
    sha256: str
    size: int
    into: tuple[str, ...]

    @property
    def file_name(self) -> str:
        """Its name in the node and in the cache, such as `lucene-core-10.3.2.jar`."""
        return f"{self.artifact}-{self.version}.{self.packaging}"


@dataclass(frozen=True, slots=True)
class Lock:
    """The whole list. `modules` holds the plugin-descriptor.properties of each module."""

    version: str
    artifacts: tuple[Artifact, ...]
    modules: Mapping[str, Mapping[str, str]]
    digest: str

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(artifact.size for artifact in self.artifacts)


def read_lock() -> Lock:
    """The list that this version of auditpipe was tested with."""
    text = files("auditpipe.pipeline.local").joinpath(LOCK_NAME).read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    artifacts = tuple(Artifact(**{**row, "into": tuple(row["into"])}) for row in content["artifacts"])
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Lock(content["version"], artifacts, content["modules"], digest)


def sha256_of(path: Path) -> str:
    """Lower-case hex SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_READ_SIZE):
            digest.update(block)
    return digest.hexdigest()
