"""A small lock and a registry that needs no network."""

import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from auditpipe.pipeline.local import download
from auditpipe.pipeline.local.artifacts import Artifact, Lock


def security_zip(*extra: str) -> bytes:
    """What the Security plugin's zip is like."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("plugin-descriptor.properties", "name=security\nextended.plugins=nowhere-published\n")
        archive.writestr("security.jar", b"security")
        archive.writestr("config/internal_users.yml", "admin: demo")
        for name in extra:
            archive.writestr(name, b"outside")
    return content.getvalue()


def make_artifact(name: str, content: bytes, *into: str, packaging: str = "jar") -> Artifact:
    return Artifact("org.example", name, "1.0", packaging, hashlib.sha256(content).hexdigest(), len(content), into)


def make_lock(*artifacts: Artifact) -> Lock:
    digest = hashlib.sha256(repr(artifacts).encode()).hexdigest()
    return Lock("9.9.9", artifacts, {"geo": {"name": "geo", "classname": "Geo"}}, digest)


@dataclass
class Registry:
    """`content` by file name; what `wrong` holds is given first, once a call."""

    content: dict[str, bytes]
    wrong: dict[str, list[bytes | Exception]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def download(self, staging: Path, artifact: Artifact) -> Path:
        self.asked.append(artifact.file_name)
        waiting = self.wrong.get(artifact.file_name, [])
        answer = waiting.pop(0) if waiting else self.content[artifact.file_name]
        if isinstance(answer, Exception):
            raise answer
        path = staging / artifact.file_name
        path.write_bytes(answer)
        return path


@pytest.fixture
def lock() -> Lock:
    return make_lock(
        make_artifact("core", b"core", "lib"),
        make_artifact("agent", b"agent", "agent"),
        make_artifact("geo", b"geo", "modules/geo"),
        make_artifact("both", b"both", "lib", "plugins/opensearch-security"),
        make_artifact("security", security_zip(), "plugins/opensearch-security", packaging="zip"),
    )


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    names = ("core", "agent", "geo", "both")
    fake = Registry({f"{name}-1.0.jar": name.encode() for name in names} | {"security-1.0.zip": security_zip()})
    monkeypatch.setattr(download, "_download", fake.download)
    yield fake
